"""The score table: one row for each metric of each subject of each case, and their summaries.

A row is an error if the newest event that affects it is a failure, of its own step or of one
upstream, so that no case silently leaves the denominator. Summaries are kept as exact sums, so that
the order of cases does not matter. Intervals are computed in ``themis.analysis``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from themis.core.endings import REFUSED, Ending
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.events import Event, EventKind
from themis.core.pipeline import Pipeline
from themis.core.results import MetricSummary, Outcome, ScoreRow
from themis.core.snapshot import ComponentRef, MetricFacts, RunSnapshot
from themis.core.store import RunStore
from themis.views.accumulators import Moments, mean_of, scaled
from themis.views.answer_endings import subject_endings
from themis.views.cases import RunCase, cases_with_steps
from themis.views.statistics import CaseStatistics
from themis.views.steps import WHOLE_CASE, CaseSteps, Subject, subjects

UNPARSED = frozenset({"parse_failure", "parse_null"})
"""Categories of a candidate that could not be parsed."""

_FAILED = EventKind.STEP_FAILED  # looked up once: a fold asks it of every event


class CaseScore(NamedTuple):
    """One row of the score table, without the case's names.

    ``category`` and ``message`` say why there is no value. Beside a value they name the model's
    failure that determined it (such as a refusal, which counts as incorrect), or the answer's
    ending.
    """

    metric_id: str
    sample: int | None
    candidate_id: str | None
    value: float | None
    outcome: Outcome
    category: str | None
    message: str | None
    details: dict[str, Any]
    event: Event
    """The event of the score, or of the failure because of which there is none."""
    ending: str | None = None
    """How the answer ended: refused, truncated or empty; None for a normal end."""
    by_rule: bool = False
    """Whether the value was set for a failure of the model's, without asking the metric."""
    unparsed: bool = False
    """Whether the candidate could not be parsed."""

    def row(self, case: RunCase) -> ScoreRow:
        """Return the row with dataset and case id."""
        return ScoreRow(
            case_id=case.case_id,
            dataset_id=case.dataset_id,
            case_key=case.case_key,
            metric_id=self.metric_id,
            value=self.value,
            candidate_id=self.candidate_id,
            outcome=self.outcome,
            error_category=self.category,
            error_message=self.message,
            details=self.details,
        )


def facts_of(metric: ComponentRef) -> MetricFacts:
    """Return a metric's facts, such as value range and unit; defaults where it declares none."""
    return metric.metric or MetricFacts()


def chosen_metrics(
    snapshot: RunSnapshot, metric_ids: Collection[str] | None = None
) -> list[ComponentRef]:
    """Return the run's metrics, or those named, in the run's order.

    Raises:
        DefinitionError: the run has no metric of one of the names.
    """
    metrics = snapshot.identity.metrics
    if metric_ids is None:
        return metrics
    known = [metric.name for metric in metrics]
    for name in metric_ids:
        if name not in known:
            raise DefinitionError(
                f"run {snapshot.run_id} has no metric '{name}'{did_you_mean(name, known)}",
                field="metric_ids",
                value=name,
            )
    return [metric for metric in metrics if metric.name in metric_ids]


def corpus_metrics(snapshot: RunSnapshot) -> set[str]:
    """Return the names of a run's metrics that have a value over the whole run."""
    return {metric.name for metric in snapshot.identity.metrics if facts_of(metric).corpus}


def score_case(
    steps: CaseSteps, pipeline: Pipeline, metrics: Sequence[ComponentRef]
) -> list[CaseScore]:
    """Return a case's rows so far, by metric, then by sample."""
    each = subjects(steps, pipeline)
    ended = subject_endings(steps, pipeline, each)
    found: list[CaseScore] = []
    for metric in metrics:
        facts = facts_of(metric)
        place = pipeline.metrics[metric.name]
        for subject in (WHOLE_CASE,) if place.is_together else each:
            event = steps.standing(place.step(subject.sample), pipeline)
            if event is not None:
                end = ended.get(subject.sample) if ended and not place.is_together else None
                ending = end.ending if end is not None and end.seq < event.seq else None
                found.append(_scored(metric.name, facts, subject, event, ending))
    return found


def _scored(
    name: str, facts: MetricFacts, subject: Subject, event: Event, ending: Ending | None
) -> CaseScore:
    candidate = event.candidate_id or subject.candidate_id
    value: float | None = None
    outcome: Outcome = "error"
    payload: dict[str, Any] = {}
    if event.kind is _FAILED:
        failure = event.data["failure"]
    else:
        assert event.artifact is not None  # a store gives every step that is done its artifact
        payload = event.artifact.payload
        failure = payload.get("failure") or {}
        value = float(payload["value"])
        outcome = "scored"
        if facts.kind == "binary":
            outcome = "correct" if value == 1.0 else "incorrect"
    category, message = failure.get("category"), failure.get("message")
    unparsed = category in UNPARSED
    told = category if category == REFUSED.category else None
    if ending is not None:
        told = ending.category
        if category is None:
            category, message = ending
        elif unparsed:
            category = ending.category
    return CaseScore(
        name,
        subject.sample,
        candidate,
        value,
        outcome,
        category,
        message,
        payload.get("details") or {},
        event,
        told,
        value is not None and bool(failure),
        unparsed,
    )


