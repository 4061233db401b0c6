"""Appending events and artifacts to a SQLite store, in one transaction.

A batch whose keys are all new is written without reading anything. Only if SQLite skips a row,
because its key is taken, are the stored artifacts read and the batch's versions assigned one by
one.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import JournalConflictError
from themis.core.events import Artifact, Event
from themis.core.hashing import digest
from themis.stores.marks import artifact_mark, event_mark, run_seed
from themis.stores.rows import Cell, EventRow, cell_of, row_of
from themis.stores.sqlite_checks import BLOCK, EVENTS_OF, NO_CASE, RARE_OF, Damage, count
from themis.stores.sqlite_schema import RARE_NUMBERS

LARGE_BYTES = 64 * 1024
"""Payloads above this size are compressed and stored as blobs."""
_LEVEL = 3
_CHUNK = 256
_ROWS_A_STATEMENT = 64

_PUT_BLOB = "INSERT OR IGNORE INTO blobs (digest, data, asked) VALUES (?, ?, 0)"
_STANDING = "SELECT key, max(version), code, id FROM artifacts WHERE key IN ({marks}) GROUP BY key"
_DELETE_LAST = (
    "DELETE FROM artifacts WHERE id IN (SELECT id FROM artifacts ORDER BY id DESC LIMIT ?)"
)


class ArtifactRow(NamedTuple):
    """The values of an artifact's row."""

    key: Cell
    version: int
    code: Cell | None
    at: float
    payload: bytes | None
    blob: bytes | None


class _Standing(NamedTuple):
    """The latest version under a key."""

    version: int
    code: Cell | None
    row: int | None
    """Id of its row; None if this batch inserts it."""
    raw: bytes | None


def shelve(raw: bytes) -> tuple[bytes | None, tuple[bytes, bytes] | None]:
    """Return a payload to store in the row or, if it is large, its blob's digest and data."""
    if len(raw) <= LARGE_BYTES:
        return raw, None
    return None, (digest("blob", raw), zlib.compress(raw, _LEVEL))


def unshelve(payload: bytes | None, name: bytes | None, blob: bytes | None) -> bytes:
    """Return the payload that ``shelve`` converted; ``name`` is its blob's digest.

    Raises:
        Damage: its blob is missing, or has another content.
    """
    return payload if payload is not None else unpacked(name, blob)


def unpacked(name: Cell | None, blob: bytes | None) -> bytes:
    """Return the bytes of a blob; raises as ``unshelve`` does."""
    if blob is None:
        raise Damage("a large payload is missing")
    try:
        raw = zlib.decompress(blob)
    except zlib.error:
        raise Damage("a large payload was changed") from None
    if digest("blob", raw) != name:
        raise Damage("a large payload is another one")
    return raw


def put_blobs(db: sqlite3.Connection, blobs: Collection[tuple[bytes, bytes]]) -> None:
    """Store blobs that rows refer to, each once."""
    if blobs:
        db.executemany(_PUT_BLOB, blobs)


def chunked(keys: Iterable[ArtifactKey]) -> Iterator[tuple[str, list[Any]]]:
    """Yield keys in groups, each with the placeholders for its SQL.

    A group is padded with its last key to a power of two, so that few statements are prepared.
    """
    cells = list(_bindable([cell_of(key) for key in keys]))
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        chunk += chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        yield ",".join("?" * len(chunk)), chunk


