"""What the judges of one metric said over a whole run, gathered for questions about the judges.

A unit is what judges gave a verdict on: a candidate, one criterion of it, or a pair of candidates.
Nothing is concluded here; agreement, consistency and bias are analysis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from themis.core.base import JSONValue
from themis.core.errors import DefinitionError
from themis.core.judging import EvaluationExecution
from themis.core.pairs import Pair, PairOutcome, pair_outcomes
from themis.core.protocols import RunStore
from themis.core.snapshot import RunSnapshot
from themis.views.scores import chosen_metrics, facts_of
from themis.views.steps import CaseSteps, fold_cases, subjects, whole_case
from themis.views.traces import evaluation_execution


class JudgedUnit(NamedTuple):
    """One thing that judges gave verdicts on."""

    case_index: int
    verdicts: dict[str, list[JSONValue]]
    """By judge, in order of the repeats; of a pair, how the first fared: 1, 0.5 or 0."""


class JudgedPair(NamedTuple):
    """One comparison of one case, by one judge."""

    case_index: int
    pair: Pair
    outcome: PairOutcome


class JudgedFold:
    """Fold over whole cases: all verdicts of one judged metric.

    Attributes:
        units: what was judged, in the cases' order.
        pairs: comparisons that were made in both orders.
        asked: calls by judge.
        failures: calls without a verdict, by judge and category.

    Raises:
        DefinitionError: the run has no such metric, or it asks no judges.
    """

    def __init__(self, snapshot: RunSnapshot, metric_id: str) -> None:
        (metric,) = chosen_metrics(snapshot, [metric_id])
        self.metric_id = metric_id
        self._identity = snapshot.identity
        self._subject = facts_of(metric).subject
        if not facts_of(metric).judged:
            raise DefinitionError(
                f"metric '{metric_id}' asks no judges", field="metric_id", value=metric_id
            )
        self.units: list[JudgedUnit] = []
        self.pairs: list[JudgedPair] = []
        self.asked: Counter[str] = Counter()
        self.failures: dict[str, Counter[str]] = {}

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        if self._subject == "candidates":
            samples = [whole_case(steps, self._identity).sample]
        else:
            samples = [one.sample for one in subjects(steps, self._identity)]
        for sample in samples:
            execution = evaluation_execution(steps, self.metric_id, sample)
            if execution is not None:
                self._take(steps.index, execution)

    def _take(self, index: int, execution: EvaluationExecution) -> None:
        self.asked.update(call.judge for call in execution.calls)
        for failure in execution.failures:
            self.failures.setdefault(failure.judge, Counter())[failure.category] += 1
        outcomes = pair_outcomes(execution.judgments)
        if outcomes:
            self.pairs += [JudgedPair(index, pair, one) for pair, one in outcomes.items()]
            self._add_units(
                index,
                (
                    ((pair.first, pair.second), pair.judge, outcomes[pair].score)
                    for pair in sorted(outcomes, key=lambda pair: pair.repeat)
                ),
            )
        elif not any({"first", "second"} <= one.details.keys() for one in execution.judgments):
            repeats = {call.call_id: call.repeat for call in execution.calls}
            self._add_units(
                index,
                (
                    (one.details.get("criterion"), one.judge, one.verdict)
                    for one in sorted(
                        execution.judgments, key=lambda one: repeats.get(one.call_id, 0)
                    )
                ),
            )

    def _add_units(self, index: int, given: Iterable[tuple[object, str, JSONValue]]) -> None:
        by_unit: dict[object, dict[str, list[JSONValue]]] = {}
        for unit, judge, verdict in given:
            by_unit.setdefault(unit, {}).setdefault(judge, []).append(verdict)
        self.units += [JudgedUnit(index, verdicts) for verdicts in by_unit.values()]


def judged_verdicts(store: RunStore, snapshot: RunSnapshot, metric_id: str) -> JudgedFold:
    """Return all verdicts of one judged metric of a run.

    Raises:
        DefinitionError: the run has no such metric, or it asks no judges.
    """
    fold = JudgedFold(snapshot, metric_id)
    fold_cases(store, snapshot, fold)
    return fold
