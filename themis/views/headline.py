"""A run's headline: its progress, scores and times; and how it is stored with the run.

Computing it reads the whole journal. So an attempt that ends writes its headline into its last
event. A stored headline covers all events up to that one: it is used only if no event follows and
if this version of the fold wrote it. Otherwise it is computed again. It may be missing, and is
never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field

from themis.core.base import Model, RunId, running_version
from themis.core.errors import DefinitionError
from themis.core.events import Event, EventKind
from themis.core.results import CorpusValue, ExecutionState, MetricSummary, RunProgress
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.attempts import later_attempts
from themis.views.judge_tallies import JudgedTally, JudgesFold
from themis.views.scores import ScoresFold, corpus_metrics
from themis.views.state import RUN_KINDS, ProgressFold, RunHead
from themis.views.statistics import CaseStatistics
from themis.views.steps import CaseSteps, fold_cases
from themis.views.timeline import AttemptTiming, TimelineFold

FOLDED_AS = 2
"""Raised whenever a fold gives another result for the same events: headlines stored before are then
computed again."""
_FIELD = "headline"
_CORPUS = "corpus"


class Headline(Model):
    """A run's result in numbers."""

    progress: RunProgress
    summaries: list[MetricSummary] = Field(default_factory=list)
    """One for each metric, in the run's order, without intervals."""
    timeline: list[AttemptTiming] = Field(default_factory=list)
    judged: list[JudgedTally] = Field(default_factory=list)
    """One for each metric that asks judges, in the run's order."""


class HeadlineFold:
    """Fold over a run's own events, in order, and over whole cases, in any order.

    The events of the newest attempt's start must be added before any case: they determine whether a
    case is finished.

    Args:
        snapshot: the run.
        later: attempts after the one that is shown, whose events are left out.
    """

    def __init__(self, snapshot: RunSnapshot, later: Sequence[int] = ()) -> None:
        self.head = RunHead(later)
        self._scores = ScoresFold(snapshot)
        self._progress = ProgressFold(self.head, snapshot.n_cases)
        self._times = TimelineFold()
        self._judges = JudgesFold(snapshot)

    def take_event(self, event: Event) -> None:
        """Add one of the run's own events."""
        self.head.add(event)
        self._times.take_event(event)

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
        self._scores.add(steps)
        self._progress.add(steps)
        self._times.add(steps)
        self._judges.add(steps)

    def statistics(self) -> Mapping[str, CaseStatistics]:
        """Return, by metric, the statistics of which its corpus-level value is computed."""
        return self._scores.statistics

    def headline(self) -> Headline:
        """Return the headline so far."""
        return Headline(
            progress=self._progress.progress(),
            summaries=self._scores.summaries(),
            timeline=self._times.timeline(),
            judged=self._judges.tallies(),
        )


class RunStanding(NamedTuple):
    """A run's status: the fold of its own events, and its headline."""

    head: RunHead
    headline: Headline
    corpus: Mapping[str, CorpusValue] = MappingProxyType({})
    """By metric, the corpus-level values that were stored when the run ended."""
    statistics: Mapping[str, CaseStatistics] = MappingProxyType({})
    """By metric, the statistics for the values that were not stored; empty if all were."""

    def state(self, run_id: RunId) -> ExecutionState:
        """Return the state that users are given."""
        head = self.head
        return ExecutionState(
            run_id=run_id,
            status=head.status,
            attempt=head.attempt,
            later_attempts=head.later,
            attempts=[about for _, about in sorted(head.attempts.items())],
            reason=head.reason,
            completed_through_stage=head.through,
            progress=self.headline.progress,
            notes=head.notes,
        )


def keep(event: Event, headline: Headline) -> None:
    """Write a headline into the event that ends an attempt, before the event is appended.

    The headline must cover all events before this one in the journal, and this one.
    """
    event.data[_FIELD] = {
        "by": _maker(),
        **headline.model_dump(mode="json", exclude_defaults=True),
    }


def keep_corpus(event: Event, values: Mapping[str, CorpusValue]) -> None:
    """Write the corpus-level values of a run into the event that ends an attempt.

    Unlike a headline they are valid for every version of Themis: a user's component computed them,
    and it may no longer be available.
    """
    if values:
        event.data[_CORPUS] = {name: one.plain() for name, one in values.items()}


def fold_journal(store: RunStore, snapshot: RunSnapshot) -> HeadlineFold:
    """Return the fold over a run's whole journal, which is read page by page."""
    fold = HeadlineFold(snapshot, later_attempts(store))
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        fold.take_event(event)
    fold_cases(store, snapshot, fold)
    return fold


def read_standing(store: RunStore, snapshot: RunSnapshot) -> RunStanding:
    """Return a run's status: from its last event, else by reading its whole journal."""
    head, last = RunHead(later_attempts(store)), None
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        head.add(event)
        last = event
    kept: Headline | None = None
    corpus: dict[str, CorpusValue] = {}
    if last is not None and _is_end(store, snapshot.run_id, last):
        kept, corpus = _kept_in(last), _corpus_in(last)
    whole = corpus_metrics(snapshot) <= corpus.keys()
    if kept is not None and whole:
        return RunStanding(head, kept, corpus)
    fold = fold_journal(store, snapshot)
    return RunStanding(fold.head, fold.headline(), corpus, fold.statistics())


def corpus_kept(store: RunStore, run_id: RunId, last: Event) -> dict[str, CorpusValue]:
    """Return the corpus-level values in a run's last event; none if other events follow it.

    Args:
        store: has the run.
        run_id: the run.
        last: the last of the run's own events.
    """
    return _corpus_in(last) if _is_end(store, run_id, last) else {}


def execution_state(store: RunStore, run_id: RunId) -> ExecutionState:
    """Return a run's state.

    Raises:
        RunNotFoundError: the store has no such run.
    """
    return read_standing(store, store.load_snapshot(run_id)).state(run_id)


def _maker() -> str:
    return f"{running_version()}/{FOLDED_AS}"


def _kept_in(event: Event) -> Headline | None:
    """Return the headline in an attempt's last event, if it can be read."""
    kept: Any = event.data.get(_FIELD)
    if not isinstance(kept, dict):
        return None
    told = {name: value for name, value in kept.items() if name != "by"}
    if kept.get("by") != _maker():
        return None
    try:
        return Headline.read(told)
    except DefinitionError:  # damaged: it is computed from the journal
        return None


def _corpus_in(event: Event) -> dict[str, CorpusValue]:
    """Return the corpus-level values in an attempt's last event that can be read."""
    kept: Any = event.data.get(_CORPUS)
    try:
        return {str(name): CorpusValue.read(one) for name, one in dict(kept or {}).items()}
    except (DefinitionError, TypeError, ValueError):  # damaged, or of another version
        return {}


def _is_end(store: RunStore, run_id: RunId, event: Event) -> bool:
    """Return whether an event finished an attempt and is the last of its run's journal."""
    if event.kind is not EventKind.RUN_FINISHED:
        return False
    return next(iter(store.events(run_id, after=event.seq)), None) is None