def insert(db: sqlite3.Connection, into: str, marks: str, rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows, many in one statement, and return how many were inserted.

    Inserted one at a time, each row would release the interpreter's lock, which a busy event loop
    is slow to give back.

    Args:
        db: the connection.
        into: the statement, up to VALUES.
        marks: the placeholders of a row, in parentheses. They must not contain functions, with
            which SQLite keeps a journal to undo each statement and writes three times as much.
        rows: the values of each row.
    """
    columns = map(_bindable, zip(*rows, strict=True))
    bindable = list(zip(*columns, strict=True))
    inserted = start = 0
    size = _ROWS_A_STATEMENT
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2  # by powers of two, so that few statements are prepared
        values = list(chain.from_iterable(bindable[start : start + size]))
        inserted += db.execute(f"{into} VALUES {','.join([marks] * size)}", values).rowcount
        start += size
    return inserted


def _bindable(values: Sequence[Any]) -> Sequence[Any]:
    """Return values in types that sqlite3 binds directly.

    Of bytes it asks each time whether the program adapts them, which costs more than a copy.
    """
    if bytes not in set(map(type, values)):
        return values
    return [bytearray(one) if type(one) is bytes else one for one in values]


class Batch:
    """A batch of events to be appended to a run's journal.

    Everything is encoded on construction, before any lock is held; the events are changed only by
    ``settle``, after the commit.

    Raises:
        TypeError: an event's data is not JSON.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._rows = [row_of(event) for event in events]
        self._brought: list[Artifact] = []
        self._places: list[int] = []
        self._artifacts: list[ArtifactRow] = []
        self._blobs: dict[bytes, bytes] = {}
        self._kept: list[bool] | None = None
        self._replaces = False
        for place, event in enumerate(events):
            if event.artifact is not None:
                self._places.append(place)
                self._bring(event.artifact, self._rows[place].key)
        self.lost: list[ArtifactKey] = []

    def _bring(self, artifact: Artifact, key: Cell | None) -> None:
        payload, blob = shelve(artifact.raw)
        if blob is not None:
            self._blobs[blob[0]] = blob[1]
        self._replaces = self._replaces or artifact.supersedes
        self._brought.append(artifact)
        self._artifacts.append(
            ArtifactRow(
                cell_of(artifact.key) if key is None else key,
                0,
                None if artifact.code is None else cell_of(artifact.code),
                artifact.at,
                payload,
                None if blob is None else blob[0],
            )
        )

    def write(self, db: sqlite3.Connection, run: int, run_id: RunId) -> None:
        """Write artifacts and events within the open transaction.

        Raises:
            JournalConflictError: an event's number is taken.
        """
        if self._artifacts:
            if self._replaces:
                self._place_each(db, run)
            else:
                self._place(db, run)
        # The run's number is part of the statement, so that the rows can be used unchanged.
        marks = f"({run:d},?,?,?,?,?,?,?,?,?)"
        seed = run_seed(run_id)
        rows = [(*row, event_mark(seed, *row)) for row in self._rows]
        try:
            insert(db, "INSERT INTO events", marks, rows)
        except sqlite3.IntegrityError:
            raise JournalConflictError(self._conflict(run_id)) from None
        count(db, EVENTS_OF, run, map(_block, self._rows))
        count(db, RARE_OF, run, (0 for row in self._rows if row.kind in RARE_NUMBERS))

    def _conflict(self, run_id: RunId) -> str:
        numbers = [row.seq for row in self._rows]
        return (
            f"run '{run_id}' has an event numbered {min(numbers)} to {max(numbers)} already, "
            "or the batch has one twice; nothing was appended: read the run again and go on from it"
        )

    def settle(self, run_id: RunId) -> None:
        """Set the events' keys and versions, after the commit."""
        for index, place in enumerate(self._places):
            artifact = self._brought[index]
            event = self._events[place]
            event.version = self._rows[place].version
            if self._kept is None or self._kept[index]:
                artifact.version = event.version
                artifact.run_id = run_id

    def _place(self, db: sqlite3.Connection, run: int) -> None:
        """Insert all artifacts as version 0 or, if a key is taken, undo that and go one by one."""
        inserted = _insert(db, run, self._artifacts)
        if inserted == len(self._artifacts):
            put_blobs(db, self._blobs.items())
            return
        # A savepoint could undo this too, but would cost time in every batch.
        db.execute(_DELETE_LAST, (inserted,))
        self._place_each(db, run)

    def _place_each(self, db: sqlite3.Connection, run: int) -> None:
        standing = _standing(db, {artifact.key for artifact in self._brought})
        self._kept = []
        rows: list[ArtifactRow] = []
        lost: dict[ArtifactKey, None] = {}
        for place, artifact, row in zip(self._places, self._brought, self._artifacts, strict=True):
            found = standing.get(row.key)
            if found is None:
                version, kept = 0, True
            elif artifact.supersedes or row.code != found.code:
                version, kept = found.version + 1, True
            else:
                version, kept = found.version, False
                if _raw(db, found) != artifact.raw:
                    lost[artifact.key] = None
            if kept:
                rows.append(row._replace(version=version))
                standing[row.key] = _Standing(version, row.code, None, artifact.raw)
            self._kept.append(kept)
            self._rows[place] = self._rows[place]._replace(version=version)
        used = {row.blob for row in rows}
        put_blobs(db, [blob for blob in self._blobs.items() if blob[0] in used])
        _insert(db, run, rows)
        self.lost = list(lost)


def _insert(db: sqlite3.Connection, run: int, rows: list[ArtifactRow]) -> int:
    """Insert artifacts whose (key, version) is free and return how many there were."""
    into = "INSERT OR IGNORE INTO artifacts (key, version, code, at, run, payload"
    marks = [
        artifact_mark(row.key, row.version, row.code, row.at, run, row.payload, row.blob)
        for row in rows
    ]
    if all(row.blob is None for row in rows):  # usual; binding None would cost more
        short = [(*row[:-1], mark) for row, mark in zip(rows, marks, strict=True)]
        return insert(db, f"{into}, mark)", f"(?,?,?,?,{run:d},?,?)", short)
    values = [(*row, mark) for row, mark in zip(rows, marks, strict=True)]
    return insert(db, f"{into}, blob, mark)", f"(?,?,?,?,{run:d},?,?,?)", values)


def _block(row: EventRow) -> int:
    """Return the block of cases that an event is counted in."""
    return NO_CASE if row.case_index is None else row.case_index // BLOCK


def _standing(db: sqlite3.Connection, keys: Collection[ArtifactKey]) -> dict[Cell, _Standing]:
    found = {}
    for marks, chunk in chunked(keys):
        for key, version, code, row in db.execute(_STANDING.format(marks=marks), chunk):
            found[key] = _Standing(version, code, row, None)
    return found


def _raw(db: sqlite3.Connection, standing: _Standing) -> bytes:
    if standing.raw is not None:
        return standing.raw
    payload, name, blob = db.execute(
        "SELECT a.payload, a.blob, b.data FROM artifacts a LEFT JOIN blobs b ON b.digest = a.blob"
        " WHERE a.id = ?",
        (standing.row,),
    ).fetchone()
    return unshelve(payload, name, blob)
