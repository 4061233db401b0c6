"""What a run came to, as a person looks at it: headline numbers first, cases when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Self, overload

from themis.analysis.group_tables import group_table
from themis.analysis.intervals import summarize
from themis.analysis.judges import PanelAgreement, comparisons, panel_agreement
from themis.analysis.ratings import Rating, bradley_terry
from themis.analysis.tables import (
    attempts_text,
    corpus_text,
    endings_text,
    plain_table,
    reported_text,
    reuse_text,
    run_cost,
    work_text,
)
from themis.core.base import RunId
from themis.core.errors import DefinitionError, MissingExtraError
from themis.core.results import (
    CaseResult,
    ExecutionState,
    GroupSummary,
    MetricSummary,
    RunProgress,
    RunStatus,
    ScoreRow,
)
from themis.core.shown_text import shown
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.execution.corpus_values import group_summaries, summaries_of
from themis.views.attempts import as_of
from themis.views.case_results import case_result, case_results
from themis.views.headline import RunStanding, read_standing
from themis.views.judge_tallies import judged_tally
from themis.views.judged_verdicts import judged_pairs
from themis.views.scores import score_rows
from themis.views.state import RunHead, run_head

_CLOSE = 4
"""Step of a slice up to which reading all between costs less than reading case by case."""


class CaseResults(Sequence[CaseResult]):
    """The run's cases in dataset order, read from the store as they are asked for."""

    def __init__(self, store: RunStore, snapshot: RunSnapshot) -> None:
        self._store = store
        self._snapshot = snapshot

    def __len__(self) -> int:
        """Return the number of cases."""
        return self._snapshot.n_cases

    @overload
    def __getitem__(self, index: int) -> CaseResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[CaseResult]: ...
    def __getitem__(self, index: int | slice) -> CaseResult | list[CaseResult]:
        """Return one case, or a list of those of a slice."""
        if isinstance(index, slice):
            return self._slice(range(*index.indices(len(self))))
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        return case_result(self._store, self._snapshot, position)

    def _slice(self, positions: range) -> list[CaseResult]:
        """Return the cases at some positions, those that lie close together in one reading."""
        if abs(positions.step) > _CLOSE:
            return [self[position] for position in positions]
        ordered = positions if positions.step > 0 else positions[::-1]
        if not ordered:
            return []
        ends = ordered[0], ordered[-1] + 1
        found = list(case_results(self._store, self._snapshot, *ends, ordered.step))
        return found if ordered is positions else found[::-1]

    def __iter__(self) -> Iterator[CaseResult]:
        """Stream the cases, page by page."""
        return case_results(self._store, self._snapshot)

    def __repr__(self) -> str:
        return f"<{len(self)} cases of run {self._snapshot.run_id}>"


