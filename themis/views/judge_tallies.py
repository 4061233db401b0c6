"""What a run keeps of its judges: counts that a report tells of, however many the cases.

No verdict is kept by itself. Units on which the judges said the same are counted together, which is
all that agreement asks for; where almost every unit differs they are too many to keep, and who
wants to know reads the verdicts (``views.judging``).
"""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from themis.core.base import Model
from themis.core.events import Event, EventKind, Stage
from themis.core.snapshot import RunSnapshot
from themis.views.exact import Total
from themis.views.judging import Judged, Told, judged_subjects
from themis.views.scores import facts_of
from themis.views.steps import CaseSteps

MOST_PATTERNS = 500
"""Different patterns of verdicts that are counted for one metric."""
_DONE = EventKind.STEP_DONE  # looked up once: a fold asks it of every event
_JUDGE = Stage.JUDGE
_USED = b'"token_usage":{'


class JudgeTally(Model):
    """One judge in one metric over a run."""

    judge: str
    calls: int
    """Of the judgments that stand."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Of these, calls without a verdict, by category."""
    repeated: int = 0
    """Verdicts on units that it judged more than once."""
    alike: int = 0
    """Of these, those that are its most frequent on their unit."""
    pairs: int = 0
    """Comparisons made in both orders."""
    ties: int = 0
    flips: int = 0
    picked_first: int = 0
    picked_second: int = 0


class Pattern(Model):
    """Units on which each judge said the same first."""

    verdicts: dict[str, Told]
    units: int


class JudgedTally(Model):
    """One judged metric over a run."""

    metric_id: str
    n_judged: int
    """Subjects of which a value was made."""
    n_failed: int
    """Subjects of which none could be, for want of verdicts."""
    n_units: int
    """Candidates, criteria of them or pairs that have a verdict."""
    judges: list[JudgeTally] = Field(default_factory=list)
    """By name."""
    patterns: list[Pattern] | None = Field(default_factory=list)
    """Of the units that two judges or more gave a verdict on; None where they are too many."""
    cost_usd: float = 0.0
    """US dollars of the calls made, those of superseded attempts included, as far as known."""
    unpriced_calls: int = 0
    """Calls that used tokens at an unknown price."""


class JudgesFold:
    """Fold over whole cases, in any order: the tallies of a run's judged metrics.

    Args:
        snapshot: the run.
    """

    def __init__(self, snapshot: RunSnapshot) -> None:
        self._identity = snapshot.identity
        self._metrics = [one for one in snapshot.identity.metrics if facts_of(one).judged]
        self._folds = {metric.name: _MetricFold() for metric in self._metrics}

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        if not self._metrics:
            return
        for metric in self._metrics:
            fold = self._folds[metric.name]
            for found in judged_subjects(steps, self._identity, metric):
                fold.add(found)
        for event in steps.events:
            place = event.address
            if place is None or place.stage is not _JUDGE or place.call is None:
                continue
            if event.kind is _DONE and not event.reused and place.component in self._folds:
                self._folds[place.component].pay(event)

    def tallies(self) -> list[JudgedTally]:
        """Return a tally for each judged metric, in the run's order."""
        return [fold.tally(name) for name, fold in self._folds.items()]


class _MetricFold:
    """One metric so far."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._failures: dict[str, Counter[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._patterns: Counter[tuple[tuple[str, Told], ...]] | None = Counter()
        self._n_judged = self._n_failed = self._n_units = 0
        self._cost = Total()
        self._unpriced = 0

    def add(self, found: Judged) -> None:
        """Take what judges said of one subject."""
        self._n_judged += found.has_value
        self._n_failed += not found.has_value
        self._asked.update(found.asked)
        for judge, category in found.failures:
            self._failures.setdefault(judge, Counter())[category] += 1
        self._n_units += len(found.units)
        for unit in found.units:
            self._add_unit(unit)
        for pair, outcome in found.pairs.items():
            counts = self._of(pair.judge)
            counts["pairs"] += 1
            counts["ties"] += outcome.score == 0.5
            counts["flips"] += outcome.is_flip
            counts["picked_first"] += outcome.picked_first
            counts["picked_second"] += outcome.picked_second

    def _add_unit(self, verdicts: dict[str, list[Told]]) -> None:
        for judge, own in verdicts.items():
            if len(own) > 1:
                counts = self._of(judge)
                counts["repeated"] += len(own)
                counts["alike"] += max(Counter(own).values())
        if self._patterns is None or len(verdicts) < 2:
            return
        self._patterns[tuple(sorted((judge, own[0]) for judge, own in verdicts.items()))] += 1
        if len(self._patterns) > MOST_PATTERNS:
            self._patterns = None

    def _of(self, judge: str) -> Counter[str]:
        return self._counts.setdefault(judge, Counter())

    def pay(self, event: Event) -> None:
        """Take what a judge call cost."""
        cost = event.data.get("cost")
        if cost is not None:
            self._cost.add(float(cost))
        elif event.artifact is not None and event.artifact.mentions(_USED):
            self._unpriced += 1

    def tally(self, metric_id: str) -> JudgedTally:
        """Return the tally so far."""
        return JudgedTally(
            metric_id=metric_id,
            n_judged=self._n_judged,
            n_failed=self._n_failed,
            n_units=self._n_units,
            judges=[self._judge(judge) for judge in sorted(self._asked)],
            patterns=None
            if self._patterns is None
            else [
                Pattern(verdicts=dict(pattern), units=units)
                for pattern, units in sorted(self._patterns.items(), key=repr)
            ],
            cost_usd=self._cost.value,
            unpriced_calls=self._unpriced,
        )

    def _judge(self, judge: str) -> JudgeTally:
        failures = self._failures.get(judge, Counter())
        return JudgeTally(
            judge=judge,
            calls=self._asked[judge],
            failures=dict(sorted(failures.items())),
            **self._counts.get(judge, Counter()),
        )
