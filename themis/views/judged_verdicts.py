"""The verdicts of a metric's judges, gathered to evaluate the judges themselves.

A unit is what judges give a verdict on: a candidate, one criterion of it, or a pair of candidates.
They are counted in ``judge_tallies``; agreement, consistency and bias are computed in
``themis.analysis``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from themis.core.base import JSONValue
from themis.core.errors import DefinitionError
from themis.core.events import Stage, address_of
from themis.core.hashing import canonical
from themis.core.judging import ParsedJudgment
from themis.core.pairs import Pair, PairOutcome, pair_outcomes
from themis.core.pipeline import Pipeline
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.scores import chosen_metrics
from themis.views.steps import CaseSteps, fold_cases, subjects_of
from themis.views.traces import evaluation_execution, told_by

_PAIRED = {"first", "second"}
"""Keys in the details of a judgment about a pair."""
Told = str | float | bool | None
"""A verdict that can be compared and counted. A list or an object is given as its JSON text, and so
is an integer that a float cannot hold exactly."""
_EXACT = 1 << 53


class JudgedPair(NamedTuple):
    """One judge's comparison of two candidates of a case."""

    case_index: int
    pair: Pair
    outcome: PairOutcome


class Judged(NamedTuple):
    """The verdicts of one metric's judges on one subject."""

    has_value: bool
    """Whether the metric has a value for it."""
    asked: list[str]
    """The judge of each call."""
    failures: list[tuple[str, str]]
    """Judge and category of each call without a verdict."""
    units: list[dict[str, list[Told]]]
    pairs: dict[Pair, PairOutcome]


def judged_subjects(steps: CaseSteps, pipeline: Pipeline, metric_id: str) -> Iterator[Judged]:
    """Yield the verdicts on each subject of a judged metric in one case."""
    for subject in subjects_of(steps, pipeline, metric_id):
        found = _judged(steps, metric_id, subject.sample)
        if found is not None:
            yield found


def _judged(steps: CaseSteps, metric_id: str, sample: int | None) -> Judged | None:
    told = told_by(steps.newest.get(address_of(Stage.JUDGE, sample, metric_id)))
    if not told:  # not aggregated yet: the calls so far
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
    """Yield unit, judge and verdict of each judgment, in order of the repeats."""
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
    """Return a verdict in a form that can be compared and counted."""
    is_beyond = isinstance(verdict, int) and abs(verdict) > _EXACT
    if not is_beyond and (verdict is None or isinstance(verdict, (str, int, float))):
        return verdict
    return canonical(verdict).decode()


class _PairsFold:
    """Fold over whole cases: the comparisons that one metric made in both orders."""

    def __init__(self, snapshot: RunSnapshot, metric_id: str) -> None:
        self._metric_id = metric_id
        self._pipeline = Pipeline(snapshot.identity)
        self.pairs: list[JudgedPair] = []

    def add(self, steps: CaseSteps) -> None:
        for found in judged_subjects(steps, self._pipeline, self._metric_id):
            self.pairs += [JudgedPair(steps.index, *one) for one in found.pairs.items()]


def judged_pairs(store: RunStore, snapshot: RunSnapshot, metric_id: str) -> list[JudgedPair]:
    """Return the comparisons that one metric made in both orders, in the cases' order.

    Raises:
        DefinitionError: the run has no such metric, or it asks no judges.
    """
    check_judged(snapshot, metric_id)
    fold = _PairsFold(snapshot, metric_id)
    fold_cases(store, snapshot, fold)
    return fold.pairs


def check_judged(snapshot: RunSnapshot, metric_id: str) -> None:
    """Refuse a metric that the run does not have, or that asks no judges.

    Raises:
        DefinitionError: it is one.
    """
    chosen_metrics(snapshot, [metric_id])
    if metric_id not in Pipeline(snapshot.identity).all_judged:
        raise DefinitionError(
            f"metric '{metric_id}' asks no judges", field="metric_id", value=metric_id
        )
