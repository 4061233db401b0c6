"""When things happened and how long they took: by attempt, and by stage within it.

Latencies go into buckets that grow by a fixed ratio, so that memory stays small however many steps
there are and the order of cases does not matter; a percentile is then right to within one percent.
It says what the clocks said and explains nothing.
"""

from __future__ import annotations

import math

from pydantic import Field

from themis.core.base import Model
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.core.snapshot import RunSnapshot
from themis.views.exact import Durations
from themis.views.state import RUN_KINDS
from themis.views.steps import CaseSteps, fold_cases

_RATIO = 1.02
_LOG_RATIO = math.log(_RATIO)


class Latencies:
    """How long many steps took, in bounded memory.

    ``count`` is how many, ``least`` and ``greatest`` are exact, in milliseconds.

    Buckets at powers of a ratio, as in DDSketch (Masson, Rim and Lee, VLDB 2019): with a ratio of
    1.02 any quantile is within one percent of the value that stands at its rank.
    """

    __slots__ = ("_buckets", "_sum", "count", "greatest", "least")

    def __init__(self) -> None:
        self._buckets: dict[int | None, int] = {}
        self._sum = Durations()
        self.count = 0
        self.least = math.inf
        self.greatest = -math.inf

    def add(self, ms: float) -> None:
        """Take one duration in milliseconds."""
        bucket = math.ceil(math.log(ms) / _LOG_RATIO) if ms > 0 else None
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._sum.add(ms)
        self.count += 1
        self.least = min(self.least, ms)
        self.greatest = max(self.greatest, ms)

    @property
    def sum_ms(self) -> float:
        """Their sum."""
        return self._sum.ms

    def quantile(self, share: float) -> float | None:
        """Return the duration in milliseconds at a share of the ranks, from 0 to 1.

        The nearest-rank definition: the least value that is no less than ``share`` of all.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank == 1:
            return self.least
        if rank == self.count:
            return self.greatest
        seen = 0
        for bucket in sorted(self._buckets, key=lambda one: -math.inf if one is None else one):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle = 0.0 if bucket is None else 2.0 * _RATIO**bucket / (1.0 + _RATIO)
                return min(max(middle, self.least), self.greatest)
        return self.greatest


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
        if event.kind is EventKind.STEP_FAILED:
            self.failed += 1
            self.retried += bool(event.data["failure"].get("tries"))
            return
        if event.reused:
            self.reused += 1
            return
        self.made += 1
        artifact = event.artifact
        # The quick look spares decoding every payload; a false alarm is sorted out by decoding.
        if artifact is not None and b'"tries"' in artifact.raw:
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
        span = self._spans.get(event.attempt)
        if span is None:
            self._spans[event.attempt] = [event.at, event.at]
        elif event.at < span[0]:
            span[0] = event.at
        elif event.at > span[1]:
            span[1] = event.at
        if event.address is not None:
            place = (event.attempt, event.address.stage)
            fold = self._stages.get(place)
            if fold is None:
                fold = self._stages[place] = _StageFold()
            fold.take(event)

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        for event in steps.events:
            self.take_event(event)

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