class RunResult:
    """A run's results.

    Attributes:
        run_id: the run.
        snapshot: what was asked.
        cases: a sequence of ``CaseResult``, read as needed.
    """

    def __init__(self, store: RunStore, snapshot: RunSnapshot) -> None:
        self._store = store
        self.snapshot = snapshot
        self.run_id: RunId = snapshot.run_id
        self.cases = CaseResults(store, snapshot)

    @classmethod
    def of(cls, store: RunStore, run_id: str) -> Self:
        """Return the results of a run that a store keeps.

        Args:
            store: where the run is.
            run_id: its id, or ``RUN@n`` for the run as of its attempt n.

        Raises:
            RunNotFoundError: the store has no such run.
            DefinitionError: the run has no such attempt.
        """
        shown, run = as_of(store, run_id)
        return cls(shown, shown.load_snapshot(run))

    @cached_property
    def _head(self) -> RunHead:
        return run_head(self._store, self.run_id)

    @cached_property
    def _standing(self) -> RunStanding:
        """Progress and scores: as the run has kept them, or folded when first asked for."""
        return read_standing(self._store, self.snapshot)

    @cached_property
    def _summaries(self) -> list[MetricSummary]:
        return summaries_of(self._standing, self.snapshot)

    @cached_property
    def _metrics(self) -> Mapping[str, MetricSummary]:
        return {one.metric_id: one for one in summarize(self._summaries)}

    @property
    def state(self) -> ExecutionState:
        """How the run stands: attempts, status, progress, notes."""
        return self._standing.state(self.run_id)

    @property
    def status(self) -> RunStatus:
        """How the run stands."""
        return self._head.status

    @property
    def reason(self) -> str | None:
        """Why the run was stopped early, if it was: a budget, a failure that all would share."""
        return self._head.reason

    @property
    def completed_through_stage(self) -> str | None:
        """The last stage that every case went through."""
        return self._head.through

    @property
    def progress(self) -> RunProgress:
        """Counts of steps, tokens and errors, cost and latencies."""
        return self._standing.headline.progress

    @property
    def cost(self) -> str:
        """What the work done cost, as text; calls at an unknown price are told beside it."""
        return run_cost(self.progress)

    @property
    def notes(self) -> list[str]:
        """What the user should know of the run, such as code that changed."""
        return self._head.notes

    @property
    def metrics(self) -> Mapping[str, MetricSummary]:
        """By metric id: value, interval, counts and bounds."""
        return self._metrics

    def score_rows(self) -> Iterator[ScoreRow]:
        """Stream the score table: one row for each metric of each subject of each case."""
        return score_rows(self._store, self.snapshot)

    def groups(self, by: str | Sequence[str]) -> list[GroupSummary]:
        """Return the metrics by group of cases, with counts, bounds and intervals of their own.

        Args:
            by: "dataset", a field of the cases' metadata ("subject"; "source.year" for one within
                another), or several of these.

        Raises:
            DefinitionError: no case has such a field, or there are more than a thousand groups.
        """
        return group_summaries(self._store, self.snapshot, by)

    def table(self, by: str | Sequence[str] | None = None) -> str:
        """Return the headline table as plain text: one line a metric.

        Args:
            by: as for ``groups``; then a line for each group, all cases together, and the mean that
                counts each group alike.
        """
        wholes = list(self.metrics.values())
        return plain_table(wholes) if by is None else str(group_table(self.groups(by), wholes))

    def judges(self, metric_id: str) -> PanelAgreement:
        """Return how a judged metric's judges agree, repeat themselves, and prefer a place.

        Raises:
            DefinitionError: the run has no such metric, or it asks no judges.
        """
        found = panel_agreement(judged_tally(self._store, self.snapshot, metric_id))
        assert found is not None  # this tally has every pattern
        return found

    def ratings(self, metric_id: str) -> list[Rating]:
        """Return Bradley-Terry ratings of what a pairwise metric compared, the best first.

        Players go by their sample: 0, 1, ... and "reference"; intervals are over cases.

        Raises:
            DefinitionError: the run has no such metric, it made no comparison in both orders, or
                its comparisons give no finite ratings.
        """
        found = comparisons(judged_pairs(self._store, self.snapshot, metric_id))
        if not found:
            raise DefinitionError(
                f"metric '{metric_id}' has no comparison that was made in both orders, and ratings "
                "are made of these: they are builtin/pairwise_judge's",
                field="metric_id",
                value=metric_id,
            )
        return bradley_terry(found)

    def to_pandas(self) -> Any:
        """Return the score table as a pandas DataFrame, one row a score.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError:
            raise MissingExtraError(extra="pandas", needed_for="RunResult.to_pandas()") from None
        columns: dict[str, list[Any]] = {name: [] for name in ScoreRow.model_fields}
        for row in self.score_rows():  # columns hold no keys, and values rows share are kept once
            for name, values in columns.items():
                values.append(getattr(row, name))
        return pandas.DataFrame(columns)

    def report(self, path: str | Path, **options: Any) -> Path:
        """Write a report and return its path; the format follows from the suffix.

        Args:
            path: its suffix says the format, as for ``Reporter.write``.
            **options: those of ``Reporter.write``, such as ``by="subject"``.
        """
        # Reporting stands beside this package, so it is reached by name, as catalog ids are.
        reporting: Any = import_module("themis.reporting")
        target = Path(path)
        reporting.Reporter(self._store).write(self.run_id, target, **options)
        return target

    def __repr__(self) -> str:
        lines = [f"Run {self.run_id}: {self.status.value}, {len(self.cases)} cases"]
        if self._head.later:
            lines.append(attempts_text(self.state))
        if self.reason:
            lines.append(f"stopped early: {self.reason}")
        elif self.progress.first_failure:
            lines.append(f"first failure: {self.progress.first_failure}")
        if self.metrics:
            lines.append(self.table())
        if corpus := corpus_text(list(self.metrics.values())):
            lines.append(corpus)
        if endings := endings_text(list(self.metrics.values())):
            lines.append(f"answers: {endings}")
        if reported := reported_text(self.progress):
            lines.append(f"models: {reported}")
        if reuse := reuse_text(self.progress):
            lines.append(reuse)
        if work := work_text(self.progress):
            lines.append(work)
        return shown("\n".join(lines))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"
