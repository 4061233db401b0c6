"""The protocol of stores, and the records that a store receives and returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from themis.core.base import ArtifactKey, RunId
from themis.core.events import Artifact, Event, EventKind
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A case in the form in which stores keep it; equal cases are kept once."""

    case_id: str
    digest: bytes
    """16 bytes over the whole case."""
    raw: bytes
    """The case as JSON: input, expected_output, metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run in a store's list."""

    run_id: RunId
    created_at: float
    """Unix seconds at which its snapshot was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that holds a lease; start and namespace tell it from others with its pid.

    A field that the system does not tell is empty.
    """

    host: str
    boot_id: str
    """Another one after each start of the machine."""
    pid: int
    process_start: str
    """When it began, by the system's own count; unique where the system does not tell."""
    pid_namespace: str = ""
    """Within what the pid and the start mean something."""
    machine: str = ""
    """The machine's id, which tells it from another one with its host name."""
    user: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one process to append to a run."""

    run_id: RunId
    owner: Owner
    epoch: int
    """Grows with each new owner; an append under an older one is refused."""
    since: float
    expires: float
    """Unix seconds by the owner's clock, which may be wrong: for people to read."""
    beat: int = 0
    """Grows with each renewal: whoever sees it grow knows that the owner lives."""


@runtime_checkable
class RunStore(Protocol):
    """A store: keeps runs, events, cases and blobs, without interpreting them.

    Its methods are synchronous and are called from any thread; an implementation locks. The
    contract suite in ``themis.testing`` tests every promise made here.
    """

    def initialize(self) -> None:
        """Make the store ready: create or migrate it. Calling it again does nothing.

        Raises:
            StoreVersionError: a newer Themis wrote it. StoreUnavailableError: it cannot be opened.
        """
        ...

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Store a snapshot under its run id, unless there is one, and return the stored one."""
        ...

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return a run's snapshot.

        Raises:
            RunNotFoundError: there is none.
        """
        ...

    def runs(self) -> Sequence[RunRecord]:
        """Return all runs, oldest first."""
        ...

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        """Append events with their artifacts: atomic, and durable on return.

        An artifact under a new key is stored as version 0. If the key has an artifact already, one
        that ``supersedes`` it, or that has another ``code``, is stored as the next version.
        Otherwise the stored one is kept: the event refers to it, and if the payloads differ its key
        is returned, so that the caller can continue with the stored payload. Each event's
        ``version`` is set accordingly.

        Returns:
            Keys of artifacts that were not stored, since there was one with another payload.

        Raises:
            JournalConflictError: a ``(run_id, seq)`` is there already; nothing was appended.
            LeaseLostError: the run has a newer epoch; nothing was appended.
            StoreUnavailableError: it cannot be written; nothing was appended.
        """
        ...

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        """Stream a run's events in order of ``seq``, those above ``after``, artifacts included."""
        ...

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        """Stream the events of cases ``start`` to ``stop`` (exclusive), by case index, then seq."""
        ...

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        """Return the latest version of each key that has an artifact."""
        ...

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        """Store cases at positions from ``start`` of a dataset; those stored already are kept."""
        ...

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        """Stream a dataset's stored cases of positions ``start`` to ``stop`` (exclusive)."""
        ...

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        """Return the position of a case in a dataset; None if it is not stored yet.

        No case is decoded: there may be millions.
        """
        ...

    def put_blob(self, data: bytes) -> str:
        """Store bytes under the digest of their content and return the reference."""
        ...

    def get_blob(self, ref: str) -> bytes:
        """Return the bytes of a reference.

        Raises:
            KeyError: the store has no bytes of this reference.
        """
        ...

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: Lease | None = None
    ) -> Lease:
        """Acquire the run's lease for ``ttl`` seconds, under a new epoch.

        A lease is replaced if it was released, or if it is ``takeover`` still: of the same epoch
        and beat. A store asks no clock whether it has expired, for the clocks of two processes may
        differ; whether its owner lives is the caller's to find out.

        Raises:
            RunOwnedError: another process holds it; has the lease.
        """
        ...

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Extend the lease to ``ttl`` seconds from now, and count a beat.

        Raises:
            LeaseLostError: another process has acquired it.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Release the lease; a lost lease is ignored."""
        ...

    def clear_run(self, run_id: RunId) -> None:
        """Delete a run, except for artifacts that other runs refer to; its owner loses it."""
        ...

    def close(self) -> None:
        """Close files and connections; calling it again does nothing."""
        ...


Listener = Callable[[Sequence[Event]], object]
"""A function that is called with events once they are committed."""
