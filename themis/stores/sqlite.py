"""The SQLite store: one file that several processes and threads may use at once.

Every append is one transaction, synced on return, so that a crash leaves no partial append. Reading
goes page by page, so that a slow reader does not block writers. Nothing is cached.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import RunNotFoundError, nearest
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import decode, digest, encode
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.core.store import Lease, Owner, RunRecord, RunStore, StoredCase
from themis.stores import sqlite_statements
from themis.stores.leasing import held, is_same, lost
from themis.stores.marks import artifact_mark, event_mark, mark_of, marked, run_seed
from themis.stores.rows import KIND_NUMBERS, cell_of, event_of, text_of
from themis.stores.sqlite_checks import (
    BLOCK,
    CASES_OF,
    DATASETS,
    EVENTS_OF,
    LAST_BLOCK,
    NO_CASE,
    RARE_OF,
    RUNS,
    SNAPSHOT,
    Damage,
    count,
    counted,
    keep,
)
from themis.stores.sqlite_database import Database, JournalMode, Synchronous
from themis.stores.sqlite_journal import (
    Batch,
    chunked,
    insert,
    put_blobs,
    shelve,
    unpacked,
    unshelve,
)
from themis.stores.sqlite_schema import RARE_KINDS, RARE_NUMBERS

_PAGE_ROWS = 512
_RARE = frozenset(kind for kind, number in KIND_NUMBERS.items() if number in RARE_NUMBERS)
_PAGE_BYTES = 4 * 1024 * 1024
# A column is counted that stands in the row alone, so that an index without its row counts less.
_COUNT_ALL = "SELECT count(mark) FROM events WHERE run = ?"
_COUNT_RARE = f"{_COUNT_ALL.replace('WHERE', 'INDEXED BY rare_events WHERE')} AND {RARE_KINDS}"
_COUNT_CASES = (
    "SELECT count(mark) FROM events INDEXED BY events_by_case"
    " WHERE run = ? AND case_index >= ? AND case_index < ?"
)
_COUNT_POSITIONS = (
    "SELECT count(*) FROM manifests WHERE dataset = ? AND position >= ? AND position < ?"
)
_POSITIONS = _COUNT_POSITIONS.replace("count(*)", "position")
_SNAPSHOT = (
    "SELECT r.snapshot, c.value FROM runs r"
    f" LEFT JOIN checks c ON c.kind = {SNAPSHOT} AND c.owner = r.ref AND c.block = 0"
    " WHERE r.ref = ?"
)
_UNREADABLE = (Damage, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)
"""What reading a row raises where it is not as it was written; ValueError is JSON's and UTF-8's."""


class SqliteRunStore:
    """A store in a SQLite file.

    The file is opened, and made where there is none, by ``initialize`` or by the first use. After
    ``close`` a further use opens it again.

    Args:
        path: the file; its folder is made if it is missing. "~" is the home folder.
        synchronous: "full" syncs each append to disk before it returns; "normal" may lose the last
            appends in a power cut, "off" may damage the file in one.
        busy_timeout: seconds to wait while another process writes.
        journal: "wal" lets several processes use the file at once; "rollback" allows one, and is
            safe on network file systems. "auto" is "rollback" if the file lies on one as far as
            Themis can see (reliably only on Linux), else "wal".

    Raises:
        DefinitionError: an argument has another value.
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
        self._database.open()

    def close(self) -> None:
        """Close the file. See ``RunStore.close``."""
        self._database.close()

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Store a snapshot, unless the run has one. See ``RunStore.save_snapshot``."""
        run_id = snapshot.run_id
        with self._database.reading() as db:  # most often it is there, and nobody is waited for
            kept = _kept_snapshot(db, run_id)
        if kept is not None:
            return RunSnapshot.read(decode(kept))
        raw = encode(snapshot.model_dump(mode="json"))
        with self._database.writing() as db:
            run = _run_number(db, run_id)
            kept = _kept_snapshot(db, run_id)
            if kept is None:
                now = time.time()
                db.execute(
                    "UPDATE runs SET snapshot = ?, created_at = ? WHERE ref = ?", (raw, now, run)
                )
                RUNS.keep(db, run, run_id, now)
                keep(db, SNAPSHOT, run, mark_of(run_id, raw))
                db.executemany(
                    "INSERT OR IGNORE INTO run_datasets VALUES (?, ?)",
                    [(run, dataset.fingerprint) for dataset in snapshot.identity.datasets],
                )
        return snapshot if kept is None else RunSnapshot.read(decode(kept))

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return a run's snapshot. See ``RunStore.load_snapshot``."""
        with self._database.reading() as db:
            kept = _kept_snapshot(db, run_id)
        if kept is None:
            raise RunNotFoundError(run_id, nearest=nearest(run_id, (r.run_id for r in self.runs())))
        return RunSnapshot.read(decode(kept))

    def runs(self) -> Sequence[RunRecord]:
        """Return all runs, oldest first. See ``RunStore.runs``."""
        with self._database.reading() as db:
            found = RUNS.all(db)
        saved = [(at, run, name) for name, (run, at) in found.items() if at is not None]
        return [RunRecord(run_id=RunId(name), created_at=at) for at, _, name in sorted(saved)]

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        """Append events with their artifacts in one transaction. See ``RunStore.append``."""
        if not events:
            return ()
        batch = Batch(events)
        with self._database.writing() as db:
            newest = _epoch(db, run_id) or 0
            if newest > epoch:
                raise lost(run_id, epoch, newest)
            batch.write(db, _run_number(db, run_id), run_id)
        batch.settle(run_id)
        return batch.lost

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        """Stream a run's events. See ``RunStore.events``."""
        index = chosen = ""
        counting = _COUNT_ALL
        if kinds is not None:
            numbers = ",".join(str(KIND_NUMBERS[kind]) for kind in kinds)
            chosen = f" AND e.kind IN ({numbers})"
            if kinds and _RARE.issuperset(kinds):
                counting = _COUNT_RARE
                index, chosen = " INDEXED BY rare_events", f" AND {RARE_KINDS}{chosen}"
        statement = (
            f"{sqlite_statements.EVENTS.format(index=index)}{chosen} AND e.seq > ? ORDER BY e.seq"
        )
        run = self._complete(run_id, counting, ()) if after == 0 else self._number(run_id)
        rows, more = self._page(statement, (run, after))
        while rows:
            yield from self._events(run_id, rows)
            if not more:
                return
            rows, more = self._page(statement, (run, rows[-1][0]))

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        """Stream the events of some cases. See ``RunStore.case_events``."""
        if start >= stop:
            return
        run = self._complete(run_id, _COUNT_CASES, (max(start, 0) // BLOCK, (stop - 1) // BLOCK))
        asked = sqlite_statements.EVENTS.format(index=" INDEXED BY events_by_case")
        statement = (
            f"{asked} AND e.case_index < ? AND (e.case_index, e.seq) > (?, ?)"
            " ORDER BY e.case_index, e.seq"
        )
        rows, more = self._page(statement, (run, stop, start, -1))
        while rows:
            yield from self._events(run_id, rows)
            if not more:
                return
            rows, more = self._page(statement, (run, stop, rows[-1][3], rows[-1][0]))

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        """Return the latest version of each key that has any. See ``RunStore.lookup``."""
        rows: list[Any] = []
        with self._database.reading() as db:
            for marks, chunk in chunked(keys):
                rows += db.execute(sqlite_statements.LATEST.format(marks=marks), chunk)
            self._learn_run_names(db, {row[4] for row in rows})
            try:
                found = [self._artifact(*row) for row in rows]
            except _UNREADABLE as error:
                raise self._database.damaged(error) from None
        return {artifact.key: artifact for artifact in found}

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        """Keep cases of a dataset's manifest. See ``RunStore.save_cases``."""
        shelved = [(case, *shelve(case.raw)) for case in cases]
        with self._database.writing() as db:
            dataset = DATASETS.number(db, fingerprint)
            if dataset is None:
                dataset = _inserted(
                    db.execute("INSERT INTO datasets (fingerprint) VALUES (?)", (fingerprint,))
                )
                DATASETS.keep(db, dataset, fingerprint, None)
            put_blobs(db, [blob for _, _, blob in shelved if blob is not None])
            insert(
                db,
                "INSERT OR IGNORE INTO cases",
                "(?,?,?,?)",
                marked((case.digest, raw, blob and blob[0]) for case, raw, blob in shelved),
            )
            stored = db.execute(_POSITIONS, (dataset, start, start + len(cases))).fetchall()
            present = {position for (position,) in stored}
            rows = [
                (dataset, position, case.case_id, case.digest)
                for position, case in enumerate(cases, start=start)
                if position not in present
            ]
            insert(db, "INSERT INTO manifests", "(?,?,?,?,?)", marked(rows))
            count(db, CASES_OF, dataset, (position // BLOCK for _, position, _, _ in rows))

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        """Stream the kept cases of a manifest. See ``RunStore.cases``."""
        if start >= stop:
            return
        with self._database.reading() as db:
            dataset = DATASETS.number(db, fingerprint)
            if dataset is None:
                return
            blocks = max(start, 0) // BLOCK, (stop - 1) // BLOCK
            found = db.execute(_COUNT_POSITIONS, (dataset, *_span(*blocks))).fetchone()[0]
            known = counted(db, CASES_OF, dataset, *blocks)
            if found != known:
                raise Damage(f"{found} cases are there of {known} of a dataset")
        more = True
        while more:
            rows, more = self._page(sqlite_statements.CASES, (dataset, start, stop))
            for row in rows:
                yield row[0], self._case(dataset, *row)
                start = row[0] + 1

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        """Return the position of a case. See ``RunStore.find_case``."""
        with self._database.reading() as db:
            dataset = DATASETS.number(db, fingerprint)
            row = db.execute(sqlite_statements.FIND_CASE, (dataset, case_id)).fetchone()
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
        try:
            return unpacked(cell_of(ref), row[0])
        except Damage as damage:
            raise self._database.damaged(damage) from None

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: Lease | None = None
    ) -> Lease:
        """Take a run under a new epoch. See ``RunStore.lease``."""
        with self._database.reading() as db:  # who is refused waits for no writer's lock
            _refuse_if_held(db, run_id, takeover)
        with self._database.writing() as db:
            _refuse_if_held(db, run_id, takeover)
            now = time.time()
            epoch = (_epoch(db, run_id) or 0) + 1
            db.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, 0)",
                (run_id, encode(asdict(owner)), epoch, now, now + ttl),
            )
        return Lease(run_id=run_id, owner=owner, epoch=epoch, since=now, expires=now + ttl)

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Hold a run for longer. See ``RunStore.renew``."""
        with self._database.writing() as db:
            db.execute(
                "UPDATE leases SET expires = ?, beat = beat + 1"
                " WHERE run_id = ? AND epoch = ? AND owner IS NOT NULL",
                (time.time() + ttl, lease.run_id, lease.epoch),
            )
            renewed = _held_lease(db, lease.run_id)
            if renewed is None or renewed.epoch != lease.epoch:
                raise lost(lease.run_id, lease.epoch, _epoch(db, lease.run_id))
        return renewed

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
            # The lease stays, under a newer epoch: else a former owner could pass for a new one.
            db.execute(
                "UPDATE leases SET owner = NULL, epoch = epoch + 1 WHERE run_id = ?", (run_id,)
            )
            row = db.execute("SELECT ref FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is not None:
                for statement in sqlite_statements.FORGET:
                    db.execute(statement, {"run": row[0]})

    def damages(self) -> Iterator[str]:
        """Yield what is damaged in the file, a line each: every row is read."""
        from themis.stores.sqlite_deep import damages

        return damages(self, self._database)

    def _number(self, run_id: RunId) -> int | None:
        with self._database.reading() as db:
            return RUNS.number(db, run_id)

    def _complete(self, run_id: RunId, counting: str, blocks: tuple[int, ...]) -> int | None:
        """Return a run's number, having seen that its events are all there.

        Args:
            run_id: the run.
            counting: the statement that counts them, by the index that is read.
            blocks: the first and last block of cases, or nothing for the whole run.

        Raises:
            StoreDamagedError: some are missing.
        """
        kind = RARE_OF if counting is _COUNT_RARE else EVENTS_OF
        with self._database.reading() as db:
            run = RUNS.number(db, run_id)
            if run is not None:
                found = db.execute(counting, (run, *_span(*blocks))).fetchone()[0]
                known = counted(db, kind, run, *(blocks or (NO_CASE, LAST_BLOCK)))
                if found != known:
                    raise Damage(f"{found} events are there of {known} of run '{run_id}'")
        return run

    def _page(self, statement: str, values: tuple[object, ...]) -> tuple[list[Any], bool]:
        """Return rows up to a limit of number and size, and whether there may be more."""
        rows: list[Any] = []
        room = _PAGE_BYTES
        with self._database.reading() as db:
            cursor = db.execute(statement, values)
            for row in cursor:
                rows.append(row)
                room -= len(row[-4] or row[-1] or b"")
                if len(rows) == _PAGE_ROWS or room <= 0:
                    break
            cursor.close()  # ends the read, or checkpoints would wait for it
            if statement is not sqlite_statements.CASES:
                self._learn_run_names(db, {row[11] for row in rows})
        return rows, len(rows) == _PAGE_ROWS or room <= 0

    def _learn_run_names(self, db: sqlite3.Connection, numbers: set[int | None]) -> None:
        for number in numbers - self._run_names.keys():
            if number is not None:
                row = db.execute("SELECT run_id FROM runs WHERE ref = ?", (number,)).fetchone()
                if row is not None:  # else the run was just cleared
                    self._run_names[number] = RunId(row[0])

    def _events(self, run_id: RunId, rows: Sequence[Any]) -> Iterator[Event]:
        """Yield the events of rows, each compared with its mark."""
        seed = run_seed(run_id)
        for row in rows:
            try:
                if event_mark(seed, *row[:8]) != row[8]:
                    raise Damage("it was changed")
                event = event_of(*row[:8])
                if row[9] is not None:
                    event.artifact = self._artifact(row[4], row[5], *row[9:])
                elif row[4] is not None:
                    raise Damage(f"its artifact {text_of(row[4])} is missing")
            except _UNREADABLE as error:
                said = f"event {row[0]} of run '{run_id}': {error}"
                raise self._database.damaged(said) from None
            yield event

    def _artifact(
        self,
        key: bytes | str,
        version: int,
        at: float,
        code: bytes | str | None,
        run: int | None,
        payload: bytes | None,
        blob: bytes | None,
        mark: int | None,
        data: bytes | None,
    ) -> Artifact:
        if artifact_mark(key, version, code, at, run, payload, blob) != mark:
            raise Damage(f"artifact {text_of(key)} was changed")
        return Artifact(
            key=ArtifactKey(text_of(key)),
            raw=unshelve(payload, blob, data),
            at=at,
            code=None if code is None else text_of(code),
            version=version,
            run_id=None if run is None else self._run_names.get(run),
        )

    def _case(
        self,
        dataset: int,
        position: int,
        case_id: str,
        digest: bytes,
        mark: int | None,
        payload: bytes | None,
        blob: bytes | None,
        case_mark: int | None,
        data: bytes | None,
    ) -> Case:
        try:
            if mark_of(dataset, position, case_id, digest) != mark:
                raise Damage("its place was changed")
            if mark_of(digest, payload, blob) != case_mark:
                raise Damage("it was changed, or is missing")
            # Cases were checked when the run was compiled.
            facts = decode(unshelve(payload, blob, data))
            return Case.model_construct(case_id=case_id, **facts)
        except _UNREADABLE as error:
            raise self._database.damaged(f"case {position} of a dataset: {error}") from None


def _kept_snapshot(db: sqlite3.Connection, run_id: RunId) -> bytes | None:
    run = RUNS.number(db, run_id)
    if run is None:
        return None
    kept, mark = db.execute(_SNAPSHOT, (run,)).fetchone()
    if (kept, mark) != (None, None) and mark_of(run_id, kept) != mark:
        raise Damage(f"the snapshot of run '{run_id}' was changed")
    found: bytes | None = kept
    return found


def _refuse_if_held(db: sqlite3.Connection, run_id: RunId, takeover: Lease | None) -> None:
    last = _held_lease(db, run_id)
    if last is not None and not is_same(last, takeover):
        raise held(last)


def _held_lease(db: sqlite3.Connection, run_id: RunId) -> Lease | None:
    """Return a run's lease; None where nobody holds it."""
    row = db.execute(
        "SELECT owner, epoch, since, expires, beat FROM leases"
        " WHERE run_id = ? AND owner IS NOT NULL",
        (run_id,),
    ).fetchone()
    if row is None:
        return None
    raw, epoch, since, expires, beat = row
    try:
        owner = Owner(**decode(raw))
    except (ValueError, TypeError):
        raise Damage(f"the lease of run '{run_id}' was changed") from None
    return Lease(run_id=run_id, owner=owner, epoch=epoch, since=since, expires=expires, beat=beat)


def _epoch(db: sqlite3.Connection, run_id: RunId) -> int | None:
    row = db.execute("SELECT epoch FROM leases WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else int(row[0])


def _run_number(db: sqlite3.Connection, run_id: RunId) -> int:
    """Return a run's number, assigning one if it has none."""
    number = RUNS.number(db, run_id)
    if number is None:
        number = _inserted(db.execute("INSERT INTO runs (run_id) VALUES (?)", (run_id,)))
        RUNS.keep(db, number, run_id, None)
    return number


def _inserted(done: sqlite3.Cursor) -> int:
    if done.lastrowid is None:
        raise AssertionError("an INSERT into a rowid table has a row id")
    return done.lastrowid


def _span(first: int | None = None, last: int = 0) -> tuple[int, ...]:
    """Return the cases or positions of blocks: the first, and the one after the last."""
    return () if first is None else (first * BLOCK, (last + 1) * BLOCK)


_: type[RunStore] = SqliteRunStore  # the type checker says here what the protocol has and it lacks
