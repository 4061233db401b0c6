"""When things happened and how long they took: by attempt, and by stage within it.

It says what the clocks said and explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from themis.core.base import Model
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.core.snapshot import RunSnapshot
from themis.views.latencies import Latencies
from themis.views.state import RUN_KINDS
from themis.views.steps import CaseSteps, fold_cases

_FAILED = EventKind.STEP_FAILED


class StageTiming(Model):
    """One stage within one attempt."""

    stage: str
    made: int
    """Steps whose work was done in this attempt; reused ones are not among them."""
    reused: int
    failed: int
    retried: int
    """Steps that took more than one try."""
    work_ms: float
    """Milliseconds of all steps together, waiting for limits included."""
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class AttemptTiming(Model):
    """One attempt, from its first event to its last."""

    attempt: int
    first: float
    """Unix seconds."""
    last: float
    stages: list[StageTiming] = Field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From first event to last. Where an attempt was gone on with, the pause is included."""
        return self.last - self.first


class _StageFold:
    __slots__ = ("failed", "latencies", "made", "retried", "reused")

    def __init__(self) -> None:
        self.made = self.reused = self.failed = self.retried = 0
        self.latencies = Latencies()

    def take(self, event: Event) -> None:
        if event.kind is _FAILED:
            self.failed += 1
            self.retried += bool(event.data["failure"].get("tries"))
            return
        if event.reused:
            self.reused += 1
            return
        self.made += 1
        artifact = event.artifact
        # The quick look spares decoding every payload; a false alarm is sorted out by decoding.
        if artifact is not None and artifact.mentions(b'"tries"'):
            self.retried += bool(artifact.payload.get("tries"))
        if (ms := event.data.get("ms")) is not None:
            self.latencies.add(float(ms))

    def timing(self, stage: Stage) -> StageTiming:
        latencies = self.latencies
        return StageTiming(
            stage=stage.value,
            made=self.made,
            reused=self.reused,
            failed=self.failed,
            retried=self.retried,
            work_ms=latencies.sum_ms,
            p50_ms=latencies.quantile(0.5),
            p90_ms=latencies.quantile(0.9),
            p99_ms=latencies.quantile(0.99),
            max_ms=latencies.greatest if latencies.count else None,
        )


class TimelineFold:
    """Fold over a run's own events and over whole cases, in any order."""

    def __init__(self) -> None:
        self._spans: dict[int, list[float]] = {}
        self._stages: dict[tuple[int, Stage], _StageFold] = {}

    def take_event(self, event: Event) -> None:
        """Take one event."""
        self._take((event,))

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        self._take(steps.events)

    def _take(self, events: Iterable[Event]) -> None:
        spans, stages = self._spans, self._stages
        for event in events:
            attempt, at, address = event.attempt, event.at, event.address
            span = spans.get(attempt)
            if span is None:
                spans[attempt] = [at, at]
            elif at > span[1]:
                span[1] = at
            elif at < span[0]:
                span[0] = at
            if address is not None:
                place = (attempt, address.stage)
                fold = stages.get(place)
                if fold is None:
                    fold = stages[place] = _StageFold()
                fold.take(event)

    def timeline(self) -> list[AttemptTiming]:
        """Return the attempts so far, in order."""
        return [
            AttemptTiming(
                attempt=attempt,
                first=first,
                last=last,
                stages=[
                    fold.timing(stage)
                    for (number, stage), fold in sorted(
                        self._stages.items(), key=lambda item: item[0][1].order
                    )
                    if number == attempt
                ],
            )
            for attempt, (first, last) in sorted(self._spans.items())
        ]


def timeline(store: RunStore, snapshot: RunSnapshot) -> list[AttemptTiming]:
    """Return the timings of a run's attempts, reading its whole journal page by page."""
    fold = TimelineFold()
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        fold.take_event(event)
    fold_cases(store, snapshot, fold)
    return fold.timeline()
