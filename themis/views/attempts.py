"""A run as of one of its attempts: ``RUN@2`` is what the run was when its attempt 2 was the newest.

The events of later attempts are hidden, so that every view, report and bundle of a run works for an
earlier attempt as well. Nothing is copied, and nothing can be written. An artifact that was
superseded since is read in the version of that time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import DefinitionError, StoreError
from themis.core.events import Artifact, Event, EventKind
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.core.store import Lease, Owner, RunRecord, RunStore, StoredCase

MARK = "@"
_STARTS = frozenset({EventKind.RUN_STARTED})


def split_name(name: str) -> tuple[str, int | None]:
    """Split ``RUN@N`` into the run's name and the attempt's number, None without ``@``.

    Raises:
        DefinitionError: the part after ``@`` is no number.
    """
    run, mark, number = name.partition(MARK)
    if not mark:
        return name, None
    if not (number.isascii() and number.isdecimal()) or not run.strip():
        raise DefinitionError(
            f"'{name}' names no attempt of a run: write RUN{MARK}N, as in "
            f"{run.strip() or 'latest'}{MARK}1",
            field="run_id",
            value=name,
        )
    return run, int(number)


def as_of(store: RunStore, name: str) -> tuple[RunStore, RunId]:
    """Return the store to read a run from, and the run's id.

    Args:
        store: where the run is.
        name: a run id, or ``RUN@N`` for the run as of its attempt N, from 1.

    Raises:
        RunNotFoundError: the store has no such run.
        DefinitionError: the run has no such attempt; the message lists its attempts.
    """
    run, number = split_name(name)
    run_id = RunId(run)
    if number is None:
        return store, run_id
    store.load_snapshot(run_id)  # refuses a run that is not there
    modes: dict[int, str] = {}
    for event in store.events(run_id, kinds=_STARTS):
        modes.setdefault(event.attempt, event.data.get("mode", "run"))
    if number not in modes:
        known = ", ".join(f"{one} ({mode})" for one, mode in sorted(modes.items()))
        raise DefinitionError(
            f"run {run} has no attempt {number}; it has {known or 'not begun'}",
            field="run_id",
            value=name,
        )
    return _AsOf(store, run_id, number, [one for one in sorted(modes) if one > number]), run_id


def later_attempts(store: RunStore) -> list[int]:
    """Return the attempts that a store hides, since it shows an earlier one."""
    return store.later if isinstance(store, _AsOf) else []


class _AsOf:
    """A store that shows one of its runs as it was at an attempt, and can only be read.

    It has every method of ``RunStore``; those that write refuse.
    """

    def __init__(self, store: RunStore, run_id: RunId, attempt: int, later: list[int]) -> None:
        self._store = store
        self._run_id = run_id
        self._attempt = attempt
        self.later = later

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        found = self._store.events(run_id, after=after, kinds=kinds)
        if run_id != self._run_id:
            return found
        return takewhile(self._is_shown, found)  # in a journal attempts only follow one another

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        found = self._store.case_events(run_id, start, stop)
        return found if run_id != self._run_id else filter(self._is_shown, found)

    def _is_shown(self, event: Event) -> bool:
        return event.attempt <= self._attempt

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        return self._store.load_snapshot(run_id)

    def runs(self) -> Sequence[RunRecord]:
        return self._store.runs()

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        return self._store.lookup(keys)

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        return self._store.cases(fingerprint, start, stop)

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        return self._store.find_case(fingerprint, case_id)

    def get_blob(self, ref: str) -> bytes:
        return self._store.get_blob(ref)

    def initialize(self) -> None:
        """Do nothing: the store that is read is ready."""

    def close(self) -> None:
        """Do nothing: whoever opened the underlying store closes it."""

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        raise self._refusal("save_snapshot")

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        raise self._refusal("append")

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        raise self._refusal("save_cases")

    def put_blob(self, data: bytes) -> str:
        raise self._refusal("put_blob")

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: Lease | None = None
    ) -> Lease:
        raise self._refusal("lease")

    def renew(self, lease: Lease, ttl: float) -> Lease:
        raise self._refusal("renew")

    def release(self, lease: Lease) -> None:
        raise self._refusal("release")

    def clear_run(self, run_id: RunId) -> None:
        raise self._refusal("clear_run")

    def _refusal(self, method: str) -> StoreError:
        name = f"{self._run_id}{MARK}{self._attempt}"
        return StoreError(f"{name} can only be read: {method}() takes the run, without {MARK}")