class MetricFold:
    """Fold over one metric's rows, a case at a time, in any order.

    Args:
        metric: the metric.
        pipeline: the run's steps, which determine the number of cases and of rows a case.
    """

    def __init__(self, metric: ComponentRef, pipeline: Pipeline) -> None:
        self._name = metric.name
        self._facts = facts_of(metric)
        identity = pipeline.identity
        folded = next((one for one in identity.metrics if one.name == self._facts.of), None)
        self._folds_whole = (
            folded is not None
            and facts_of(folded).kind == "binary"
            and metric.params.get("k") == identity.num_samples
        )
        self._n_cases = sum(dataset.n_cases for dataset in pipeline.identity.datasets)
        self._rows_a_case = len(pipeline.subjects_of(metric.name))  # 1 before a choice
        self._cases = Moments()
        self._low = 0
        self._high = 0
        self._n_seen = 0
        self._n_scored = 0
        self._n_unparsed = 0
        self._outcomes: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        value_range = self._facts.value_range
        self._range = None if value_range is None else [scaled(float(end)) for end in value_range]

    def add(self, rows: Sequence[CaseScore]) -> None:
        """Add all rows of one case; an empty list changes nothing."""
        if not rows:
            return
        total = 0
        n_scored = 0
        for row in rows:
            self._outcomes[row.outcome] += 1
            self._n_unparsed += row.unparsed
            if row.ending is not None:
                self._endings[row.ending] += 1
            if row.category is not None:
                if row.value is None:
                    self._errors[row.category] += 1
                elif row.by_rule:
                    self._failures[row.category] += 1
            if row.value is not None:
                n_scored += 1
                total += scaled(row.value)
        self._n_scored += n_scored
        mean = 0
        if n_scored:
            mean = _mean_units(total, n_scored)
            self._cases.add(mean)
        self._n_seen += 1
        if self._range is not None:
            low, high = self._range
            n_rows = max(len(rows), self._rows_a_case)
            if n_open := n_rows - n_scored:
                self._low += _mean_units(total + n_open * low, n_rows)
                self._high += _mean_units(total + n_open * high, n_rows)
            else:
                self._low += mean
                self._high += mean

    def summary(self, n_cases: int | None = None) -> MetricSummary:
        """Return the metric over the cases so far, without an interval.

        Args:
            n_cases: how many cases there are, where the fold is over a part of the run's.
        """
        facts = self._facts
        if n_cases is None:
            n_cases = self._n_cases
        n_missing = n_cases - self._n_seen
        bounds = None
        if self._range is not None and n_cases:
            low, high = self._range
            totals = (self._low + n_missing * low, self._high + n_missing * high)
            bounds = [mean_of(total, n_cases) for total in totals]
        return MetricSummary(
            metric_id=self._name,
            mean=self._cases.mean,
            n_cases=n_cases,
            n_cases_scored=self._cases.count,
            n_missing=n_missing,
            n_scored=self._n_scored,
            n_errors=self._outcomes["error"],
            n_unparsed=self._n_unparsed,
            outcomes=_sorted(self._outcomes),
            errors=_sorted(self._errors),
            failures=_sorted(self._failures),
            endings=_sorted(self._endings),
            bounds=bounds,
            variance=self._cases.variance,
            kind=facts.kind,
            zero_or_one=self._folds_whole,
            value_range=facts.value_range,
            higher_is_better=facts.higher_is_better,
            unit=facts.unit,
        )


def _mean_units(total: int, count: int) -> int:
    return total if count == 1 else scaled(mean_of(total, count))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


class ScoresFold:
    """Fold over whole cases: the summaries of a run's metrics, or of some of them."""

    def __init__(self, snapshot: RunSnapshot, metric_ids: Collection[str] | None = None) -> None:
        self._pipeline = Pipeline(snapshot.identity)
        self._metrics = chosen_metrics(snapshot, metric_ids)
        self._folds = {metric.name: MetricFold(metric, self._pipeline) for metric in self._metrics}
        self.statistics = {
            metric.name: CaseStatistics() for metric in self._metrics if facts_of(metric).corpus
        }
        """By metric, the statistics of which its value over the whole run is computed."""

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
        rows = score_case(steps, self._pipeline, self._metrics)
        if self.statistics:
            for row in rows:
                if (statistics := self.statistics.get(row.metric_id)) is not None:
                    statistics.add(steps.index, {} if row.by_rule else row.details)
        if len(self._folds) == 1:
            next(iter(self._folds.values())).add(rows)
            return
        for name, fold in self._folds.items():
            fold.add([row for row in rows if row.metric_id == name])

    def summaries(self, n_cases: int | None = None) -> list[MetricSummary]:
        """Return a summary for each metric, in the run's order; ``n_cases`` is ``MetricFold``'s."""
        return [fold.summary(n_cases) for fold in self._folds.values()]


def score_rows(
    store: RunStore,
    snapshot: RunSnapshot,
    metric_ids: Collection[str] | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[ScoreRow]:
    """Stream the score table of cases ``start`` to ``stop`` (exclusive), in the cases' order.

    Raises:
        DefinitionError: the run has no metric of one of the names.
    """
    metrics = chosen_metrics(snapshot, metric_ids)
    pipeline = Pipeline(snapshot.identity)
    for case, steps in cases_with_steps(store, snapshot, start, stop):
        for scored in score_case(steps, pipeline, metrics):
            yield scored.row(case)
