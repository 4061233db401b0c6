"""Opening or resuming a run and keeping many cases moving, until they are done or told to stop."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from themis.core.base import ArtifactKey
from themis.core.config import RuntimeConfig
from themis.core.errors import RunExistsError, StoreFailedError, StoreUnavailableError
from themis.core.events import Event, EventKind
from themis.core.protocols import TracingProvider
from themis.core.results import RunStatus, StepFailure
from themis.core.snapshot import Provenance
from themis.core.store import Listener, RunStore
from themis.execution.attempt import Attempt, RunRequest
from themis.execution.case import walk
from themis.execution.case_run import CaseRun
from themis.execution.collector import slowed_collector
from themis.execution.failures import WorkStoppedError
from themis.execution.feed import CaseFeed, CaseReader, load_prior_events
from themis.execution.history import Decision, History, Ledger, decide, read_history
from themis.execution.hooks import Hooks
from themis.execution.journal import JournalWriter
from themis.execution.lease import Heartbeat, held, wait_and_acquire
from themis.execution.limits.budget import NOTHING, Spent
from themis.execution.live_headline import LiveHeadline
from themis.execution.notes import notes_at_end, notes_at_start
from themis.execution.rescue import set_aside, take_in
from themis.execution.run_or_reuse import run_or_reuse
from themis.execution.session import RunSession
from themis.execution.signals import Stopper, on_signals
from themis.planning.compiled_run import CompiledRun

_FINISHED = EventKind.CASE_FINISHED  # looked up once: it is asked of every event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How an execution ended.

    Attributes:
        status: how the run stands.
        fatal: the failure that stopped it early, if one did.
        spent_out: why its budget stopped it early, if it did.
        put_off: why an endpoint's pause stopped it early, if one did.
    """

    status: RunStatus
    fatal: StepFailure | None = None
    spent_out: str | None = None
    put_off: str | None = None


async def execute(
    run: CompiledRun,
    store: RunStore,
    *,
    runtime: RuntimeConfig,
    request: RunRequest,
    provenance: Provenance,
    stopper: Stopper,
    listeners: Sequence[Listener] = (),
    subscribers: Sequence[Any] | None = None,
    tracing: TracingProvider | None = None,
    take_over: bool = False,
) -> RunOutcome:
    """Carry a run as far as was wished for.

    Raises:
        RunExistsError: the run is there and the policy is "error".
        RunOwnedError: another process works on it, for longer than was to be waited.
        StoreFailedError: the store stayed away.
        LeaseLostError: the run was lost to another process.
        DefinitionError: the data changed since the run was compiled.
    """
    hooks = Hooks(subscribers, tracing)
    store.save_snapshot(run.snapshot)
    lease = await wait_and_acquire(
        store, run.run_id, wait=runtime.owner_wait, stopper=stopper, take_over=take_over
    )
    if lease is None:
        return RunOutcome(status=RunStatus.INTERRUPTED)
    opened: _OpenRun | None = None
    with held(store, lease) as heartbeat:
        try:
            history = read_history(store, run)
            taken_in = take_in(store, lease, history.last_seq)
            if taken_in is not None:
                history = read_history(store, run)
            if history.last_seq and runtime.existing_run_policy == "error":
                raise RunExistsError(
                    f"run {run.run_id} is in the store already and existing_run_policy is 'error'; "
                    "set it to 'auto' to go on with it or 'rerun' to do it again"
                )
            decision = decide(history, store, run, request, time.time())
            if decision is None:
                assert history.finished is not None  # else there was an attempt to be made
                return RunOutcome(status=RunStatus(history.finished.data["status"]))
            opened = _OpenRun(run, store, runtime, heartbeat, history, decision, hooks, listeners)
            opened.taken_in = taken_in
            span = hooks.span("themis.run", {"themis.run_id": run.run_id})
            with slowed_collector(), span, on_signals(stopper):
                return await opened.carry_out(provenance, stopper)
        except StoreUnavailableError as error:
            aside = "" if opened is None else opened.aside
            raise StoreFailedError(
                f"run {run.run_id} stopped, since its store failed: {error}{aside}",
                run_id=run.run_id,
            ) from error


