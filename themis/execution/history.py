"""What a run has behind it: its attempts, and how far each case went. A few bytes a case."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from themis.core.config import reusable_seconds
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.execution.attempt import Attempt, make_attempt
from themis.execution.bill import Bill
from themis.execution.wish import Wish
from themis.planning.work import CompiledRun
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
        state = Stage(event.data["through"]).order + 1
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

    def distrust(self) -> None:
        """Take every case for ended by other code than today's."""
        self._state = bytearray(state | _STALE if state else 0 for state in self._state)

    def any_stale(self) -> bool:
        """Return whether some case was last ended by other code than today's."""
        return any(state & _STALE for state in self._state)

    def anything_generated(self) -> bool:
        """Return whether some case has a candidate."""
        return any(state & _GENERATED for state in self._state)


@dataclass(slots=True)
class History:
    """A run's journal, as far as going on needs to know it."""

    ledger: Ledger
    last_seq: int = 0
    first_start: Event | None = None
    """The start event of the latest attempt, which says what it set out to do."""
    finished: Event | None = None
    """The end of the latest attempt, if it came to one."""
    bill: Bill = field(default_factory=Bill)
    """What each process that worked on it spent."""


def read_history(store: RunStore, run: CompiledRun) -> History:
    """Fold a run's journal into its history."""
    history = History(Ledger(run.snapshot.n_cases))
    code = run.code()
    stale = False
    for event in store.events(run.run_id, kinds=_MARKS):
        history.last_seq = event.seq
        history.bill.take(event)
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
                history.ledger.distrust()
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
    history: History, store: RunStore, run: CompiledRun, wish: Wish, now: float
) -> Decision | None:
    """Return what is to be done, or None if everything is there already.

    Args:
        history: the run's journal, as far as it is folded.
        store: where the run is; read only where it matters how old results are.
        run: the run.
        wish: what the user asked for.
        now: Unix seconds.
    """
    last = history.first_start
    resumed = last is not None and _goes_on(history, last, wish)
    if last is not None and resumed:
        attempt = Attempt.from_event(last, run, wish.until)
    else:
        seconds = reusable_seconds(wish.reuse)
        attempt = make_attempt(
            run,
            number=1 if last is None else last.attempt + 1,
            mode=wish.mode,
            until=wish.until,
            began=now,
            redo=wish.redo,
            reuse=wish.reuse,
            not_before=None if seconds is None else now - seconds,
            metric_ids=wish.metric_ids,
        )
    done = history.ledger.done(attempt)
    _leave_out_old(store, run, attempt, done)
    # An attempt that was cut short is not left as the last word on a run that has everything.
    if _is_ended(history) and wish.mode == "run" and all(done):
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


def _goes_on(history: History, last: Event, wish: Wish) -> bool:
    """Return whether the last attempt is unfinished and is the one the user wants to go on with."""
    if last.data["mode"] == "import":  # what was carried in is not this experiment's own work
        return False
    if _is_ended(history):
        return False
    if wish.mode == "run" and wish.reuse == "all":
        return True
    same_redo = last.data["redo"] == sorted(stage.value for stage in wish.redo)
    metric_ids = None if wish.metric_ids is None else sorted(wish.metric_ids)
    same_mode: bool = last.data["mode"] == wish.mode
    same_reuse: bool = last.data.get("reuse", "all") == wish.reuse
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
