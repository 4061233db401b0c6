"""The score table: one row for each metric of each subject of each case, and their summaries.

A row is an error where the newest thing known of it is a failure, be it its own or one upstream;
so nothing leaves the denominator unseen. Summaries are kept as exact sums: cases may come in any
order. It draws no conclusion from the numbers; intervals are analysis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from themis.core.endings import REFUSED, Ending
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.events import Event, EventKind, Stage, address_of
from themis.core.protocols import RunStore
from themis.core.results import MetricSummary, Outcome, ScoreRow
from themis.core.snapshot import ComponentRef, MetricFacts, RunIdentity, RunSnapshot
from themis.views.cases import RunCase, run_cases
from themis.views.endings import subject_endings
from themis.views.exact import Moments, mean_of, scaled
from themis.views.statistics import CaseStatistics
from themis.views.steps import (
    PAGE,
    CaseSteps,
    Subject,
    newest_failure,
    read_steps,
    subjects,
    whole_case,
)

UNPARSED = frozenset({"parse_failure", "parse_null"})
"""Categories of a candidate that could not be parsed."""

_FAILED = EventKind.STEP_FAILED  # looked up once: a fold asks it of every event
_PARSE, _SCORE, _JUDGE = Stage.PARSE, Stage.SCORE, Stage.JUDGE


class Scored(NamedTuple):
    """One row of the score table, without the case's names.

    ``category`` and ``message`` say why there is no value or, beside one, for which failure of the
    model's it was given by rule, or how the answer ended that it was given to.
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
    """The score, or the failure that stands in its place."""
    ending: str | None = None
    """How the answer ended, where it did not simply: refused, truncated or empty."""
    by_rule: bool = False
    """Whether no metric gave the value."""
    unparsed: bool = False
    """Whether the candidate could not be parsed."""

    def row(self, case: RunCase) -> ScoreRow:
        """Return the row under the case's names."""
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
    """Return what a metric's numbers mean; the defaults where it does not say."""
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
    steps: CaseSteps, identity: RunIdentity, metrics: Sequence[ComponentRef]
) -> list[Scored]:
    """Return a case's rows: by metric, then by sample. What is still to come has none."""
    each = subjects(steps, identity)
    ended = subject_endings(steps, identity, each)
    found: list[Scored] = []
    for metric in metrics:
        facts = facts_of(metric)
        together = facts.subject == "candidates"
        for subject in (whole_case(steps, identity),) if together else each:
            event = _standing(steps, metric, facts, subject)
            if event is not None:
                end = ended.get(subject.sample) if ended and not together else None
                ending = end.ending if end is not None and end.seq < event.seq else None
                found.append(_scored(metric.name, facts, subject, event, ending))
    return found


def _standing(
    steps: CaseSteps, metric: ComponentRef, facts: MetricFacts, subject: Subject
) -> Event | None:
    """Return what stands for a row: its score, its failure or, where newer, one upstream."""
    stage = _JUDGE if facts.judged else _SCORE
    event = steps.newest.get(address_of(stage, subject.sample, metric.name))
    blocked = subject.blocked
    if metric.parser is not None and not facts.judged:  # judges are shown the output as it is
        parse = steps.newest.get(address_of(_PARSE, subject.sample, metric.parser))
        blocked = newest_failure(blocked, parse)
    if event is None or (blocked is not None and blocked.seq > event.seq):
        return blocked
    return event


def _scored(
    name: str, facts: MetricFacts, subject: Subject, event: Event, ending: Ending | None
) -> Scored:
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
        elif unparsed:  # the parser's words say what it missed, the category why
            category = ending.category
    return Scored(
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
        identity: the run, which says how many cases there are and how many rows a case has.
    """

    def __init__(self, metric: ComponentRef, identity: RunIdentity) -> None:
        self._name = metric.name
        self._facts = facts_of(metric)
        self._n_cases = sum(dataset.n_cases for dataset in identity.datasets)
        self._rows_a_case = _rows_a_case(self._facts, identity)
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

    def add(self, rows: Sequence[Scored]) -> None:
        """Take all rows of one case; none is no change."""
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
        if n_scored:
            self._cases.add(_mean_units(total, n_scored))
        self._n_seen += 1
        if self._range is not None:
            low, high = self._range
            n_rows = max(len(rows), self._rows_a_case)
            n_open = n_rows - n_scored
            self._low += _mean_units(total + n_open * low, n_rows)
            self._high += _mean_units(total + n_open * high, n_rows)

    def summary(self) -> MetricSummary:
        """Return the metric over the cases so far, without an interval."""
        facts = self._facts
        n_missing = self._n_cases - self._n_seen
        bounds = None
        if self._range is not None and self._n_cases:
            low, high = self._range
            totals = (self._low + n_missing * low, self._high + n_missing * high)
            bounds = [mean_of(total, self._n_cases) for total in totals]
        return MetricSummary(
            metric_id=self._name,
            mean=self._cases.mean,
            n_cases=self._n_cases,
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
            value_range=facts.value_range,
            higher_is_better=facts.higher_is_better,
            unit=facts.unit,
        )


def _rows_a_case(facts: MetricFacts, identity: RunIdentity) -> int:
    """Return the rows that a case has in the end, as far as that is known beforehand."""
    if facts.subject == "candidates" or identity.reducer or identity.selector:
        return 1  # of a selector's choice there is one at least
    return identity.num_samples


def _mean_units(total: int, count: int) -> int:
    return total if count == 1 else scaled(mean_of(total, count))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


class ScoresFold:
    """Fold over whole cases: the summaries of a run's metrics, or of some of them."""

    def __init__(self, snapshot: RunSnapshot, metric_ids: Collection[str] | None = None) -> None:
        self._identity = snapshot.identity
        self._metrics = chosen_metrics(snapshot, metric_ids)
        self._folds = {
            metric.name: MetricFold(metric, snapshot.identity) for metric in self._metrics
        }
        self.statistics = {
            metric.name: CaseStatistics() for metric in self._metrics if facts_of(metric).corpus
        }
        """By metric, what its value over the whole run is made of."""

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        rows = score_case(steps, self._identity, self._metrics)
        if self.statistics:
            for row in rows:
                if (statistics := self.statistics.get(row.metric_id)) is not None:
                    statistics.add(steps.index, {} if row.by_rule else row.details)
        if len(self._folds) == 1:
            next(iter(self._folds.values())).add(rows)
            return
        for name, fold in self._folds.items():
            fold.add([row for row in rows if row.metric_id == name])

    def summaries(self) -> list[MetricSummary]:
        """Return a summary for each metric, in the run's order."""
        return [fold.summary() for fold in self._folds.values()]


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
    end = snapshot.n_cases if stop is None else min(stop, snapshot.n_cases)
    for lower in range(start, end, PAGE):
        upper = min(lower + PAGE, end)
        names = {case.position: case for case in run_cases(store, snapshot, lower, upper)}
        for steps in read_steps(store, snapshot.run_id, lower, upper):
            for scored in score_case(steps, snapshot.identity, metrics):
                yield scored.row(names[steps.index])