class _OpenRun:
    """A run while it is being worked on."""

    def __init__(
        self,
        run: CompiledRun,
        store: RunStore,
        runtime: RuntimeConfig,
        heartbeat: Heartbeat,
        history: History,
        decision: Decision,
        hooks: Hooks,
        listeners: Sequence[Listener],
    ) -> None:
        self._run = run
        self._store = store
        self._runtime = runtime
        self._decision = decision
        self._ledger: Ledger = history.ledger
        self._has_history = history.last_seq > 0
        self._headline = LiveHeadline(
            run.snapshot,
            has_history=self._has_history,
            corpus={one.name: one.capabilities for one in run.metrics if one.facts.corpus},
        )
        self._hooks = hooks
        self._listeners = listeners
        self._in_flight: dict[int, CaseRun] = {}
        self._lost: dict[int, CaseRun] = {}
        self._abort = asyncio.Event()
        self.taken_in: str | None = None
        """What to tell of what an earlier run had set aside."""
        self.aside = ""
        """What to tell of what the store could not keep."""
        self._left = decision.done.count(0)
        """Cases of this attempt that have not been gone through to their end."""
        self._journal = JournalWriter(
            store,
            heartbeat,
            last_seq=history.last_seq,
            committed=self._committed,
            retry_attempts=runtime.store_retry_attempts,
            retry_delay=runtime.store_retry_delay,
        )
        self._session = RunSession(
            run,
            runtime,
            journal=self._journal,
            attempt=decision.attempt,
            hooks=hooks,
            spent=_spent_before(store, run, runtime, history, decision.attempt),
        )
        if history.ledger.anything_generated() and not decision.attempt.starts_afresh:
            self._session.shared_failures.answered_before(run.generator)

    async def carry_out(self, provenance: Provenance, stopper: Stopper) -> RunOutcome:
        """Do the work and journal how it ended."""
        session = self._session
        stopper.attach(session.stop, self._stop_at_once)
        try:
            self._begin(provenance)
            await self._move()
            for text in notes_at_end(session):
                session.note(text)
            status = self._status()
            await self._say_the_end(status)
            await self._journal.flush()
            return RunOutcome(
                status=status,
                fatal=session.fatal,
                spent_out=session.spent_out,
                put_off=session.put_off,
            )
        except BaseException:
            if self._journal.error is None:
                session.record(EventKind.RUN_FINISHED, self._end_data(RunStatus.INTERRUPTED))
            raise
        finally:
            stopper.detach()
            await self._journal.close()
            if isinstance(self._journal.error, StoreUnavailableError):
                unkept = self._journal.numbered_unkept()
                self.aside = set_aside(self._store, self._run.run_id, unkept)
            session.close()
            await self._close_components()

    async def _say_the_end(self, status: RunStatus) -> None:
        """Journal how the attempt ended and, where no case of it is left, its headline."""
        event = self._session.event(EventKind.RUN_FINISHED, self._end_data(status))
        if self._is_whole:
            await self._headline.keep_in(event, self._journal, self._store, self._session)
        self._journal.append(event)

    def _begin(self, provenance: Provenance) -> None:
        decision = self._decision
        data = {
            **decision.attempt.data(),
            "n_cases": self._run.snapshot.n_cases,
            "done_cases": sum(decision.done),
            "provenance": provenance.plain(),
        }
        if decision.resumed:
            data["resumed"] = True
        self._session.record(EventKind.RUN_STARTED, data)
        for text in (*notes_at_start(self._session), *filter(None, [self.taken_in])):
            self._session.note(text)

    async def _move(self) -> None:
        """Keep cases moving until all are done, or no longer than the grace time after a stop."""
        working = asyncio.create_task(self._work())
        failed = asyncio.create_task(self._journal.failed.wait())
        grace = asyncio.create_task(self._grace())
        clock = asyncio.create_task(self._watch_the_clock())
        try:
            await asyncio.wait({working, failed, grace}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (failed, grace, clock):
                task.cancel()
            if not working.done():
                self._session.stop()  # a component that swallows its cancellation gets no new work
                working.cancel()
            await asyncio.gather(failed, grace, clock, working, return_exceptions=True)
        try:
            await working
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
        except BaseExceptionGroup as group:
            raise _first(group) from None
        # Twice, for a case's end is queued only once all its steps are committed: the first commits
        # the steps, and has their ends queued before it returns; the second commits these.
        await self._journal.flush()
        await self._journal.flush()

    async def _work(self) -> None:
        reader = CaseReader(
            self._session,
            self._store,
            done=self._decision.done,
            has_history=self._has_history,
            stale=self._decision.stale,
        )
        feed = CaseFeed(self._session, reader)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.fill())
            for _ in range(min(self._runtime.max_concurrent_tasks, len(self._decision.done))):
                tasks.create_task(self._walk_cases(feed))
        await self._journal.flush()
        while self._lost and not self._session.stopping:
            await self._walk_lost()

    async def _walk_cases(self, feed: CaseFeed) -> None:
        async for case in feed:
            ended = await self._walk(case)
            self._left -= ended
            await self._journal.room()

    async def _walk(self, case: CaseRun) -> bool:
        """Go through a case and return whether it came to its end."""
        self._in_flight[case.index] = case
        attributes = {"themis.case_id": case.case.case_id}
        try:
            if self._hooks.traces:
                with self._hooks.span("themis.case", attributes):
                    await walk(case, run_or_reuse)
            else:
                await walk(case, run_or_reuse)
        except WorkStoppedError:
            return False
        except KeyboardInterrupt:  # within a component that held the loop up
            self._stop_at_once()
            return False
        finally:
            if not case.changed:  # nothing will be committed that takes it off
                self._in_flight.pop(case.index, None)
        return True

    async def _walk_lost(self) -> None:
        """Walk cases again, from the steps that another process committed before this one did."""
        lost, self._lost = self._lost, {}
        for index, case in lost.items():
            events = await self._journal.run_after_commits(partial(self._events_of, index))
            case.end, case.lost = None, False
            load_prior_events(case, events)
            ended = await self._walk(case)
            self._left += not ended
        await self._journal.flush()

    def _events_of(self, index: int) -> list[Event]:
        """Runs in the journal's thread."""
        return list(self._store.case_events(self._run.run_id, index, index + 1))

    def _committed(self, events: Sequence[Event], lost: Sequence[ArtifactKey]) -> None:
        """Called on the loop with events that are durable."""
        losers = set(lost)
        uncommitted = self._session.uncommitted
        for event in events:
            index = event.case_index
            if index is None:
                continue
            if event.artifact is not None and event.key in uncommitted:
                self._session.committed(event.key, lost=event.key in losers)
            if event.kind is _FINISHED:
                self._ledger.record(event)
                self._in_flight.pop(index, None)
                continue
            case = self._in_flight.get(index)
            if case is None:
                continue
            case.pending -= 1
            if losers and event.key in losers:
                case.lost = True
                self._lost[index] = case
            if not case.pending:
                case.close()
        self._headline.committed(events, losers)
        for listener in self._listeners:
            listener(events)
        if self._hooks.listens:
            self._hooks.committed(events)

    async def _grace(self) -> None:
        """Return when a stop was asked for and the time for what is in flight is over."""
        await self._session.stopped()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._runtime.drain_timeout):
                await self._abort.wait()

    async def _watch_the_clock(self) -> None:
        """Stop the run when the seconds of its budget are over."""
        await self._session.budget.keep_time()
        allowed = (self._runtime.budget or {})["seconds"]
        self._session.stop_for_budget(f"the budget of {allowed:g} seconds is over")

    def _stop_at_once(self) -> None:
        self._session.stop(at_once=True)
        self._abort.set()

    def _status(self) -> RunStatus:
        if self._session.fatal is not None:
            return RunStatus.FAILED
        if not self._is_whole:
            return RunStatus.INTERRUPTED
        if not self._ledger.anything_generated():
            return RunStatus.FAILED
        if self._ledger.any_outage():
            return RunStatus.PARTIAL_FAILURE
        return RunStatus.COMPLETED

    @property
    def _is_whole(self) -> bool:
        """Whether every case of the attempt came to its end."""
        return not self._left and not self._lost

    def _end_data(self, status: RunStatus) -> dict[str, Any]:
        whole = self._is_whole
        data: dict[str, Any] = {
            "status": status.value,
            "through": self._ledger.through() if whole else None,
        }
        if self._session.fatal is not None:
            data["reason"] = self._session.fatal.message
        elif (why := self._session.spent_out or self._session.put_off) is not None and not whole:
            data["reason"] = why
        data["spent"] = self._session.budget.spent.plain()
        return data

    async def _close_components(self) -> None:
        """Let components close what they opened on this loop."""
        for bound in self._run.bounds():
            close = bound.capabilities.aclose
            if close is None:
                continue
            with suppress(Exception):  # the results are safe; a client that cannot close is no news
                promise = close()
                if inspect.isawaitable(promise):
                    await promise


def _spent_before(
    store: RunStore, run: CompiledRun, runtime: RuntimeConfig, history: History, attempt: Attempt
) -> Spent:
    """Return what earlier processes spent of the budget; a rerun or replay has one of its own."""
    if not runtime.budget:
        return NOTHING
    only = None if attempt.mode == "run" else attempt.number
    return history.spending.total(store, run.run_id, attempt=only)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group: the others are its echoes."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
