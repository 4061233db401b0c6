"""The headline of an open run, folded from its events as they are committed.

It spares the end of a run, and whoever looks at it, a reading of the whole journal. Folded from
memory is only a case whose every event passed by here as the store keeps it; the others, those of
earlier attempts among them, are read at the end. It never stops a run: what cannot be folded is
for who looks at the run to hear of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from themis.core.base import ArtifactKey
from themis.core.events import Event, EventKind, Stage
from themis.core.shown_text import logger
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.execution.calls import call_in_thread
from themis.execution.corpus_values import corpus_values
from themis.execution.journal import JournalWriter
from themis.execution.session import RunSession
from themis.planning.capabilities import Capabilities
from themis.views.headline import HeadlineFold, keep, keep_corpus
from themis.views.state import RUN_KINDS
from themis.views.steps import PAGE, CaseSteps, read_steps

_GENERATE = Stage.GENERATE  # looked up once: these are asked of every event
_DONE, _FINISHED = EventKind.STEP_DONE, EventKind.CASE_FINISHED
_LOG = logger()


class LiveHeadline:
    """Folds a run's events while it is open.

    Args:
        snapshot: the run.
        has_history: whether the journal had events before: then none is folded from memory, for a
            case may have more of them than pass by.
        corpus: by name, the metrics that have a value over the whole run.
    """

    def __init__(
        self, snapshot: RunSnapshot, *, has_history: bool, corpus: Mapping[str, Capabilities]
    ) -> None:
        self._snapshot = snapshot
        self._corpus = corpus
        self._fold = HeadlineFold(snapshot)
        self._has_history = has_history
        self._is_whole = True
        self._in_flight: dict[int, CaseSteps] = {}
        self._doubtful: set[int] = set()
        """Cases in flight that have an event which the store keeps otherwise than it passed by."""
        self._folded = bytearray(snapshot.n_cases)

    def committed(self, events: Sequence[Event], lost: Collection[ArtifactKey]) -> None:
        """Take note of committed events, and of the keys under which another artifact stands."""
        if self._has_history or not self._is_whole:
            return
        try:
            for event in events:
                self._take(event, lost)
        except Exception:  # noqa: BLE001 - a headline is not worth a run
            self._give_up()

    async def keep_in(
        self, event: Event, journal: JournalWriter, store: RunStore, session: RunSession
    ) -> None:
        """Put the headline into the event that is to end the attempt and is about to be appended.

        Args:
            event: the attempt's end.
            journal: where everything before it is queued or committed.
            store: what the journal writes to.
            session: the open run's; once it is stopping there is no time for it any more.
        """
        await journal.flush()
        try:
            if self._has_history:
                for one in await journal.run_after_commits(partial(self._own_events, store)):
                    self._fold.take_event(one)
            for lower, upper in self._unread():
                if session.stopping or not self._is_whole:
                    return
                for steps in await journal.run_after_commits(
                    partial(self._page, store, lower, upper)
                ):
                    self._fold.add(steps)
            if self._is_whole:
                self._fold.take_event(event)
                keep(event, self._fold.headline())
                await self._keep_corpus(event, session)
        except Exception:  # noqa: BLE001 - a headline is not worth a run
            self._give_up()

    async def _keep_corpus(self, event: Event, session: RunSession) -> None:
        """Put in the values over the whole run, unless the run is stopped before they are made."""
        if not self._corpus or session.stopping:
            return
        make = partial(corpus_values, self._corpus, self._fold.statistics())
        making = asyncio.ensure_future(call_in_thread(session.threads, make))
        stopped = asyncio.ensure_future(session.stopped())
        try:
            await asyncio.wait({making, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                keep_corpus(event, making.result())
        finally:
            for one in (making, stopped):
                one.cancel()

    def _take(self, event: Event, lost: Collection[ArtifactKey]) -> None:
        index = event.case_index
        if index is None:
            if event.kind in RUN_KINDS:
                self._fold.take_event(event)
            return
        steps = self._in_flight.get(index)
        if steps is None:
            steps = self._in_flight[index] = CaseSteps(index)
        if event.kind is _DONE:
            if event.found is not None:
                event = _as_it_is_read(event)
            elif not self._is_kept_as_it_is(event) or event.key in lost:
                self._doubtful.add(index)
        steps.add(event)
        if event.kind is _FINISHED:
            del self._in_flight[index]
            if index in self._doubtful:
                self._doubtful.discard(index)
            else:
                self._fold.add(steps)
                self._folded[index] = 1

    def _is_kept_as_it_is(self, event: Event) -> bool:
        """Return whether the store gives back what the event brought.

        An equal artifact that stood there stays in its place, with its own date, which is told of
        generations and, within a bound of age, asked of every step.
        """
        made, address = event.artifact, event.address
        if made is None or address is None:
            return False
        return made.run_id is not None or not (
            address.stage is _GENERATE or self._fold.head.is_bounded
        )

    def _unread(self) -> Iterator[tuple[int, int]]:
        """Yield where the cases lie that were not folded, a page at a time."""
        lower = self._folded.find(0)
        while lower >= 0:
            upper = self._folded.find(1, lower, lower + PAGE)
            upper = min(lower + PAGE, len(self._folded)) if upper < 0 else upper
            yield lower, upper
            lower = self._folded.find(0, upper)

    def _own_events(self, store: RunStore) -> list[Event]:
        """Runs in the journal's thread."""
        return list(store.events(self._snapshot.run_id, kinds=RUN_KINDS))

    def _page(self, store: RunStore, lower: int, upper: int) -> list[CaseSteps]:
        """Runs in the journal's thread."""
        return list(read_steps(store, self._snapshot.run_id, lower, upper))

    def _give_up(self) -> None:
        self._is_whole = False
        self._in_flight.clear()
        _LOG.exception("the run's headline could not be folded; it is folded again when looked at")


def _as_it_is_read(event: Event) -> Event:
    """Return the event of a reused step as a store gives it back: with what it refers to."""
    return Event(
        kind=event.kind,
        attempt=event.attempt,
        at=event.at,
        seq=event.seq,
        case_index=event.case_index,
        address=event.address,
        candidate_id=event.candidate_id,
        key=event.key,
        version=event.version,
        reused=event.reused,
        data=event.data,
        artifact=event.found,
    )
