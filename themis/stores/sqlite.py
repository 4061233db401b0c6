"""The store people keep: one SQLite file that several processes and threads may use at once.

Every append is one transaction, synced on return; nothing is half there after a crash. Reading goes
page by page, so that a consumer that takes its time keeps nobody from writing. It folds nothing
and caches nothing of what it holds.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import LeaseLostError, RunNotFoundError, nearest
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import decode, digest, encode
from themis.core.kept import Lease, Owner, RunRecord, StoredCase
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.stores import sqlite_statements
from themis.stores.leasing import held, lost, owner_of, plain_owner
from themis.stores.rows import KIND_NUMBERS, cell_of, event_of, text_of
from themis.stores.sqlite_database import Database, JournalMode, Synchronous
from themis.stores.sqlite_journal import Batch, chunked, insert, put_blobs, shelve, unshelve
from themis.stores.sqlite_schema import RARE_KINDS, RARE_NUMBERS

_PAGE_ROWS = 512
_RARE = frozenset(kind for kind, number in KIND_NUMBERS.items() if number in RARE_NUMBERS)
_PAGE_BYTES = 4 * 1024 * 1024


class SqliteRunStore:
    """Keeps runs in a SQLite file.

    The file is opened, and made where there is none, by ``initialize`` or by the first use. After
    ``close`` a further use opens it again.

    Args:
        path: the file; its folder is made where it is missing. "~" is the home folder.
        synchronous: "full" syncs each append to disk before it returns; "normal" may lose the last
            appends in a power cut, "off" may damage the file in one.
        busy_timeout: seconds to wait while another process writes.
        journal: "wal" lets several processes use the file at once; "rollback" keeps it to one, and
            is safe on network file systems. "auto" is "rollback" where the file is seen to lie on
            one (which only Linux tells), else "wal".

    Raises:
        DefinitionError: an argument is not of these.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "full",
        busy_timeout: float = 30.0,
        journal: JournalMode = "auto",
    ) -> None:
        self._database = Database(
            path, synchronous=synchronous, busy_timeout=busy_timeout, journal=journal
        )
        self._run_names: dict[int, RunId] = {}  # a number is never given to a second run

    def __repr__(self) -> str:
        return f"SqliteRunStore({self._database.path!r})"

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._database.path

    def initialize(self) -> None:
        """Open the file; create or migrate it. See ``RunStore.initialize``."""
        with self._database.reading():
            pass

    def close(self) -> None:
        """Close the file. See ``RunStore.close``."""
        self._database.close()

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Keep a snapshot, unless the run has one. See ``RunStore.save_snapshot``."""
        run_id = snapshot.run_id
        raw = encode(snapshot.model_dump(mode="json"))
        with self._database.writing() as db:
            run = _run_number(db, run_id)
            kept = db.execute("SELECT snapshot FROM runs WHERE ref = ?", (run,)).fetchone()[0]
            if kept is None:
                db.execute(
                    "UPDATE runs SET snapshot = ?, created_at = ? WHERE ref = ?",
                    (raw, time.time(), run),
                )
                db.executemany(
                    "INSERT OR IGNORE INTO run_datasets VALUES (?, ?)",
                    [(run, dataset.fingerprint) for dataset in snapshot.identity.datasets],
                )
        return snapshot if kept is None else RunSnapshot.read(decode(kept))

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return a run's snapshot. See ``RunStore.load_snapshot``."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT snapshot FROM runs WHERE run_id = ? AND snapshot IS NOT NULL", (run_id,)
            ).fetchone()
        if row is None:
            raise RunNotFoundError(run_id, nearest=nearest(run_id, (r.run_id for r in self.runs())))
        return RunSnapshot.read(decode(row[0]))

    def runs(self) -> Sequence[RunRecord]:
        """Return all runs, oldest first. See ``RunStore.runs``."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT run_id, created_at FROM runs WHERE snapshot IS NOT NULL"
                " ORDER BY created_at, ref"
            ).fetchall()
        return [RunRecord(run_id=RunId(name), created_at=at) for name, at in rows]

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        """Append events with their artifacts in one transaction. See ``RunStore.append``."""
        if not events:
            return ()
        batch = Batch(events)
        with self._database.writing() as db:
            newer = db.execute(
                "SELECT epoch FROM leases WHERE run_id = ? AND epoch > ?", (run_id, epoch)
            ).fetchone()
            if newer is not None:
                raise lost(run_id, epoch, newer[0])
            batch.write(db, _run_number(db, run_id), run_id)
        batch.settle(run_id)
        return batch.lost

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        """Stream a run's events. See ``RunStore.events``."""
        index = chosen = ""
        if kinds is not None:
            numbers = ",".join(str(KIND_NUMBERS[kind]) for kind in kinds)
            chosen = f" AND e.kind IN ({numbers})"
            if kinds and _RARE.issuperset(kinds):
                index, chosen = " INDEXED BY rare_events", f" AND {RARE_KINDS}{chosen}"
        statement = (
            f"{sqlite_statements.EVENTS.format(index=index)}{chosen} AND e.seq > ? ORDER BY e.seq"
        )
        rows, more = self._page(statement, (run_id, after))
        while rows:
            yield from map(self._event, rows)
            if not more:
                return
            rows, more = self._page(statement, (run_id, rows[-1][0]))

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        """Stream the events of some cases. See ``RunStore.case_events``."""
        asked = sqlite_statements.EVENTS.format(index="")
        statement = (
            f"{asked} AND e.case_index < ? AND (e.case_index, e.seq) > (?, ?)"
            " ORDER BY e.case_index, e.seq"
        )
        rows, more = self._page(statement, (run_id, stop, start, -1))
        while rows:
            yield from map(self._event, rows)
            if not more:
                return
            rows, more = self._page(statement, (run_id, stop, rows[-1][3], rows[-1][0]))

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        """Return the latest version of each key that has any. See ``RunStore.lookup``."""
        rows: list[Any] = []
        with self._database.reading() as db:
            for marks, chunk in chunked(keys):
                rows += db.execute(sqlite_statements.LATEST.format(marks=marks), chunk)
            self._learn_run_names(db, {row[4] for row in rows})
        found = (self._artifact(*row) for row in rows)
        return {artifact.key: artifact for artifact in found}

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        """Keep cases of a dataset's manifest. See ``RunStore.save_cases``."""
        shelved = [(case, *shelve(case.raw)) for case in cases]
        with self._database.writing() as db:
            db.execute("INSERT OR IGNORE INTO datasets (fingerprint) VALUES (?)", (fingerprint,))
            dataset = db.execute(
                "SELECT ref FROM datasets WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()[0]
            put_blobs(db, [blob for _, _, blob in shelved if blob is not None])
            insert(
                db,
                "INSERT OR IGNORE INTO cases",
                "(?,?,?)",
                [(case.digest, raw, blob and blob[0]) for case, raw, blob in shelved],
            )
            insert(
                db,
                "INSERT OR IGNORE INTO manifests",
                "(?,?,?,?)",
                [
                    (dataset, position, case.case_id, case.digest)
                    for position, case in enumerate(cases, start=start)
                ],
            )

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        """Stream the kept cases of a manifest. See ``RunStore.cases``."""
        more = True
        while more:
            rows, more = self._page(sqlite_statements.CASES, (fingerprint, start, stop))
            for position, case_id, payload, blob in rows:
                # Checked when it was compiled; checking millions again would be for nothing.
                facts = decode(unshelve(payload, blob))
                yield position, Case.model_construct(case_id=case_id, **facts)
                start = position + 1

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        """Return the position of a case. See ``RunStore.find_case``."""
        with self._database.reading() as db:
            row = db.execute(sqlite_statements.FIND_CASE, (fingerprint, case_id)).fetchone()
        return None if row is None else int(row[0])

    def put_blob(self, data: bytes) -> str:
        """Keep bytes by content. See ``RunStore.put_blob``."""
        name = digest("blob", data)
        with self._database.writing() as db:
            db.execute(
                "INSERT INTO blobs (digest, data, asked) VALUES (?, ?, 1)"
                " ON CONFLICT (digest) DO UPDATE SET asked = 1",
                (name, zlib.compress(data)),
            )
        return text_of(name)

    def get_blob(self, ref: str) -> bytes:
        """Return the bytes of a reference. See ``RunStore.get_blob``."""
        with self._database.reading() as db:
            row = db.execute("SELECT data FROM blobs WHERE digest = ?", (cell_of(ref),)).fetchone()
        if row is None:
            raise KeyError(ref)
        return zlib.decompress(row[0])

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: int | None = None
    ) -> Lease:
        """Take a run under a new epoch. See ``RunStore.lease``."""
        with self._database.writing() as db:
            now = time.time()
            row = db.execute(
                "SELECT owner, epoch, since, expires FROM leases WHERE run_id = ?", (run_id,)
            ).fetchone()
            epoch = 1
            if row is not None:
                if row[0] is not None and row[1] != takeover and row[3] > now:
                    raise held(run_id, owner_of(decode(row[0])), row[1], row[2])
                epoch = row[1] + 1
            db.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
                (run_id, encode(plain_owner(owner)), epoch, now, now + ttl),
            )
        return Lease(run_id=run_id, owner=owner, epoch=epoch, since=now, expires=now + ttl)

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Hold a run for longer. See ``RunStore.renew``."""
        expires = time.time() + ttl
        with self._database.writing() as db:
            renewed = db.execute(
                "UPDATE leases SET expires = ?"
                " WHERE run_id = ? AND epoch = ? AND owner IS NOT NULL",
                (expires, lease.run_id, lease.epoch),
            ).rowcount
            if not renewed:
                raise self._lost(db, lease)
        return Lease(
            run_id=lease.run_id,
            owner=lease.owner,
            epoch=lease.epoch,
            since=lease.since,
            expires=expires,
        )

    def release(self, lease: Lease) -> None:
        """Give a run back. See ``RunStore.release``."""
        with self._database.writing() as db:
            db.execute(
                "UPDATE leases SET owner = NULL WHERE run_id = ? AND epoch = ?",
                (lease.run_id, lease.epoch),
            )

    def clear_run(self, run_id: RunId) -> None:
        """Forget a run. See ``RunStore.clear_run``."""
        with self._database.writing() as db:
            # The epoch stays, so that it keeps growing: a former owner is not taken for a new one.
            db.execute("UPDATE leases SET owner = NULL WHERE run_id = ?", (run_id,))
            row = db.execute("SELECT ref FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is not None:
                for statement in sqlite_statements.FORGET:
                    db.execute(statement, {"run": row[0]})

    @staticmethod
    def _lost(db: sqlite3.Connection, lease: Lease) -> LeaseLostError:
        row = db.execute("SELECT epoch FROM leases WHERE run_id = ?", (lease.run_id,)).fetchone()
        return lost(lease.run_id, lease.epoch, None if row is None else row[0])

    def _page(self, statement: str, values: tuple[object, ...]) -> tuple[list[Any], bool]:
        """Return the first rows, by number and size, and whether there may be more."""
        rows: list[Any] = []
        room = _PAGE_BYTES
        with self._database.reading() as db:
            cursor = db.execute(statement, values)
            for row in cursor:
                rows.append(row)
                room -= len(row[-2] or row[-1] or b"")
                if len(rows) == _PAGE_ROWS or room <= 0:
                    break
            cursor.close()  # ends the read, so that no writer's checkpoint waits for the consumer
            if statement is not sqlite_statements.CASES:
                self._learn_run_names(db, {row[10] for row in rows})
        return rows, len(rows) == _PAGE_ROWS or room <= 0

    def _learn_run_names(self, db: sqlite3.Connection, numbers: set[int | None]) -> None:
        for number in numbers - self._run_names.keys():
            if number is not None:
                row = db.execute("SELECT run_id FROM runs WHERE ref = ?", (number,)).fetchone()
                if row is not None:  # else cleared a moment ago
                    self._run_names[number] = RunId(row[0])

    def _event(self, row: Any) -> Event:
        event = event_of(*row[:8])
        if row[8] is not None:
            event.artifact = self._artifact(row[4], row[5], *row[8:])
        return event

    def _artifact(
        self,
        key: bytes | str,
        version: int,
        at: float,
        code: bytes | str | None,
        run: int | None,
        payload: bytes | None,
        blob: bytes | None,
    ) -> Artifact:
        return Artifact(
            key=ArtifactKey(text_of(key)),
            raw=unshelve(payload, blob),
            at=at,
            code=None if code is None else text_of(code),
            version=version,
            run_id=None if run is None else self._run_names.get(run),
        )


def _run_number(db: sqlite3.Connection, run_id: RunId) -> int:
    """Return a run's number, given now if it has none."""
    row = db.execute("SELECT ref FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is not None:
        number: int = row[0]
        return number
    added = db.execute("INSERT INTO runs (run_id) VALUES (?)", (run_id,)).lastrowid
    if added is None:
        raise AssertionError("an INSERT into a rowid table has a row id")
    return added
