"""Counts of a run's judge calls and verdicts for its report, in bounded memory.

Units on which the judges gave the same verdicts are counted together: agreement can be computed
from these counts. Where the units differ too much for that, ``judged_tally`` counts them again from
the journal, without a limit.
"""

from __future__ import annotations

import math
from collections import Counter

from pydantic import Field

from themis.core.base import Model
from themis.core.events import Event, EventKind, Stage
from themis.core.pipeline import Pipeline
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.accumulators import Total
from themis.views.judged_verdicts import Judged, Told, check_judged, judged_subjects
from themis.views.steps import CaseSteps, fold_cases

MOST_PATTERNS = 500
"""How many different patterns of verdicts are counted for one metric."""
_DONE = EventKind.STEP_DONE  # looked up once: a fold asks it of every event
_JUDGE = Stage.JUDGE
_USED = b'"token_usage":{'


class JudgeTally(Model):
    """One judge in one metric over a run."""

    judge: str
    calls: int
    """Judge calls, those of superseded attempts left out."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Calls without a verdict, by category."""
    repeated: int = 0
    """Verdicts on units that this judge judged more than once."""
    alike: int = 0
    """Of these, verdicts that equal this judge's most frequent verdict on the unit."""
    pairs: int = 0
    """Comparisons made in both orders."""
    ties: int = 0
    flips: int = 0
    picked_first: int = 0
    picked_second: int = 0


class Pattern(Model):
    """Units on which the judges' first verdicts are the same, and how many they are."""

    verdicts: dict[str, Told]
    units: int


class JudgedTally(Model):
    """One judged metric over a run."""

    metric_id: str
    n_judged: int
    """Subjects that got a value."""
    n_failed: int
    """Subjects that got none, since verdicts are missing."""
    n_units: int
    """Candidates, criteria of candidates, or pairs that have a verdict."""
    judges: list[JudgeTally] = Field(default_factory=list)
    """Judges, sorted by name."""
    patterns: list[Pattern] | None = Field(default_factory=list)
    """Patterns of the units with verdicts of two judges or more; None if there are too many."""
    cost_usd: float = 0.0
    """US dollars of all calls with a known price, those of superseded attempts included."""
    unpriced_calls: int = 0
    """Calls that used tokens at an unknown price."""


class JudgesFold:
    """Fold over whole cases, in any order: the tallies of a run's judged metrics.

    Args:
        snapshot: the run.
        metric_id: the one metric to count for, with all of its patterns; by default all metrics,
            with a limited number of patterns each.
    """

    def __init__(self, snapshot: RunSnapshot, metric_id: str | None = None) -> None:
        self._pipeline = Pipeline(snapshot.identity)
        chosen = self._pipeline.all_judged if metric_id is None else [metric_id]
        most = MOST_PATTERNS if metric_id is None else math.inf
        self._folds = {metric: _MetricFold(most) for metric in chosen}

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
        if not self._folds:
            return
        for metric, fold in self._folds.items():
            for found in judged_subjects(steps, self._pipeline, metric):
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
    """The tally of one metric, while it is folded."""

    def __init__(self, most_patterns: float) -> None:
        self._most_patterns = most_patterns
        self._asked: Counter[str] = Counter()
        self._failures: dict[str, Counter[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._patterns: Counter[tuple[tuple[str, Told], ...]] | None = Counter()
        self._n_judged = self._n_failed = self._n_units = 0
        self._cost = Total()
        self._unpriced = 0

    def add(self, found: Judged) -> None:
        """Add the verdicts on one subject."""
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
        if len(self._patterns) > self._most_patterns:
            self._patterns = None

    def _of(self, judge: str) -> Counter[str]:
        return self._counts.setdefault(judge, Counter())

    def pay(self, event: Event) -> None:
        """Add the cost of a judge call."""
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


def judged_tally(store: RunStore, snapshot: RunSnapshot, metric_id: str) -> JudgedTally:
    """Return the tally of one metric with all of its patterns, reading the run's whole journal.

    Raises:
        DefinitionError: the run has no such metric, or it asks no judges.
    """
    check_judged(snapshot, metric_id)
    fold = JudgesFold(snapshot, metric_id)
    fold_cases(store, snapshot, fold)
    return fold.tallies()[0]
