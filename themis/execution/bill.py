"""What the processes that worked on a run spent, read from its journal.

One that ended in order said so itself. Of one that was killed, what it had drawn ahead counts: it
spent no more of what its budget limits. One without a budget drew nothing; its answers are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.execution.budget import NOTHING, Spent
from themis.execution.step import usage_in


@dataclass(slots=True)
class _Session:
    """One process's work on the run."""

    attempt: int
    mode: str
    seq: int
    began: float
    seen: float
    drawn: Spent | None = None
    spent: Spent | None = None
    until: int | None = None
    """Number of the first event that is another process's."""


class Bill:
    """Fold over a run's own events, in order of their numbers."""

    def __init__(self) -> None:
        self._sessions: list[_Session] = []

    def take(self, event: Event) -> None:
        """Take one event."""
        if event.kind is EventKind.RUN_STARTED:
            if self._sessions:
                self._sessions[-1].until = event.seq
            mode = event.data.get("mode", "run")
            self._sessions.append(_Session(event.attempt, mode, event.seq, event.at, event.at))
            return
        if not self._sessions:
            return
        session = self._sessions[-1]
        session.seen = event.at
        if event.kind is EventKind.BUDGET_DRAWN:
            session.drawn = Spent.of(event.data)
        elif event.kind is EventKind.RUN_FINISHED and "spent" in event.data:
            session.spent = Spent.of(event.data["spent"])

    def total(self, store: RunStore, run_id: RunId, *, attempt: int | None = None) -> Spent:
        """Return what was spent in an attempt; by default in all plain ones.

        Args:
            store: the run's store; asked about processes that were killed without a budget.
            run_id: the run.
            attempt: a rerun, replay or rejudge, which has a budget of its own.
        """
        total = NOTHING
        for session in self._sessions:
            if session.mode == "run" if attempt is None else session.attempt == attempt:
                total = total.plus(_spent(session, store, run_id))
        return total


def _spent(session: _Session, store: RunStore, run_id: RunId) -> Spent:
    if session.spent is not None:
        return session.spent
    seconds = Spent(seconds=max(0.0, session.seen - session.began))
    if session.drawn is not None:
        return replace(session.drawn, seconds=max(session.drawn.seconds, seconds.seconds))
    total = seconds
    for event in store.events(run_id, after=session.seq):
        if session.until is not None and event.seq >= session.until:
            break
        place = event.address
        if place is None or event.reused or event.artifact is None:
            continue
        if place.stage is Stage.GENERATE or place.call is not None:
            total = total.plus(_of_call(event))
    return total


def _of_call(event: Event) -> Spent:
    assert event.artifact is not None
    usage = usage_in(event.artifact.payload) or {}
    tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    cost = event.data.get("cost")
    return Spent(tokens=tokens, dollars=cost or 0.0, unpriced=int(bool(tokens) and cost is None))
