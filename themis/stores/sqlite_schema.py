"""The tables of a SQLite store, as numbered migrations with a ledger.

A migration, once released, is never edited: a later one changes what it made. Each is applied in
one transaction together with its line in the ledger, so that a file is at one number or the next.
What belongs to another program, or to a newer Themis, is refused before a byte of it changes.
"""

from __future__ import annotations

import sqlite3
import time

from themis.core.errors import StoreUnavailableError, StoreVersionError

APPLICATION_ID = 0x7468656D
"""Marks a SQLite file as a Themis store ("them")."""

RARE_NUMBERS = (1, 5, 6, 8)
"""Kinds of events that tell of a run, not of its cases: few, in a journal of any length."""
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
    f"PRAGMA application_id = {APPLICATION_ID}",
)

_SECOND = (f"CREATE INDEX rare_events ON events (run, seq) WHERE {RARE_KINDS}",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND)
"""Statements of each migration; the first has number 1."""


def schema_number(db: sqlite3.Connection, path: str) -> int:
    """Return the number of the last migration applied, 0 for an empty file.

    Raises:
        StoreVersionError: a newer Themis wrote the file.
        StoreUnavailableError: another program did.
    """
    if db.in_transaction:
        return _number(db, path)
    db.execute("BEGIN")  # one look: between two, another process may make the file a store
    try:
        return _number(db, path)
    finally:
        db.execute("ROLLBACK")


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
    db.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have migrated while this one waited for the lock.
        done = schema_number(db, path)
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                db.execute(statement)
            db.execute("INSERT INTO migrations VALUES (?, ?)", (number, time.time()))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
