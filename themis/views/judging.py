"""What the judges of a run's metrics said, gathered for questions about the judges.

A unit is what judges gave a verdict on: a candidate, one criterion of it, or a pair of candidates.
Nothing is concluded here; agreement, consistency and bias are analysis. ``JudgedFold`` keeps every
verdict of one metric; what a run keeps of all of them is ``judge_tallies``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from themis.core.base import JSONValue
from themis.core.errors import DefinitionError
from themis.core.events import Stage, address_of
from themis.core.hashing import canonical
from themis.core.judging import ParsedJudgment
from themis.core.pairs import Pair, PairOutcome, pair_outcomes
from themis.core.protocols import RunStore
from themis.core.snapshot import ComponentRef, RunIdentity, RunSnapshot
from themis.views.scores import chosen_metrics, facts_of
from themis.views.steps import CaseSteps, fold_cases, subjects, whole_case
from themis.views.traces import evaluation_execution, told_by

_PAIRED = {"first", "second"}
"""What the details of a judgment about a pair say."""
Told = str | float | bool | None
"""A verdict that can be compared and counted. One that is a list or an object is its JSON text, and
so is an integer beyond those that floats hold exactly."""
_EXACT = 1 << 53


class JudgedUnit(NamedTuple):
    """One thing that judges gave verdicts on."""

    case_index: int
    verdicts: dict[str, list[Told]]
    """By judge, in order of the repeats; of a pair, how the first fared: 1, 0.5 or 0."""


class JudgedPair(NamedTuple):
    """One comparison of one case, by one judge."""

    case_index: int
    pair: Pair
    outcome: PairOutcome


class Judged(NamedTuple):
    """What judges said of one subject of one metric."""

    has_value: bool
    """Whether a value was made of it."""
    asked: list[str]
    """The judge of each call."""
    failures: list[tuple[str, str]]
    """Of each call without a verdict, the judge and the category."""
    units: list[dict[str, list[Told]]]
    pairs: dict[Pair, PairOutcome]


def judged_subjects(
    steps: CaseSteps, identity: RunIdentity, metric: ComponentRef
) -> Iterator[Judged]:
    """Yield what judges said of each subject of a judged metric in one case."""
    if facts_of(metric).subject == "candidates":
        samples = [whole_case(steps, identity).sample]
    else:
        samples = [one.sample for one in subjects(steps, identity)]
    for sample in samples:
        found = _judged(steps, metric.name, sample)
        if found is not None:
            yield found


def _judged(steps: CaseSteps, metric_id: str, sample: int | None) -> Judged | None:
    told = told_by(steps.newest.get(address_of(Stage.JUDGE, sample, metric_id)))
    if not told:  # not aggregated yet: what is there of the calls
        execution = evaluation_execution(steps, metric_id, sample)
        if execution is None:
            return None
        told = execution.model_dump(mode="json")
    calls: list[dict[str, Any]] = told.get("calls") or []
    judgments: list[dict[str, Any]] = told.get("judgments") or []
    outcomes: dict[Pair, PairOutcome] = {}
    verdicts: Iterable[tuple[object, str, JSONValue]]
    if any(one.get("details", {}).keys() >= _PAIRED for one in judgments):
        outcomes = pair_outcomes(ParsedJudgment(**one) for one in judgments)
        ordered = sorted(outcomes.items(), key=lambda item: item[0].repeat)
        verdicts = (
            ((pair.first, pair.second), pair.judge, outcome.score) for pair, outcome in ordered
        )
    else:
        verdicts = _verdicts(calls, judgments)
    return Judged(
        has_value="value" in told,
        asked=[call["judge"] for call in calls],
        failures=[(one["judge"], one["category"]) for one in told.get("failures") or ()],
        units=_units(verdicts),
        pairs=outcomes,
    )


def _verdicts(
    calls: list[dict[str, Any]], judgments: list[dict[str, Any]]
) -> Iterator[tuple[object, str, JSONValue]]:
    """Yield verdicts with what each is about and whose it is, in order of the repeats."""
    repeats = {call["call_id"]: call.get("repeat", 0) for call in calls}
    for one in sorted(judgments, key=lambda one: repeats.get(one["call_id"], 0)):
        about = comparable(one.get("details", {}).get("criterion"))
        yield about, one["judge"], one["verdict"]


def _units(given: Iterable[tuple[object, str, JSONValue]]) -> list[dict[str, list[Told]]]:
    by_unit: dict[object, dict[str, list[Told]]] = {}
    for unit, judge, verdict in given:
        by_unit.setdefault(unit, {}).setdefault(judge, []).append(comparable(verdict))
    return list(by_unit.values())


def comparable(verdict: JSONValue) -> Told:
    """Return a verdict as it can be compared and counted, whatever a workflow made of it."""
    is_beyond = isinstance(verdict, int) and abs(verdict) > _EXACT
    if not is_beyond and (verdict is None or isinstance(verdict, (str, int, float))):
        return verdict
    return canonical(verdict).decode()


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
        (self._metric,) = chosen_metrics(snapshot, [metric_id])
        self.metric_id = metric_id
        self._identity = snapshot.identity
        if not facts_of(self._metric).judged:
            raise DefinitionError(
                f"metric '{metric_id}' asks no judges", field="metric_id", value=metric_id
            )
        self.units: list[JudgedUnit] = []
        self.pairs: list[JudgedPair] = []
        self.asked: Counter[str] = Counter()
        self.failures: dict[str, Counter[str]] = {}

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        for found in judged_subjects(steps, self._identity, self._metric):
            self.asked.update(found.asked)
            for judge, category in found.failures:
                self.failures.setdefault(judge, Counter())[category] += 1
            self.units += [JudgedUnit(steps.index, verdicts) for verdicts in found.units]
            self.pairs += [JudgedPair(steps.index, *one) for one in found.pairs.items()]


def judged_verdicts(store: RunStore, snapshot: RunSnapshot, metric_id: str) -> JudgedFold:
    """Return all verdicts of one judged metric of a run.

    Raises:
        DefinitionError: the run has no such metric, or it asks no judges.
    """
    fold = JudgedFold(snapshot, metric_id)
    fold_cases(store, snapshot, fold)
    return fold
