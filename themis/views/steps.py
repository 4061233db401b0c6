"""One case's steps: for each address the newest event, and what stands in the way of its scores.

Here alone it is decided which event counts and which failure keeps a subject from its score; the
other views ask. It opens no payload except a selector's, so that a fold over many cases decodes
only what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress, address_of
from themis.core.protocols import RunStore
from themis.core.snapshot import RunIdentity, RunSnapshot

PAGE = 512
"""Cases read from a store at a time."""

_FAILED = EventKind.STEP_FAILED  # looked up once: folds ask it of every event
_DROPPED = EventKind.STEP_DROPPED
_GENERATE = Stage.GENERATE
SELECT = StepAddress(Stage.SELECT)
REDUCE = StepAddress(Stage.REDUCE)


class CaseSteps:
    """The events of one case, in any order and in as many portions as they come.

    Attributes:
        index: position of the case in the run.
        events: every event, as it came.
        newest: by address, the event with the highest number, whatever its attempt; none where
            that event says that the step no longer holds.
        finished: the newest event telling that the case was gone through to the end.
    """

    __slots__ = ("_dropped", "events", "finished", "index", "newest")

    def __init__(self, index: int) -> None:
        self.index = index
        self.events: list[Event] = []
        self.newest: dict[StepAddress, Event] = {}
        self._dropped: dict[StepAddress, int] = {}
        self.finished: Event | None = None

    def take(self, event: Event) -> None:
        """Take one event of this case."""
        self.events.append(event)
        address = event.address
        if address is None:
            if event.kind is EventKind.CASE_FINISHED and _is_newer(event, self.finished):
                self.finished = event
            return
        if event.kind is _DROPPED:
            self._dropped[address] = max(event.seq, self._dropped.get(address, 0))
            known = self.newest.get(address)
            if known is not None and known.seq < event.seq:
                del self.newest[address]
        elif not self._dropped or event.seq > self._dropped.get(address, 0):
            known = self.newest.get(address)
            if known is None or event.seq > known.seq:
                self.newest[address] = event

    def has_older(self, than: float, until: Stage) -> bool:
        """Return whether some step, of the stages up to ``until``, stands by an older artifact.

        Args:
            than: Unix seconds.
            until: the last stage that is looked at.
        """
        return any(
            event.artifact is not None
            and event.artifact.at < than
            and address.stage.order <= until.order
            for address, event in self.newest.items()
        )

    def generated(self, sample: int) -> Event | None:
        """Return the newest event of a sample's generation."""
        return self.newest.get(address_of(_GENERATE, sample))

    def chosen(self) -> list[int] | None:
        """Return the samples that a selector chose, None where none has chosen."""
        event = self.newest.get(SELECT)
        if event is None or event.artifact is None:
            return None
        chosen: list[int] = event.artifact.payload["chosen"]
        return chosen


def _is_newer(event: Event, known: Event | None) -> bool:
    return known is None or event.seq > known.seq


class Subject(NamedTuple):
    """What is scored: the reduced candidate, one sample, or the case as a whole."""

    sample: int | None
    """None for the reduced candidate and for the whole case."""
    candidate_id: str | None
    blocked: Event | None
    """The failed step upstream that keeps it from being scored."""
    generated: Event | None = None
    """A sample's generation."""


def subjects(steps: CaseSteps, identity: RunIdentity) -> list[Subject]:
    """Return a case's subjects, as far as they are known.

    The reduced candidate where there is a reducer; else the samples chosen, or all. Where selection
    is kept from choosing, the whole case stands for the unknown samples.
    """
    samples = range(identity.num_samples)
    if identity.reducer is not None:
        reduced = steps.newest.get(REDUCE)
        blocked = blocked_reduction(steps, identity)
        return [Subject(None, reduced.candidate_id if reduced else None, blocked)]
    if identity.selector is not None:
        blocked = blocked_case(steps, identity)
        if blocked is not None:
            return [Subject(None, None, blocked)]
        samples = steps.chosen() or ()  # type: ignore[assignment]  # both yield sample indices
    return [_sample(steps, sample) for sample in samples]


def whole_case(steps: CaseSteps, identity: RunIdentity) -> Subject:
    """Return the one subject of a metric that scores a case's candidates together."""
    return Subject(None, None, blocked_case(steps, identity))


def blocked_case(steps: CaseSteps, identity: RunIdentity) -> Event | None:
    """Return the failure that keeps a case's candidates from being complete, or selected."""
    events = (steps.generated(sample) for sample in range(identity.num_samples))
    failure = newest_failure(*events)
    if identity.selector is None:
        return failure
    return _beyond(steps.newest.get(SELECT), failure)


def blocked_reduction(steps: CaseSteps, identity: RunIdentity) -> Event | None:
    """Return the failure that keeps a case from having a reduced candidate."""
    parser = identity.default_parser
    reads = (
        steps.newest.get(StepAddress(Stage.PARSE, sample, parser))
        for sample in range(identity.num_samples)
        if parser is not None
    )
    failure = newest_failure(blocked_case(steps, identity), *reads)
    return _beyond(steps.newest.get(REDUCE), failure)


def newest_failure(*events: Event | None) -> Event | None:
    """Return, of these events, the newest that is a failure."""
    newest: Event | None = None
    for event in events:
        if event is not None and event.kind is _FAILED and _is_newer(event, newest):
            newest = event
    return newest


def _beyond(gate: Event | None, failure: Event | None) -> Event | None:
    """Return what blocks beyond a step: one taken after a failure got by without what failed."""
    if gate is None or (failure is not None and failure.seq > gate.seq):
        return failure
    return gate if gate.kind is EventKind.STEP_FAILED else None


def _sample(steps: CaseSteps, sample: int) -> Subject:
    event = steps.generated(sample)
    if event is None:
        return Subject(sample, None, None)
    failed = event.kind is _FAILED
    return Subject(sample, event.candidate_id, event if failed else None, event)


def read_steps(
    store: RunStore, run_id: RunId, start: int, stop: int, *, page: int = PAGE
) -> Iterator[CaseSteps]:
    """Stream the cases that have events, in order, at most ``page`` of them asked for at a time."""
    for lower in range(start, stop, page):
        current: CaseSteps | None = None
        for event in store.case_events(run_id, lower, min(lower + page, stop)):
            index = event.case_index
            if index is None:
                continue
            if current is None or current.index != index:
                if current is not None:
                    yield current
                current = CaseSteps(index)
            current.take(event)
        if current is not None:
            yield current


class Fold(Protocol):
    """Something that is fed one case after another."""

    def take(self, steps: CaseSteps, /) -> object:
        """Take one case, whole."""
        ...


def fold_cases(store: RunStore, snapshot: RunSnapshot, *folds: Fold) -> None:
    """Feed every case of a run to the folds, in one pass over its journal."""
    for steps in read_steps(store, snapshot.run_id, 0, snapshot.n_cases):
        for fold in folds:
            fold.take(steps)
