"""What a run has behind it: its attempts, and how far each case went. A few bytes a case."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from themis.core.base import RunId
from themis.core.config import reusable_seconds
from themis.core.events import Event, EventKind, Stage
from themis.core.store import RunStore
from themis.execution.attempt import Attempt, RunRequest, make_attempt
from themis.execution.call_costs import usage_in
from themis.execution.limits.budget import NOTHING, Spent
from themis.planning.compiled_run import CompiledRun
from themis.views.steps import read_steps

_MARKS = (
    EventKind.RUN_STARTED,
    EventKind.RUN_FINISHED,
    EventKind.CASE_FINISHED,
    EventKind.BUDGET_DRAWN,
)
_UNFINISHED = ("interrupted", "failed")
_OUTAGES, _GENERATED, _STALE = 8, 16, 32
_STAGES = tuple(Stage)
_REACHED = {stage.value: number for number, stage in enumerate(_STAGES, start=1)}


class Ledger:
    """How far each case went, by its newest end: stage, outages, whether anything was generated."""

    def __init__(self, n_cases: int) -> None:
        self._state = bytearray(n_cases)
        self._attempt = array("I", bytes(array("I").itemsize * n_cases))

    def record(self, event: Event, *, stale: bool = False) -> None:
        """Take note of a case's end; a ``stale`` one was come to by other code than today's."""
        index = event.case_index
        if index is None or index >= len(self._state):
            return
        state = _REACHED[event.data["through"]]
        state |= _OUTAGES if event.data["outages"] else 0
        state |= _GENERATED if event.data["generated"] else 0
        state |= _STALE if stale else 0
        self._state[index] = state
        self._attempt[index] = event.attempt

    def done(self, attempt: Attempt) -> bytearray:
        """Return, for each case, whether this attempt has nothing left to do there.

        How old the results are that a case rests on is not known here.
        """
        through = attempt.until.order + 1
        number = attempt.number if attempt.starts_afresh else None
        return bytearray(
            (state & 7) >= through
            and not state & (_OUTAGES | _STALE)
            and (number is None or went == number)
            for state, went in zip(self._state, self._attempt, strict=True)
        )

    def through(self) -> Stage | None:
        """Return the last stage that every case went through; None where one went nowhere yet."""
        least = min((state & 7 for state in self._state), default=0)
        return _STAGES[least - 1] if least else None

    def any_outage(self) -> bool:
        """Return whether some case ended with an outage."""
        return any(state & _OUTAGES for state in self._state)

    def mark_stale(self) -> None:
        """Take every case for ended by other code than today's."""
        self._state = bytearray(state | _STALE if state else 0 for state in self._state)

    def any_stale(self) -> bool:
        """Return whether some case was last ended by other code than today's."""
        return any(state & _STALE for state in self._state)

    def anything_generated(self) -> bool:
        """Return whether some case has a candidate."""
        return any(state & _GENERATED for state in self._state)


class SpendingHistory:
    """Fold over a run's own events, in order of their numbers."""

    def __init__(self) -> None:
        self._sessions: list[_Session] = []

    def add(self, event: Event) -> None:
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


@dataclass(slots=True)
class History:
    """A run's journal, as far as going on needs to know it."""

    ledger: Ledger
    last_seq: int = 0
    first_start: Event | None = None
    """The start event of the latest attempt, which says what it set out to do."""
    finished: Event | None = None
    """The end of the latest attempt, if it came to one."""
    spending: SpendingHistory = field(default_factory=SpendingHistory)
    """What each process that worked on it spent."""


def read_history(store: RunStore, run: CompiledRun) -> History:
    """Fold a run's journal into its history."""
    history = History(Ledger(run.snapshot.n_cases))
    code = run.code()
    stale = False
    for event in store.events(run.run_id, kinds=_MARKS):
        history.last_seq = event.seq
        history.spending.add(event)
        if event.kind is EventKind.CASE_FINISHED:
            history.ledger.record(event, stale=stale)
        elif event.kind is EventKind.RUN_FINISHED:
            history.finished = event
        elif event.kind is EventKind.RUN_STARTED:
            if history.first_start is None or history.first_start.attempt != event.attempt:
                history.first_start = event
            history.finished = None
            stale = _code_changed(event, code)
            if stale:  # that attempt may have left steps behind in any case
                history.ledger.mark_stale()
    # What is left is the tail of steps that were in flight.
    for event in store.events(run.run_id, after=history.last_seq):
        history.last_seq = event.seq
    return history


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The attempt to be made, and which cases it need not visit."""

    attempt: Attempt
    resumed: bool
    done: bytearray
    stale: bool = False
    """Whether some cases were last gone through by other code than today's."""


def decide(
    history: History, store: RunStore, run: CompiledRun, request: RunRequest, now: float
) -> Decision | None:
    """Return what is to be done, or None if everything is there already.

    Args:
        history: the run's journal, as far as it is folded.
        store: where the run is; read only where it matters how old results are.
        run: the run.
        request: what the user asked for.
        now: Unix seconds.
    """
    last = history.first_start
    resumed = last is not None and _goes_on(history, last, request)
    if last is not None and resumed:
        attempt = Attempt.from_event(last, run, request.until)
    else:
        seconds = reusable_seconds(request.reuse)
        attempt = make_attempt(
            run,
            number=1 if last is None else last.attempt + 1,
            mode=request.mode,
            until=request.until,
            began=now,
            redo=request.redo,
            reuse=request.reuse,
            not_before=None if seconds is None else now - seconds,
            metric_ids=request.metric_ids,
        )
    done = history.ledger.done(attempt)
    _leave_out_old(store, run, attempt, done)
    # An attempt that was cut short is not left as the last word on a run that has everything.
    if _is_ended(history) and request.mode == "run" and all(done):
        return None
    return Decision(
        attempt=attempt,
        resumed=resumed,
        done=done,
        stale=history.ledger.any_stale(),
    )


def _is_ended(history: History) -> bool:
    """Return whether the last attempt came to an end that needs no going on."""
    finished = history.finished
    return finished is not None and finished.data["status"] not in _UNFINISHED


def _goes_on(history: History, last: Event, request: RunRequest) -> bool:
    """Return whether the last attempt is unfinished and is the one the user wants to go on with."""
    if last.data["mode"] == "import":  # what was carried in is not this experiment's own work
        return False
    if _is_ended(history):
        return False
    if request.mode == "run" and request.reuse == "all":
        return True
    same_redo = last.data["redo"] == sorted(stage.value for stage in request.redo)
    metric_ids = None if request.metric_ids is None else sorted(request.metric_ids)
    same_mode: bool = last.data["mode"] == request.mode
    same_reuse: bool = last.data.get("reuse", "all") == request.reuse
    return same_mode and same_reuse and same_redo and last.data["metric_ids"] == metric_ids


def _leave_out_old(store: RunStore, run: CompiledRun, attempt: Attempt, done: bytearray) -> None:
    """Take for not done what rests on results that are too old for the attempt."""
    bound = attempt.not_before
    if bound is None or not any(done):
        return
    for steps in read_steps(store, run.run_id, 0, len(done)):
        if done[steps.index] and steps.has_older(bound, attempt.until):
            done[steps.index] = False


def _code_changed(start: Event, code: Mapping[str, str | None]) -> bool:
    """Return whether a component's code is not what it was at a start of the run."""
    then: Mapping[str, Any] = start.data.get("provenance", {}).get("code", {})
    return any(then.get(name) != now for name, now in code.items())


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
