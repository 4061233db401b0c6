"""Appending to a SQLite store: which version each artifact gets, and one transaction for it all.

The usual batch collides with nothing and is written without a look at what stands there; only
where SQLite leaves a row out are the standing artifacts read, and the batch placed one by one.
It decides nothing about runs, leases or reading.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import JournalConflictError, StoreError
from themis.core.events import Artifact, Event
from themis.core.hashing import digest
from themis.stores.rows import Cell, cell_of, row_of

LARGE_BYTES = 64 * 1024
"""Payloads above this go compressed into the blobs."""
_LEVEL = 3
_CHUNK = 256
_ROWS_A_STATEMENT = 64

_PUT_BLOB = "INSERT OR IGNORE INTO blobs (digest, data, asked) VALUES (?, ?, 0)"
_STANDING = "SELECT key, max(version), code, id FROM artifacts WHERE key IN ({marks}) GROUP BY key"
_DELETE_LAST = (
    "DELETE FROM artifacts WHERE id IN (SELECT id FROM artifacts ORDER BY id DESC LIMIT ?)"
)


class ArtifactRow(NamedTuple):
    """An artifact as it is inserted."""

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
    """Id of its row; None where this very batch brings it."""
    raw: bytes | None


def shelve(raw: bytes) -> tuple[bytes | None, tuple[bytes, bytes] | None]:
    """Return a payload as it is kept: itself, or where large, its blob's digest and data."""
    if len(raw) <= LARGE_BYTES:
        return raw, None
    return None, (digest("blob", raw), zlib.compress(raw, _LEVEL))


def unshelve(payload: bytes | None, blob: bytes | None) -> bytes:
    """Return the payload that ``shelve`` was given.

    Raises:
        StoreError: its blob is not there.
    """
    if payload is not None:
        return payload
    if blob is None:
        raise StoreError("a large payload is missing from the store; restore the store from a copy")
    return zlib.decompress(blob)


def put_blobs(db: sqlite3.Connection, blobs: Collection[tuple[bytes, bytes]]) -> None:
    """Keep blobs that rows refer to, each once."""
    if blobs:
        db.executemany(_PUT_BLOB, blobs)


def chunked(keys: Iterable[ArtifactKey]) -> Iterator[tuple[str, list[Any]]]:
    """Yield keys in groups, with the marks of their SQL.

    A group is filled up to a power of two with its last key, so that few statements are prepared.
    """
    cells = _bindable(map(cell_of, keys))
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        chunk += chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        yield ",".join("?" * len(chunk)), chunk


def insert(db: sqlite3.Connection, into: str, marks: str, rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows, many in one statement, and return how many were.

    One at a time they would cost a hand-over of the interpreter's lock each, which a busy loop
    takes its time to give back.

    Args:
        db: the connection.
        into: the statement, up to VALUES.
        marks: the values of a row, in parentheses: no functions, or SQLite keeps a journal of each
            statement to take it back by, and writes three times as much.
        rows: what stands for the marks.
    """
    inserted = start = 0
    size = _ROWS_A_STATEMENT
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2  # by powers of two, so that few statements are prepared
        values = _bindable(chain.from_iterable(rows[start : start + size]))
        inserted += db.execute(f"{into} VALUES {','.join([marks] * size)}", values).rowcount
        start += size
    return inserted


def _bindable(values: Iterable[Any]) -> list[Any]:
    """Return values in forms that sqlite3 binds as they are.

    Of bytes it asks each time whether the program adapts them, which costs more than a copy.
    """
    return [bytearray(one) if type(one) is bytes else one for one in values]


class Batch:
    """Events on their way into a run's journal.

    Everything is encoded on construction, before any lock is taken; the events passed are touched
    only by ``settle``, once the batch is committed.

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
        """Write artifacts and events within the transaction that is open.

        Raises:
            JournalConflictError: an event's number is taken.
        """
        if self._artifacts:
            if self._replaces:
                self._place_each(db, run)
            else:
                self._place(db, run)
        # The run's number stands in the statement, which so needs no other form of the rows.
        marks = f"({run:d},?,?,?,?,?,?,?,?)"
        try:
            insert(db, "INSERT INTO events", marks, self._rows)
        except sqlite3.IntegrityError:
            raise JournalConflictError(self._conflict(run_id)) from None

    def _conflict(self, run_id: RunId) -> str:
        numbers = [row.seq for row in self._rows]
        return (
            f"run '{run_id}' has an event numbered {min(numbers)} to {max(numbers)} already, "
            "or the batch has one twice; nothing was appended: read the run again and go on from it"
        )

    def settle(self, run_id: RunId) -> None:
        """Tell the events what they refer to, after the commit."""
        for index, place in enumerate(self._places):
            artifact = self._brought[index]
            event = self._events[place]
            event.version = self._rows[place].version
            if self._kept is None or self._kept[index]:
                artifact.version = event.version
                artifact.run_id = run_id

    def _place(self, db: sqlite3.Connection, run: int) -> None:
        """Insert all as version 0, or, where one of the keys is taken, start over one by one."""
        inserted = _insert(db, run, self._artifacts)
        if inserted == len(self._artifacts):
            put_blobs(db, self._blobs.items())
            return
        # A savepoint would undo this as well, and cost every batch what few of them need.
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
    if all(row.blob is None for row in rows):  # as most; to bind None costs more than to leave it
        return insert(db, f"{into})", f"(?,?,?,?,{run:d},?)", [row[:-1] for row in rows])
    return insert(db, f"{into}, blob)", f"(?,?,?,?,{run:d},?,?)", rows)


def _standing(db: sqlite3.Connection, keys: Collection[ArtifactKey]) -> dict[Cell, _Standing]:
    found = {}
    for marks, chunk in chunked(keys):
        for key, version, code, row in db.execute(_STANDING.format(marks=marks), chunk):
            found[key] = _Standing(version, code, row, None)
    return found


def _raw(db: sqlite3.Connection, standing: _Standing) -> bytes:
    if standing.raw is not None:
        return standing.raw
    payload, blob = db.execute(
        "SELECT a.payload, b.data FROM artifacts a LEFT JOIN blobs b ON b.digest = a.blob"
        " WHERE a.id = ?",
        (standing.row,),
    ).fetchone()
    return unshelve(payload, blob)
