"""Looking through a whole SQLite store for damage: every row, and SQLite's own structure.

Whatever is read of a store is compared with its marks in any case; this also reads what nobody
asked for, and goes on after what it finds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from themis.core.base import RunId
from themis.core.errors import StoreError
from themis.core.store import RunStore
from themis.stores.marks import artifact_mark
from themis.stores.sqlite_checks import DATASETS, RUNS, Damage
from themis.stores.sqlite_database import Database
from themis.stores.sqlite_journal import unpacked, unshelve

_END = 2**40
"""More cases than there are."""
_PAGE = 512
_ARTIFACTS = """
    SELECT a.id, a.key, a.version, a.code, a.at, a.run, a.payload, a.blob, a.mark, b.data
    FROM artifacts a LEFT JOIN blobs b ON b.digest = a.blob WHERE a.id > ? ORDER BY a.id LIMIT ?
"""
_BLOBS = "SELECT rowid, digest, data FROM blobs WHERE rowid > ? ORDER BY rowid LIMIT ?"
_STRAYS = {
    "events belong to no run": "SELECT count(*) FROM events WHERE run NOT IN"
    " (SELECT ref FROM runs)",
    "cases belong to no dataset": "SELECT count(*) FROM manifests WHERE dataset NOT IN"
    " (SELECT ref FROM datasets)",
}


def damages(store: RunStore, database: Database) -> Iterator[str]:
    """Yield what is damaged in a store, a line each, and nothing where it is sound."""
    checks: list[Callable[[], object]] = [
        partial(_structure, database),
        partial(_paged, database, _ARTIFACTS, _check_artifact),
        partial(_paged, database, _BLOBS, _check_blob),
    ]
    try:
        with database.reading() as db:
            runs, datasets = list(RUNS.all(db)), list(DATASETS.all(db))
    except StoreError as error:
        yield str(error)
        return
    checks += [partial(store.load_snapshot, record.run_id) for record in store.runs()]
    for run in map(RunId, runs):
        checks.append(partial(_exhaust, store.events, run))
        checks.append(partial(_exhaust, store.case_events, run, 0, _END))
    checks += [partial(_exhaust, store.cases, dataset, 0, _END) for dataset in datasets]
    for check in checks:
        try:
            check()
        except StoreError as error:
            yield str(error)


def _structure(database: Database) -> None:
    with database.reading() as db:
        said = [row[0] for row in db.execute("PRAGMA integrity_check")]
        if said != ["ok"]:
            raise Damage(f"SQLite's integrity check says: {said[0]} ({len(said)} findings)")
        for what, query in _STRAYS.items():
            if n := db.execute(query).fetchone()[0]:
                raise Damage(f"{n} {what}")


def _paged(database: Database, query: str, check: Callable[[Any], object]) -> None:
    last = 0
    while True:
        with database.reading() as db:
            rows = db.execute(query, (last, _PAGE)).fetchall()
            for row in rows:
                check(row)
        if not rows:
            return
        last = rows[-1][0]


def _check_artifact(row: Any) -> None:
    number, *values, mark, data = row
    try:
        sound = artifact_mark(*values) == mark
    except (TypeError, ValueError, AttributeError, struct.error):
        sound = False
    if not sound:
        raise Damage(f"artifact row {number} was changed")
    unshelve(values[-2], values[-1], data)


def _check_blob(row: Any) -> None:
    unpacked(row[1], row[2])


def _exhaust(read: Callable[..., Iterable[object]], *of: object) -> None:
    for _ in read(*of):
        pass
