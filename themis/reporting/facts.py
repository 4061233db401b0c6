"""The facts that a report tells, read from the store when they are first asked for.

A run's numbers are read once: from the headline that is kept when a run ends, else in one pass over
its journal. The CSV report needs none of them and reads none. Cases are streamed and never held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict, Unpack

from themis.analysis.intervals import summarize
from themis.analysis.tables import run_cost
from themis.core.base import RunId
from themis.core.errors import DefinitionError
from themis.core.pipeline import Pipeline
from themis.core.redaction import redact
from themis.core.results import (
    CaseResult,
    ExecutionState,
    GroupSummary,
    MetricSummary,
    ScoreRow,
)
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.execution.corpus_values import group_summaries, summaries_of
from themis.views.attempts import MARK, as_of
from themis.views.case_results import fold_case
from themis.views.cases import RunCase, cases_with_steps
from themis.views.groups import fields_of
from themis.views.headline import RunStanding, read_standing
from themis.views.judge_tallies import JudgedTally
from themis.views.scores import CaseScore, chosen_metrics, score_case, score_rows
from themis.views.timeline import AttemptTiming


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
    by: tuple[str, ...] = ()
    """The fields by which scores are told too."""

    @cached_property
    def _standing(self) -> RunStanding:
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

    @cached_property
    def groups(self) -> list[GroupSummary]:
        """The same metrics by group; none where nobody asked."""
        if not self.by:
            return []
        return group_summaries(self.store, self.snapshot, self.by, self.metric_ids)

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
        if not self.state.later_attempts:
            return self.run_id
        return f"{self.run_id}{MARK}{self.state.attempt}"

    @property
    def title(self) -> str:
        """What was evaluated on what."""
        identity = self.snapshot.identity
        datasets = ", ".join(dataset.dataset_id for dataset in identity.datasets)
        return f"{identity.generator.name} on {datasets}"

    @property
    def seconds(self) -> float:
        """From first event to last, over all attempts."""
        return sum(attempt.seconds for attempt in self.timeline)

    @property
    def cost(self) -> str:
        """What the work cost, as text."""
        return run_cost(self.state.progress)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where and how the newest attempt ran; of the compilation before any did."""
        attempts = self.state.attempts
        found = attempts[-1].get("provenance") if attempts else None
        told: dict[str, Any] = redact(found or self.snapshot.provenance.plain())
        return told

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
        pipeline = Pipeline(snapshot.identity)
        for case, steps in cases_with_steps(self.store, snapshot, 0, limit):
            rows = score_case(steps, pipeline, metrics)
            yield CaseFacts(
                case=case,
                result=fold_case(pipeline, case, steps),
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
            run = self.runs[0]
            is_named = run.label != run.snapshot.identity.generator.name
            return f"{run.label}: {run.title}" if is_named else run.title
        return f"{len(self.runs)} runs side by side"

    @property
    def is_whole(self) -> bool:
        """Whether every case of every run has rows of every metric."""
        return all(run.is_whole for run in self.runs)

    @property
    def is_one_run(self) -> bool:
        """Whether there is nothing to tell apart by a label."""
        return len(self.runs) == 1


class ReportOptions(TypedDict, total=False):
    """What a report tells beside its runs' headlines, and how it names the runs."""

    labels: Sequence[str] | None
    """A name for each run; what it evaluated by default."""
    by: str | Sequence[str] | None
    """Fields by which scores are told too: "dataset", or some of the cases' metadata."""


def report_facts(
    store: RunStore,
    run_ids: str | Sequence[str],
    *,
    metric_ids: Collection[str] | None = None,
    **options: Unpack[ReportOptions],
) -> ReportFacts:
    """Gather what a report tells.

    Args:
        store: where the runs are.
        run_ids: one run, or several to be shown side by side; ``RUN@n`` is one as of its attempt n.
        metric_ids: the metrics to tell of; all by default. Of several runs each tells of those
            that it has, and one of them must have it.
        **options: see ``ReportOptions``.

    Raises:
        RunNotFoundError: the store has no such run.
        DefinitionError: no run, as many labels as runs, or a metric that none has.
    """
    labels, by = options.get("labels"), options.get("by")
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
    facts = ReportFacts(
        runs=[
            RunFacts(
                store=bounded,
                label=label,
                snapshot=snapshot,
                metric_ids=metrics,
                by=() if by is None else fields_of(by),
            )
            for (bounded, _), snapshot, label, metrics in zip(
                shown, snapshots, names, wanted, strict=True
            )
        ]
    )
    for run in facts.runs:
        _ = run.groups  # refuses a field that no case has before anything is written
    return facts


def _marks(rows: Sequence[CaseScore]) -> frozenset[str]:
    marks: set[str] = {row.outcome for row in rows}
    marks.update(row.ending for row in rows if row.ending is not None)
    if any(row.unparsed for row in rows):
        marks.add("unparsed")
    return frozenset(marks)


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
