"""The tables of a SQLite store, as numbered migrations.

A released migration is never edited; a later one changes its tables. Each is applied and recorded
in one transaction, so that a file always has a definite number. A file of another program, or of a
newer Themis, is refused before it is changed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from themis.core.errors import StoreUnavailableError, StoreVersionError
from themis.stores import marks, sqlite_checks
from themis.stores.sqlite_checks import (
    BLOCK,
    CASES_OF,
    DATASET,
    EVENTS_OF,
    NO_CASE,
    RARE_OF,
    RUN,
    SNAPSHOT,
    Damage,
)

APPLICATION_ID = 0x7468656D
"""Marks a SQLite file as a Themis store ("them")."""

RARE_NUMBERS = (1, 5, 6, 8)
"""Numbers of the event kinds that are about a run, not its cases; there are few such events."""
RARE_KINDS = f"kind IN {RARE_NUMBERS}"
"""Says the same to SQLite, whose index of them serves a query that says it word by word; the index
stands in files, so that this is never changed."""

_FIRST = (
    "CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_at REAL NOT NULL)",
    # AUTOINCREMENT: the number of a cleared run is never given to another one.
    """CREATE TABLE runs (
        ref INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        created_at REAL,
        snapshot BLOB
    )""",
    """CREATE TABLE events (
        run INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        case_index INTEGER,
        key BLOB,
        version INTEGER NOT NULL,
        at REAL NOT NULL,
        meta BLOB,
        PRIMARY KEY (run, seq)
    ) WITHOUT ROWID""",
    """CREATE INDEX events_by_case ON events (run, case_index, seq)
        WHERE case_index IS NOT NULL""",
    # A rowid table: payloads are written in order of arrival, and only the index is hit at random.
    """CREATE TABLE artifacts (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        code BLOB,
        at REAL NOT NULL,
        run INTEGER,
        payload BLOB,
        blob BLOB,
        UNIQUE (key, version)
    )""",
    """CREATE TABLE blobs (
        digest BLOB NOT NULL PRIMARY KEY,
        data BLOB NOT NULL,
        asked INTEGER NOT NULL
    )""",
    "CREATE TABLE cases (digest BLOB NOT NULL PRIMARY KEY, payload BLOB, blob BLOB)",
    """CREATE TABLE datasets (
        ref INTEGER PRIMARY KEY AUTOINCREMENT,
        fingerprint TEXT NOT NULL UNIQUE
    )""",
    """CREATE TABLE manifests (
        dataset INTEGER NOT NULL,
        position INTEGER NOT NULL,
        case_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (dataset, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE run_datasets (
        run INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        PRIMARY KEY (run, fingerprint)
    ) WITHOUT ROWID""",
    """CREATE TABLE leases (
        run_id TEXT NOT NULL PRIMARY KEY,
        owner BLOB,
        epoch INTEGER NOT NULL,
        since REAL NOT NULL,
        expires REAL NOT NULL
    ) WITHOUT ROWID""",
    f"CREATE INDEX rare_events ON events (run, seq) WHERE {RARE_KINDS}",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

_SECOND = ("ALTER TABLE leases ADD COLUMN beat INTEGER NOT NULL DEFAULT 0",)

_THIRD = (
    sqlite_checks.TABLE,
    "ALTER TABLE events ADD COLUMN mark INTEGER",
    "ALTER TABLE artifacts ADD COLUMN mark INTEGER",
    "ALTER TABLE cases ADD COLUMN mark INTEGER",
    "ALTER TABLE manifests ADD COLUMN mark INTEGER",
    """UPDATE events SET mark = event_mark(
        run_seed((SELECT run_id FROM runs WHERE ref = run)),
        seq, attempt, kind, case_index, key, version, at, meta)""",
    "UPDATE artifacts SET mark = artifact_mark(key, version, code, at, run, payload, blob)",
    "UPDATE cases SET mark = mark_of(digest, payload, blob)",
    "UPDATE manifests SET mark = mark_of(dataset, position, case_id, digest)",
    f"""INSERT INTO checks SELECT {EVENTS_OF}, run,
        coalesce(case_index / {BLOCK}, {NO_CASE}) AS block, count(*)
        FROM events GROUP BY run, block""",
    f"""INSERT INTO checks SELECT {RARE_OF}, run, 0, count(*)
        FROM events WHERE {RARE_KINDS} GROUP BY run""",
    f"""INSERT INTO checks SELECT {CASES_OF}, dataset, position / {BLOCK} AS block, count(*)
        FROM manifests GROUP BY dataset, block""",
    f"INSERT INTO checks SELECT {RUN}, ref, 0, mark_of(ref, run_id, created_at) FROM runs",
    f"INSERT INTO checks SELECT {DATASET}, ref, 0, mark_of(ref, fingerprint, NULL) FROM datasets",
    f"""INSERT INTO checks SELECT {SNAPSHOT}, ref, 0, mark_of(run_id, snapshot)
        FROM runs WHERE snapshot IS NOT NULL""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD)
"""Statements of each migration; the first has number 1."""


def schema_number(db: sqlite3.Connection, path: str) -> int:
    """Return the number of the last migration applied, 0 for an empty file.

    Raises:
        StoreVersionError: a newer Themis wrote the file.
        StoreUnavailableError: another program wrote it.
    """
    if db.in_transaction:
        return _number(db, path)
    with transaction(db, "BEGIN"):  # another process may be creating the tables
        return _number(db, path)


def _number(db: sqlite3.Connection, path: str) -> int:
    mark: int = db.execute("PRAGMA application_id").fetchone()[0]
    if mark != APPLICATION_ID:
        if mark == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            return 0
        raise StoreUnavailableError(
            f"'{path}' is the SQLite database of another program, not a Themis store; "
            "choose another path"
        )
    found: int = db.execute("SELECT max(number) FROM migrations").fetchone()[0]
    if found is None:
        raise Damage("it does not say which schema it has")
    known = len(MIGRATIONS)
    if found > known:
        raise StoreVersionError(
            f"'{path}' has schema {found} and this Themis knows schemas up to {known}: "
            "upgrade themis-eval, or choose another path",
            found=found,
            known=known,
        )
    return found


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring an open file to the newest schema; safe where several processes open it at once."""
    if schema_number(db, path) == len(MIGRATIONS):
        return
    for function in (marks.run_seed, marks.event_mark, marks.artifact_mark, marks.mark_of):
        db.create_function(function.__name__, -1, function, deterministic=True)
    with transaction(db, "BEGIN IMMEDIATE"):
        # Read again: another process may have migrated while this one waited for the lock.
        done = schema_number(db, path)
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                db.execute(statement)
            db.execute("INSERT INTO migrations VALUES (?, ?)", (number, time.time()))


@contextmanager
def transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Hold a transaction for a block, and commit it; an error rolls it back and is raised."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after a full disk or an I/O error.
        with suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise
