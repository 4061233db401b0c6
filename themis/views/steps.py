"""One case's steps: the newest event of each, and the failures that prevent its scores.

This module alone decides which event counts for a step and which failure prevents a score; which
steps depend on each other is decided by ``core.pipeline``. No payload is decoded but a selector's,
so that a fold over many cases decodes only what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress, address_of
from themis.core.pipeline import SELECT, Pipeline
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore

PAGE = 512
"""Cases read from a store at a time."""

_FAILED = EventKind.STEP_FAILED  # looked up once: folds ask it of every event
_DROPPED = EventKind.STEP_DROPPED
_GENERATE = Stage.GENERATE


class CaseSteps:
    """The events of one case, added in any order.

    Attributes:
        index: position of the case in the run.
        events: every event, in the order in which it was added.
        newest: by address, the event with the highest number, whatever its attempt; a step whose
            newest event drops it has none.
        finished: the newest event that marks the case as finished.
        has_failed: whether a step ever failed.
    """

    __slots__ = ("_dropped", "events", "finished", "has_failed", "index", "newest")

    def __init__(self, index: int) -> None:
        self.index = index
        self.events: list[Event] = []
        self.newest: dict[StepAddress, Event] = {}
        self._dropped: dict[StepAddress, int] = {}
        self.finished: Event | None = None
        self.has_failed = False

    def add(self, event: Event) -> None:
        """Add one event of this case."""
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
                if event.kind is _FAILED:
                    self.has_failed = True

    def has_older(self, than: float, until: Stage) -> bool:
        """Return whether a step of the stages up to ``until`` has an artifact older than a date.

        Args:
            than: Unix seconds.
            until: the last stage that counts.
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
        """Return the samples that a selector chose; None where it has not chosen."""
        event = self.newest.get(SELECT)
        if event is None or event.artifact is None:
            return None
        chosen: list[int] = event.artifact.payload["chosen"]
        return chosen

    def standing(self, address: StepAddress, pipeline: Pipeline) -> Event | None:
        """Return the event that decides a step's outcome: its own newest, or a later one upstream.

        A step fails with a step that it depends on, unless it was done after that failure: then it
        did without the failed step.
        """
        event = self.newest.get(address)
        if not self.has_failed:
            return event
        for one in pipeline.rests_on(address):
            failure = self.failure(one, pipeline)
            if failure is not None and _is_newer(failure, event):
                event = failure
        return event

    def failure(self, address: StepAddress, pipeline: Pipeline) -> Event | None:
        """Return the failure of a step or of one upstream; None if the step has not failed."""
        event = self.standing(address, pipeline)
        return event if event is not None and event.kind is _FAILED else None


def _is_newer(event: Event, known: Event | None) -> bool:
    return known is None or event.seq > known.seq


class Subject(NamedTuple):
    """What is parsed, scored and judged: the reduced candidate, one sample, or the whole case."""

    sample: int | None
    """None for the reduced candidate and for the whole case."""
    candidate_id: str | None


WHOLE_CASE = Subject(None, None)


def subjects(steps: CaseSteps, pipeline: Pipeline) -> list[Subject]:
    """Return a case's subjects, as far as they are known.

    Where the selector failed, one subject for the whole case stands for the unknown samples.
    """
    found = []
    for sample in pipeline.subjects(_chosen(steps, pipeline)):
        event = steps.newest.get(pipeline.source(sample))
        found.append(Subject(sample, None if event is None else event.candidate_id))
    return found


def _chosen(steps: CaseSteps, pipeline: Pipeline) -> Sequence[int] | None:
    if not pipeline.decides_subjects or steps.failure(SELECT, pipeline) is not None:
        return None
    return steps.chosen() or ()


def subjects_of(steps: CaseSteps, pipeline: Pipeline, metric: str) -> list[Subject]:
    """Return a metric's subjects in a case; a metric about all candidates has one, the case."""
    is_together = pipeline.metrics[metric].is_together
    return [WHOLE_CASE] if is_together else subjects(steps, pipeline)


def read_steps(
    store: RunStore, run_id: RunId, start: int, stop: int, *, page: int = PAGE
) -> Iterator[CaseSteps]:
    """Stream the cases that have events, in order; the store is read ``page`` cases at a time."""
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
            current.add(event)
        if current is not None:
            yield current


class Fold(Protocol):
    """Something that computes a result from cases, added one after another."""

    def add(self, steps: CaseSteps, /) -> object:
        """Add one case with all its events."""
        ...


def fold_cases(store: RunStore, snapshot: RunSnapshot, fold: Fold) -> None:
    """Add every case of a run to a fold, in one pass over its journal."""
    for steps in read_steps(store, snapshot.run_id, 0, snapshot.n_cases):
        fold.add(steps)
