"""A store in memory: plain dicts behind one lock.

It keeps the same promises as the durable stores, except that its content is lost with the object.
"""

from __future__ import annotations

import time
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import JournalConflictError, RunNotFoundError, nearest
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import decode, digest, text
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.core.store import Lease, Owner, RunRecord, RunStore, StoredCase
from themis.stores.leasing import held, is_same, lost
from themis.stores.rows import KIND_NUMBERS, EventRow, event_of, row_of, text_of

_PAGE = 512


@dataclass(slots=True)
class _Journal:
    """A run's events: rows by number, and numbers in order, of the run and of each case."""

    rows: dict[int, EventRow] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    by_case: dict[int, list[int]] = field(default_factory=dict)
    last_case: int = -1

    def add(self, row: EventRow) -> None:
        self.rows[row.seq] = row
        insort(self.numbers, row.seq)
        index = row.case_index
        if index is not None:
            insort(self.by_case.setdefault(index, []), row.seq)
            self.last_case = max(self.last_case, index)


class InMemoryRunStore:
    """A store in this process's memory.

    Its content lives as long as the object; ``close`` deletes nothing.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._snapshots: dict[RunId, tuple[RunSnapshot, float]] = {}
        self._journals: dict[RunId, _Journal] = {}
        self._artifacts: dict[ArtifactKey, dict[int, Artifact]] = {}
        self._cases: dict[bytes, bytes] = {}
        self._manifests: dict[str, dict[int, tuple[str, bytes]]] = {}
        self._blobs: dict[str, bytes] = {}
        self._leases: dict[RunId, Lease] = {}
        self._released: set[RunId] = set()

    def initialize(self) -> None:
        """Do nothing: the store is ready."""

    def close(self) -> None:
        """Do nothing: no file is open."""

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Keep a snapshot, unless the run has one. See ``RunStore.save_snapshot``."""
        with self._lock:
            return self._snapshots.setdefault(snapshot.run_id, (snapshot, time.time()))[0]

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return a run's snapshot. See ``RunStore.load_snapshot``."""
        with self._lock:
            if run_id not in self._snapshots:
                raise RunNotFoundError(run_id, nearest=nearest(run_id, self._snapshots))
            return self._snapshots[run_id][0]

    def runs(self) -> Sequence[RunRecord]:
        """Return all runs, oldest first. See ``RunStore.runs``."""
        with self._lock:
            kept = [(at, run_id) for run_id, (_, at) in self._snapshots.items()]
        kept.sort(key=lambda one: one[0])
        return [RunRecord(run_id=run_id, created_at=at) for at, run_id in kept]

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        """Append events with their artifacts. See ``RunStore.append``."""
        rows = [row_of(event) for event in events]
        lost_keys: dict[ArtifactKey, None] = {}
        with self._lock:
            lease = self._leases.get(run_id)
            if events and lease is not None and lease.epoch > epoch:
                raise lost(run_id, epoch, lease.epoch)
            journal = self._journals.get(run_id) or _Journal()
            numbers = {row.seq for row in rows}
            if len(numbers) < len(rows) or not numbers.isdisjoint(journal.rows):
                raise JournalConflictError(
                    f"run '{run_id}' has an event numbered {min(numbers)} to {max(numbers)} "
                    "already, or the batch has one twice; nothing was appended: read the run again "
                    "and go on from it"
                )
            if rows:
                self._journals[run_id] = journal
            for event, row in zip(events, rows, strict=True):
                if event.artifact is not None:
                    event.version = self._place(run_id, event.artifact, lost_keys)
                    row = row._replace(version=event.version)
                journal.add(row)
        return list(lost_keys)

    def _place(self, run_id: RunId, artifact: Artifact, lost_keys: dict[ArtifactKey, None]) -> int:
        """Store an artifact, unless its key has one that stays, and return the version in use."""
        versions = self._artifacts.setdefault(artifact.key, {})
        version = 0
        if versions:
            latest = versions[max(versions)]
            if not artifact.supersedes and artifact.code == latest.code:
                if artifact.raw != latest.raw:
                    lost_keys[artifact.key] = None
                return latest.version
            version = latest.version + 1
        artifact.version = version
        artifact.run_id = run_id
        versions[version] = _copy(artifact)
        return version

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        """Stream a run's events. See ``RunStore.events``."""
        chosen = {KIND_NUMBERS[kind] for kind in EventKind if kinds is None or kind in kinds}
        while True:
            with self._lock:
                journal = self._journals.get(run_id) or _Journal()
                place = bisect_right(journal.numbers, after)
                numbers = journal.numbers[place : place + _PAGE]
                page = [
                    self._event(journal.rows[seq])
                    for seq in numbers
                    if journal.rows[seq].kind in chosen
                ]
            yield from page
            if not numbers:
                return
            after = numbers[-1]

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        """Stream the events of some cases. See ``RunStore.case_events``."""
        index = max(start, 0)
        while True:
            page: list[Event] = []
            with self._lock:
                journal = self._journals.get(run_id) or _Journal()
                end = min(stop, journal.last_case + 1)
                while index < end and len(page) < _PAGE:
                    page += [self._event(journal.rows[n]) for n in journal.by_case.get(index, ())]
                    index += 1
            yield from page
            if index >= end:
                return

    def _event(self, row: EventRow) -> Event:
        event = event_of(*row)
        if row.key is not None and event.key is not None:
            kept = self._artifacts.get(event.key, {}).get(row.version)
            event.artifact = None if kept is None else _copy(kept)
        return event

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        """Return the latest version of each key that has any. See ``RunStore.lookup``."""
        found = {}
        with self._lock:
            for key in keys:
                if versions := self._artifacts.get(key):
                    found[key] = _copy(versions[max(versions)])
        return found

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        """Keep cases of a dataset's manifest. See ``RunStore.save_cases``."""
        with self._lock:
            manifest = self._manifests.setdefault(fingerprint, {})
            for position, case in enumerate(cases, start=start):
                self._cases.setdefault(case.digest, case.raw)
                manifest.setdefault(position, (case.case_id, case.digest))

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        """Stream the kept cases of a manifest. See ``RunStore.cases``."""
        with self._lock:
            manifest = self._manifests.get(fingerprint, {})
            if stop - start > len(manifest):  # ``stop`` may be far beyond the end
                stop = min(stop, max(manifest, default=-1) + 1)
            chosen = [
                (position, *manifest[position])
                for position in range(max(start, 0), stop)
                if position in manifest
            ]
        for position, case_id, content in chosen:
            with self._lock:
                raw = self._cases.get(content)
            if raw is None:  # cleared while it was read
                return
            yield position, Case.model_construct(case_id=case_id, **decode(raw))

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        """Return the position of a case. See ``RunStore.find_case``."""
        with self._lock:
            manifest = self._manifests.get(fingerprint, {})
            found = (position for position, (name, _) in manifest.items() if name == case_id)
            return min(found, default=None)

    def put_blob(self, data: bytes) -> str:
        """Keep bytes by content. See ``RunStore.put_blob``."""
        ref = text(digest("blob", data))
        with self._lock:
            self._blobs[ref] = bytes(data)
        return ref

    def get_blob(self, ref: str) -> bytes:
        """Return the bytes of a reference. See ``RunStore.get_blob``."""
        with self._lock:
            return self._blobs[ref]

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: Lease | None = None
    ) -> Lease:
        """Take a run under a new epoch. See ``RunStore.lease``."""
        with self._lock:
            now = time.time()
            epoch = 1
            if (last := self._leases.get(run_id)) is not None:
                if run_id not in self._released and not is_same(last, takeover):
                    raise held(last)
                epoch = last.epoch + 1
            lease = Lease(run_id=run_id, owner=owner, epoch=epoch, since=now, expires=now + ttl)
            self._leases[run_id] = lease
            self._released.discard(run_id)
            return lease

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Hold a run for longer. See ``RunStore.renew``."""
        with self._lock:
            last = self._leases.get(lease.run_id)
            if last is None or last.epoch != lease.epoch or lease.run_id in self._released:
                raise lost(lease.run_id, lease.epoch, None if last is None else last.epoch)
            renewed = replace(last, expires=time.time() + ttl, beat=last.beat + 1)
            self._leases[lease.run_id] = renewed
            return renewed

    def release(self, lease: Lease) -> None:
        """Give a run back. See ``RunStore.release``."""
        with self._lock:
            last = self._leases.get(lease.run_id)
            if last is not None and last.epoch == lease.epoch:
                self._released.add(lease.run_id)

    def clear_run(self, run_id: RunId) -> None:
        """Forget a run. See ``RunStore.clear_run``."""
        with self._lock:
            if (last := self._leases.get(run_id)) is not None:  # a former owner stays out
                self._leases[run_id] = replace(last, epoch=last.epoch + 1)
                self._released.add(run_id)
            self._journals.pop(run_id, None)
            snapshot = self._snapshots.pop(run_id, None)
            self._drop_artifacts(run_id)
            if snapshot is not None:
                self._drop_datasets(snapshot[0])

    def _drop_artifacts(self, run_id: RunId) -> None:
        """Delete artifacts that no event refers to, and a cleared run's name in the others."""
        used = {
            (text_of(row.key), row.version)
            for journal in self._journals.values()
            for row in journal.rows.values()
            if row.key is not None
        }
        for key, versions in list(self._artifacts.items()):
            for version in [version for version in versions if (key, version) not in used]:
                del versions[version]
            if not versions:
                del self._artifacts[key]
            for artifact in versions.values():
                if artifact.run_id == run_id:
                    artifact.run_id = None

    def _drop_datasets(self, snapshot: RunSnapshot) -> None:
        used = _fingerprints(kept for kept, _ in self._snapshots.values())
        for fingerprint in _fingerprints([snapshot]) - used:
            self._manifests.pop(fingerprint, None)
        needed = {content for one in self._manifests.values() for _, content in one.values()}
        self._cases = {content: raw for content, raw in self._cases.items() if content in needed}


def _fingerprints(snapshots: Iterable[RunSnapshot]) -> set[str]:
    return {one.fingerprint for snapshot in snapshots for one in snapshot.identity.datasets}


def _copy(artifact: Artifact) -> Artifact:
    """Return a copy, so that callers cannot change a stored artifact."""
    return Artifact(
        key=artifact.key,
        raw=artifact.raw,
        at=artifact.at,
        code=artifact.code,
        version=artifact.version,
        run_id=artifact.run_id,
    )


_: type[RunStore] = (
    InMemoryRunStore  # the type checker says here what the protocol has and it lacks
)
