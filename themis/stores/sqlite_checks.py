"""What a SQLite file must hold beside the marks of its rows: how many there are, and whose.

A row that is gone has no mark to be asked, so their numbers are counted as they are written: the
events of a run in blocks of cases, the cases of a dataset in blocks of positions. The marks of runs
and datasets are here as well, for a lookup that finds none asks whether there should be one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable

from themis.stores.marks import mark_of

EVENTS_OF, RARE_OF, CASES_OF, RUN, DATASET, SNAPSHOT = range(1, 7)
"""Kinds of checks: numbers of events, rare ones, cases; marks of runs, datasets, snapshots."""
BLOCK = 64
"""Cases or positions that are counted together."""
NO_CASE = -1
"""The block of events that belong to no case."""
LAST_BLOCK = 2**62

TABLE = """CREATE TABLE checks (
        kind INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        block INTEGER NOT NULL,
        value INTEGER NOT NULL,
        PRIMARY KEY (kind, owner, block)
    ) WITHOUT ROWID"""
_COUNT = (
    "INSERT INTO checks VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, owner, block) DO UPDATE SET value = value + excluded.value"
)
_KEEP = "INSERT OR REPLACE INTO checks VALUES (?, ?, 0, ?)"
_SUM = "SELECT total(value) FROM checks WHERE kind = ? AND owner = ? AND block BETWEEN ? AND ?"


class Damage(Exception):  # noqa: N818 - becomes a StoreDamagedError where the path is known
    """Something is not as it was written; says what."""


def count(db: sqlite3.Connection, kind: int, owner: int, blocks: Iterable[int]) -> None:
    """Count rows that were inserted, one for each block named."""
    numbers = Counter(blocks)
    db.executemany(_COUNT, [(kind, owner, block, n) for block, n in numbers.items()])


def counted(db: sqlite3.Connection, kind: int, owner: int, first: int, last: int) -> int:
    """Return how many rows were inserted into the blocks from ``first`` to ``last``."""
    return int(db.execute(_SUM, (kind, owner, first, last)).fetchone()[0])


def keep(db: sqlite3.Connection, kind: int, owner: int, mark: int) -> None:
    """Keep the mark of a row in place of an earlier one."""
    db.execute(_KEEP, (kind, owner, mark))


class Names:
    """A table that gives runs or datasets their numbers; each row has its mark among the checks.

    Args:
        table: its name.
        select: SQL for number, name and time of a row.
        kind: that of its checks.
    """

    def __init__(self, table: str, select: str, kind: int) -> None:
        self._table = table
        self._kind = kind
        self._all = (
            f"SELECT {select}, c.value FROM {table} t {{index}}"
            f" LEFT JOIN checks c ON c.kind = {kind} AND c.owner = t.ref AND c.block = 0"
        )
        self._one = f"{self._all.format(index='')} WHERE {select.split(', ')[1]} = ?"

    def keep(self, db: sqlite3.Connection, ref: int, name: str, at: float | None) -> None:
        """Keep the mark of a row that was written."""
        keep(db, self._kind, ref, mark_of(ref, name, at))

    def number(self, db: sqlite3.Connection, name: str) -> int | None:
        """Return the number of a name; None where there is none.

        Raises:
            Damage: its row was changed, or one is missing that may be it.
        """
        row = db.execute(self._one, (name,)).fetchone()
        if row is None:
            found = self.all(db).get(name)
            if found is not None:
                raise Damage(f"the index of {self._table} does not lead to '{name}'")
            return None
        self._check(*row)
        ref: int = row[0]
        return ref

    def all(self, db: sqlite3.Connection) -> dict[str, tuple[int, float | None]]:
        """Return number and time of each name; raises as ``number`` does."""
        rows = db.execute(self._all.format(index="NOT INDEXED")).fetchall()
        known = db.execute("SELECT count(*) FROM checks WHERE kind = ?", (self._kind,)).fetchone()
        if len(rows) != known[0]:
            raise Damage(f"{len(rows)} {self._table} are listed of {known[0]}")
        for row in rows:
            self._check(*row)
        return {name: (ref, at) for ref, name, at, _ in rows}

    def _check(self, ref: int, name: str, at: float | None, mark: int | None) -> None:
        if mark_of(ref, name, at) != mark:
            raise Damage(f"row {ref} of the {self._table} was changed")


RUNS = Names("runs", "t.ref, t.run_id, t.created_at", RUN)
DATASETS = Names("datasets", "t.ref, t.fingerprint, NULL", DATASET)
