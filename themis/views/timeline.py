"""When a run's steps were done and how long they took: by attempt, and by stage within it."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from themis.core.base import Model
from themis.core.events import Event, EventKind, Stage
from themis.views.accumulators import Latencies
from themis.views.steps import CaseSteps

_FAILED = EventKind.STEP_FAILED


class StageTiming(Model):
    """One stage within one attempt."""

    stage: str
    made: int
    """Steps that were done in this attempt; reused steps do not count."""
    reused: int
    failed: int
    retried: int
    """Steps that took more than one try."""
    work_ms: float
    """Milliseconds of all steps together, waits for rate limits and concurrency included."""
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
        """Seconds from first event to last. For a resumed attempt the pause is included."""
        return self.last - self.first


class _StageFold:
    __slots__ = ("failed", "latencies", "made", "retried", "reused")

    def __init__(self) -> None:
        self.made = self.reused = self.failed = self.retried = 0
        self.latencies = Latencies()

    def add(self, event: Event) -> None:
        if event.kind is _FAILED:
            self.failed += 1
            self.retried += bool(event.data["failure"].get("tries"))
            return
        if event.reused:
            self.reused += 1
            return
        self.made += 1
        artifact = event.artifact
        # Searching the bytes spares decoding every payload; a match is checked by decoding.
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


class _AttemptFold:
    __slots__ = ("first", "last", "stages")

    def __init__(self, at: float) -> None:
        self.first = self.last = at
        self.stages: dict[Stage, _StageFold] = {}

    def timing(self, attempt: int) -> AttemptTiming:
        return AttemptTiming(
            attempt=attempt,
            first=self.first,
            last=self.last,
            stages=[
                self.stages[stage].timing(stage)
                for stage in sorted(self.stages, key=lambda stage: stage.order)
            ],
        )


class TimelineFold:
    """Fold over a run's own events and over whole cases, in any order."""

    def __init__(self) -> None:
        self._attempts: dict[int, _AttemptFold] = {}

    def take_event(self, event: Event) -> None:
        """Add one event."""
        self._take((event,))

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
        self._take(steps.events)

    def _take(self, events: Iterable[Event]) -> None:
        attempts = self._attempts
        for event in events:
            at, address = event.at, event.address
            fold = attempts.get(event.attempt)
            if fold is None:
                fold = attempts[event.attempt] = _AttemptFold(at)
            elif at > fold.last:
                fold.last = at
            elif at < fold.first:
                fold.first = at
            if address is not None:
                stage = fold.stages.get(address.stage)
                if stage is None:
                    stage = fold.stages[address.stage] = _StageFold()
                stage.add(event)

    def timeline(self) -> list[AttemptTiming]:
        """Return the attempts so far, in order."""
        return [fold.timing(attempt) for attempt, fold in sorted(self._attempts.items())]
