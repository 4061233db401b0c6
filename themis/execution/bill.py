"""What the processes that worked on a run spent, read from its journal.

One that ended in order said so itself. Of one that was killed, what it had drawn ahead counts,
which nothing it spent can exceed; one without a budget drew nothing, and its answers are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.execution.budget import NOTHING, Spent


@dataclass(slots=True)
class _Session:
    """One process's work on the run."""

    attempt: int
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
            self._sessions.append(_Session(event.attempt, event.seq, event.at, event.at))
            return
        if not self._sessions:
            return
        session = self._sessions[-1]
        session.seen = event.at
        if event.kind is EventKind.BUDGET_DRAWN:
            session.drawn = Spent.of(event.data)
        elif event.kind is EventKind.RUN_FINISHED and "spent" in event.data:
            session.spent = Spent.of(event.data["spent"])

    def total(self, store: RunStore, run_id: RunId, *, since: int) -> Spent:
        """Return what was spent in an attempt and those after it.

        Args:
            store: the run's store; asked about processes that were killed without a budget.
            run_id: the run.
            since: number of the first attempt that counts.
        """
        total = NOTHING
        for session in self._sessions:
            if session.attempt >= since:
                total = total.plus(_spent(session, store, run_id))
        return total


def _spent(session: _Session, store: RunStore, run_id: RunId) -> Spent:
    if session.spent is not None:
        return session.spent
    seconds = Spent(seconds=max(0.0, session.seen - session.began))
    if session.drawn is not None:
        return session.drawn.plus(seconds)
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
    payload = event.artifact.payload
    usage = payload.get("token_usage") or (payload.get("response") or {}).get("token_usage") or {}
    return Spent(
        tokens=usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0),
        dollars=event.data.get("cost", 0.0),
    )
