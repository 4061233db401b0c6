"""What a report tells, gathered for every format when the format first asks for it.

A run's numbers are read once, as its end has kept them or in one pass over its journal; a format
that tells none reads none. The cases themselves are not held: a format that lists them streams
them, as many as it wants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from themis.analysis.intervals import summarize
from themis.analysis.tables import (
    endings_text,
    milliseconds,
    moment,
    renewed_text,
    reported_text,
    run_cost,
    usage_text,
)
from themis.core.base import RunId
from themis.core.errors import DefinitionError
from themis.core.protocols import RunStore
from themis.core.redaction import redact
from themis.core.results import CaseResult, ExecutionState, MetricSummary, ScoreRow
from themis.core.snapshot import ComponentRef, RunSnapshot
from themis.execution.corpus import summaries_of
from themis.views.attempts import MARK, as_of
from themis.views.cases import RunCase, run_cases
from themis.views.headline import Standing, read_standing
from themis.views.judge_tallies import JudgedTally
from themis.views.results import fold_case
from themis.views.scores import Scored, chosen_metrics, score_case, score_rows
from themis.views.steps import PAGE, CaseSteps, read_steps
from themis.views.timeline import AttemptTiming

WORK_HEADINGS = ("run", "status", "tokens", "cost", "p50", "p90")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """A case as a report shows it: what was asked, what came of it, how it scored."""

    case: RunCase
    result: CaseResult
    rows: list[ScoreRow]
    marks: frozenset[str]
    """Outcomes of its rows, how its answers ended, and "unparsed" where one was."""


@dataclass(frozen=True, kw_only=True)  # no slots: what was read is kept beside the fields
class RunFacts:
    """What a report tells of one run."""

    store: RunStore
    label: str
    snapshot: RunSnapshot
    metric_ids: Collection[str] | None

    @cached_property
    def _standing(self) -> Standing:
        return read_standing(self.store, self.snapshot)

    @cached_property
    def state(self) -> ExecutionState:
        """How the run stands."""
        return self._standing.state(self.run_id)

    @cached_property
    def summaries(self) -> list[MetricSummary]:
        """The metrics that the report is about, with their intervals, in the run's order."""
        told = {metric.name for metric in chosen_metrics(self.snapshot, self.metric_ids)}
        found = summaries_of(self._standing, self.snapshot)
        return summarize([summary for summary in found if summary.metric_id in told])

    @property
    def timeline(self) -> list[AttemptTiming]:
        """When the attempts were made, and how long their stages took."""
        return self._standing.headline.timeline

    @property
    def judged(self) -> list[JudgedTally]:
        """What was kept of the judges of the metrics that the report is about."""
        told = {metric.name for metric in chosen_metrics(self.snapshot, self.metric_ids)}
        return [one for one in self._standing.headline.judged if one.metric_id in told]

    @property
    def run_id(self) -> RunId:
        """The run's id."""
        return self.snapshot.run_id

    @property
    def name(self) -> str:
        """The run's id or, of a run as of an earlier attempt, ``RUN@n``."""
        return f"{self.run_id}{MARK}{self.state.attempt}" if self.is_earlier else self.run_id

    @property
    def is_earlier(self) -> bool:
        """Whether the run is shown as of an attempt that others came after."""
        return bool(self.state.later_attempts)

    @property
    def title(self) -> str:
        """What was evaluated on what."""
        identity = self.snapshot.identity
        datasets = ", ".join(dataset.dataset_id for dataset in identity.datasets)
        return f"{identity.generator.name} on {datasets}"

    @property
    def n_reused(self) -> int:
        """Steps whose result was there before, in this store."""
        return self.state.progress.steps_reused

    @property
    def n_done(self) -> int:
        """Steps that have a result, reused ones included."""
        return self.state.progress.steps_done

    @property
    def steps(self) -> str:
        """How many steps are done, how many of them reused, and how many were too old to be."""
        return f"{self.n_done}, of which {self.n_reused} reused{renewed_text(self.state.progress)}"

    @property
    def seconds(self) -> float:
        """From first event to last, over all attempts."""
        return sum(attempt.seconds for attempt in self.timeline)

    @property
    def cost(self) -> str:
        """What the work cost, as text."""
        return run_cost(self.state.progress)

    @property
    def endings(self) -> str:
        """How many answers were refused, truncated or empty, as text; empty where none was."""
        return endings_text(self.summaries)

    @property
    def reported(self) -> str:
        """Which answers came from another model than the rest, as text; empty where none did."""
        return reported_text(self.state.progress)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where and how the newest attempt ran; of the compilation before any did."""
        attempts = self.state.attempts
        found = attempts[-1].get("provenance") if attempts else None
        told: dict[str, Any] = redact(found or self.snapshot.provenance.plain())
        return told

    @property
    def origin(self) -> list[tuple[str, str]]:
        """Provenance as lines of name and text."""
        return [(name, _said(name, value)) for name, value in self.provenance.items()]

    @property
    def components(self) -> list[ComponentRef]:
        """Every component of the run, secrets among their parameters hidden."""
        return [
            ref.model_copy(update={"params": redact(ref.params)})
            for ref in self.snapshot.component_refs.values()
        ]

    @property
    def is_whole(self) -> bool:
        """Whether every case has rows of every metric."""
        return not any(summary.n_missing for summary in self.summaries)

    def score_rows(self) -> Iterator[ScoreRow]:
        """Stream the score table, of the metrics that the report is about."""
        return score_rows(self.store, self.snapshot, self.metric_ids)

    def first_cases(self, limit: int) -> Iterator[CaseFacts]:
        """Stream the first cases of the run, at most ``limit``."""
        snapshot = self.snapshot
        metrics = chosen_metrics(snapshot, self.metric_ids)
        end = min(limit, snapshot.n_cases)
        for lower in range(0, end, PAGE):
            upper = min(lower + PAGE, end)
            read = read_steps(self.store, snapshot.run_id, lower, upper)
            known = {steps.index: steps for steps in read}
            for case in run_cases(self.store, snapshot, lower, upper):
                steps = known.get(case.position) or CaseSteps(case.position)
                rows = score_case(steps, snapshot.identity, metrics)
                yield CaseFacts(
                    case=case,
                    result=fold_case(snapshot, case, steps),
                    rows=[scored.row(case) for scored in rows],
                    marks=_marks(rows),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """What a report tells, of one run or of several side by side."""

    runs: list[RunFacts]

    @property
    def title(self) -> str:
        """What the report is about."""
        if len(self.runs) == 1:
            return self.runs[0].title
        return f"{len(self.runs)} runs side by side"

    @property
    def is_whole(self) -> bool:
        """Whether every case of every run has rows of every metric."""
        return all(run.is_whole for run in self.runs)

    @property
    def is_one_run(self) -> bool:
        """Whether there is nothing to tell apart by a label."""
        return len(self.runs) == 1


def report_facts(
    store: RunStore,
    run_ids: str | Sequence[str],
    *,
    metric_ids: Collection[str] | None = None,
    labels: Sequence[str] | None = None,
) -> ReportFacts:
    """Gather what a report tells.

    Args:
        store: where the runs are.
        run_ids: one run, or several to be shown side by side; ``RUN@n`` is one as of its attempt n.
        metric_ids: the metrics to tell of; all by default. Of several runs each tells of those
            that it has, and one of them must have it.
        labels: a name for each run; what it evaluated by default.

    Raises:
        RunNotFoundError: the store has no such run.
        DefinitionError: no run, as many labels as runs, or a metric that none has.
    """
    ids = [run_ids] if isinstance(run_ids, str) else list(run_ids)
    if not ids:
        raise DefinitionError("a report needs at least one run id", field="run_ids")
    if labels is not None and len(labels) != len(ids):
        raise DefinitionError(
            f"{len(labels)} labels for {len(ids)} runs: give one for each, or none",
            field="labels",
            value=list(labels),
        )
    shown = [as_of(store, run_id) for run_id in ids]
    snapshots = [bounded.load_snapshot(run_id) for bounded, run_id in shown]
    names = _labels(snapshots, ids) if labels is None else list(labels)
    wanted = [_metrics_of(snapshot, snapshots, metric_ids) for snapshot in snapshots]
    return ReportFacts(
        runs=[
            RunFacts(store=bounded, label=label, snapshot=snapshot, metric_ids=metrics)
            for (bounded, _), snapshot, label, metrics in zip(
                shown, snapshots, names, wanted, strict=True
            )
        ]
    )


def when(at: float | None) -> str:
    """Return Unix seconds as a date and time in UTC."""
    if at is None:
        return "never"
    return moment(at)


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def work_rows(facts: ReportFacts) -> list[tuple[str, ...]]:
    """Return what each run used, cost and waited for, as cells under ``WORK_HEADINGS``."""
    rows: list[tuple[str, ...]] = []
    for run in facts.runs:
        progress = run.state.progress
        latency = progress.latency_ms
        rows.append(
            (
                run.label,
                run.state.status.value,
                usage_text(progress),
                run.cost,
                milliseconds(latency.get("p50")),
                milliseconds(latency.get("p90")),
            )
        )
    return rows


def _marks(rows: Sequence[Scored]) -> frozenset[str]:
    marks: set[str] = {row.outcome for row in rows}
    marks.update(row.ending for row in rows if row.ending is not None)
    if any(row.unparsed for row in rows):
        marks.add("unparsed")
    return frozenset(marks)


def _said(name: str, value: Any) -> str:
    if name == "at":
        return when(value)
    if isinstance(value, dict):
        parts = [f"{key} {item}" for key, item in value.items() if item is not None]
        return ", ".join(parts) or "none"
    return str(value)


def _metrics_of(
    snapshot: RunSnapshot, snapshots: Sequence[RunSnapshot], metric_ids: Collection[str] | None
) -> Collection[str] | None:
    if metric_ids is None:
        return None
    known = {metric.name for metric in snapshot.identity.metrics}
    elsewhere = {metric.name for other in snapshots for metric in other.identity.metrics}
    asked = [name for name in metric_ids if name in known or name not in elsewhere]
    chosen_metrics(snapshot, asked)  # refuses what no run has
    return asked


def _labels(snapshots: Sequence[RunSnapshot], ids: Sequence[str]) -> list[str]:
    """Name runs by their generators; by ids and attempts too where that tells none apart."""
    names = [snapshot.identity.generator.name for snapshot in snapshots]
    if len(set(names)) == len(names):
        return names
    short = [
        f"{run_id[:8]}{mark}{attempt}"
        for run_id, mark, attempt in (one.partition(MARK) for one in ids)
    ]
    return [f"{name} ({run})" for name, run in zip(names, short, strict=True)]
