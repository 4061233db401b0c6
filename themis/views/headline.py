"""A run's headline: how far it is, what it scored, how long it took; and how a run keeps it.

Folding it reads the whole journal. So an attempt that comes to its end writes what the fold gives
into its last event, in one append with it. A kept headline holds for all that stands before that
event and for the event itself: it counts only where nothing follows and where this very version
made it. In every other case it is folded again. It may be missing, and is never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field

from themis.core.base import Model, RunId
from themis.core.errors import DefinitionError
from themis.core.events import Event, EventKind
from themis.core.protocols import RunStore
from themis.core.results import CorpusValue, ExecutionState, MetricSummary, RunProgress
from themis.core.snapshot import RunSnapshot
from themis.core.version import running_version
from themis.views.attempts import later_attempts
from themis.views.scores import ScoresFold, corpus_metrics
from themis.views.state import RUN_KINDS, ProgressFold, RunHead, state_of
from themis.views.statistics import CaseStatistics
from themis.views.steps import CaseSteps, fold_cases
from themis.views.timeline import AttemptTiming, TimelineFold

FOLDED_AS = 2
"""Counts up whenever a fold comes to say something else of the same events, or says it otherwise:
headlines kept before are then folded again, also by whoever works between two versions."""
_FIELD = "headline"
_CORPUS = "corpus"


class Headline(Model):
    """What came of a run, in numbers."""

    progress: RunProgress
    summaries: list[MetricSummary] = Field(default_factory=list)
    """One for each metric, in the run's order, without intervals."""
    timeline: list[AttemptTiming] = Field(default_factory=list)


class HeadlineFold:
    """Fold over a run's own events, in order, and over whole cases, in any order.

    The newest attempt's start is taken before any case: it says when a case is finished.

    Args:
        snapshot: the run.
        later: attempts whose events it is not fed, since an earlier one is looked at.
    """

    def __init__(self, snapshot: RunSnapshot, later: Sequence[int] = ()) -> None:
        self.head = RunHead(later)
        self._scores = ScoresFold(snapshot)
        self._progress = ProgressFold(self.head, snapshot.n_cases)
        self._times = TimelineFold()

    def take_event(self, event: Event) -> None:
        """Take one of the run's own events."""
        self.head.take(event)
        self._times.take_event(event)

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        self._scores.take(steps)
        self._progress.take(steps)
        self._times.take(steps)

    def statistics(self) -> Mapping[str, CaseStatistics]:
        """Return, by metric, what its corpus-level value is made of."""
        return self._scores.statistics

    def headline(self) -> Headline:
        """Return the headline so far."""
        return Headline(
            progress=self._progress.progress(),
            summaries=self._scores.summaries(),
            timeline=self._times.timeline(),
        )


class Standing(NamedTuple):
    """How a run stands: what its own events say, and its headline."""

    head: RunHead
    headline: Headline
    corpus: Mapping[str, CorpusValue] = MappingProxyType({})
    """By metric, the value over the whole run that its end has kept."""
    statistics: Mapping[str, CaseStatistics] = MappingProxyType({})
    """By metric, what the others' are made of; none where all that there are were kept."""

    def state(self, run_id: RunId) -> ExecutionState:
        """Return it as users see it."""
        return state_of(run_id, self.head, self.headline.progress)


def keep(event: Event, headline: Headline) -> None:
    """Write a headline into the event that ends an attempt, before it is appended.

    It must be the fold of all that stands before this event in the journal, and of the event.
    """
    event.data[_FIELD] = {
        "by": _maker(),
        **headline.model_dump(mode="json", exclude_defaults=True),
    }


def keep_corpus(event: Event, values: Mapping[str, CorpusValue]) -> None:
    """Write the corpus-level values of a run into the event that ends an attempt.

    Unlike a headline they hold for every version: a user's component made them, and may be gone.
    """
    if values:
        event.data[_CORPUS] = {name: one.plain() for name, one in values.items()}


def fold_journal(store: RunStore, snapshot: RunSnapshot) -> HeadlineFold:
    """Return the fold of all that a run's journal holds, reading it whole, page by page."""
    fold = HeadlineFold(snapshot, later_attempts(store))
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        fold.take_event(event)
    fold_cases(store, snapshot, fold)
    return fold


def read_standing(store: RunStore, snapshot: RunSnapshot) -> Standing:
    """Return how a run stands: as its end has kept it, else by reading its whole journal."""
    head, last = RunHead(later_attempts(store)), None
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        head.take(event)
        last = event
    if last is None or last.kind is not EventKind.RUN_FINISHED:
        kept, corpus = None, {}
    elif _is_end(store, snapshot.run_id, last):
        kept, corpus = _kept_in(last), _corpus_in(last)
    else:
        kept, corpus = None, {}
    whole = corpus_metrics(snapshot) <= corpus.keys()
    if kept is not None and whole:
        return Standing(head, kept, corpus)
    fold = fold_journal(store, snapshot)
    return Standing(fold.head, fold.headline(), corpus, fold.statistics())


def execution_state(store: RunStore, run_id: RunId) -> ExecutionState:
    """Return how a run stands.

    Raises:
        RunNotFoundError: the store has no such run.
    """
    return read_standing(store, store.load_snapshot(run_id)).state(run_id)


def _maker() -> str:
    return f"{running_version()}/{FOLDED_AS}"


def _kept_in(event: Event) -> Headline | None:
    """Return what an attempt's end has kept, if it can be read as what it was."""
    kept: Any = event.data.get(_FIELD)
    if not isinstance(kept, dict):
        return None
    told = {name: value for name, value in kept.items() if name != "by"}
    if kept.get("by") != _maker():
        return None
    try:
        return Headline.read(told)
    except DefinitionError:  # damaged: the journal says it all again
        return None


def _corpus_in(event: Event) -> dict[str, CorpusValue]:
    """Return the corpus-level values that an attempt's end has kept, as far as they can be read."""
    kept: Any = event.data.get(_CORPUS)
    try:
        return {str(name): CorpusValue.read(one) for name, one in dict(kept or {}).items()}
    except (DefinitionError, TypeError, ValueError):  # damaged, or of another version
        return {}


def _is_end(store: RunStore, run_id: RunId, event: Event) -> bool:
    """Return whether a journal ends with an event."""
    return next(iter(store.events(run_id, after=event.seq)), None) is None
