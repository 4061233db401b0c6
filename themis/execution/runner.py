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
from themis.core.kept import Lease
from themis.core.protocols import Listener, RunStore, TracingProvider
from themis.core.results import RunStatus, StepFailure
from themis.core.snapshot import Provenance
from themis.execution.attempt import Attempt
from themis.execution.budget import NOTHING, Spent
from themis.execution.case import walk
from themis.execution.collector import slowed_collector
from themis.execution.engine import Engine
from themis.execution.failures import WorkStoppedError
from themis.execution.feed import CaseFeed, recall
from themis.execution.flight import CaseRun
from themis.execution.headline import LiveHeadline
from themis.execution.history import Decision, History, Ledger, decide, read_history
from themis.execution.hooks import Hooks
from themis.execution.journal import Journal
from themis.execution.ownership import give_back, take_in_turn
from themis.execution.stopping import Stopper, on_signals
from themis.execution.wish import Wish
from themis.planning.work import CompiledRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an execution ended.

    Attributes:
        status: how the run stands.
        fatal: the failure that stopped it early, if one did.
        spent_out: why its budget stopped it early, if it did.
    """

    status: RunStatus
    fatal: StepFailure | None = None
    spent_out: str | None = None


async def execute(
    run: CompiledRun,
    store: RunStore,
    *,
    runtime: RuntimeConfig,
    wish: Wish,
    provenance: Provenance,
    stopper: Stopper,
    listeners: Sequence[Listener] = (),
    subscribers: Sequence[Any] | None = None,
    tracing: TracingProvider | None = None,
) -> Ended:
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
    lease = await take_in_turn(store, run.run_id, wait=runtime.owner_wait, stopper=stopper)
    if lease is None:
        return Ended(status=RunStatus.INTERRUPTED)
    try:
        history = read_history(store, run)
        if history.last_seq and runtime.existing_run_policy == "error":
            raise RunExistsError(
                f"run {run.run_id} is in the store already and existing_run_policy is 'error'; "
                "set it to 'auto' to go on with it or 'rerun' to do it again"
            )
        decision = decide(history, store, run, wish, time.time())
        if decision is None:
            assert history.finished is not None  # else there was an attempt to be made
            return Ended(status=RunStatus(history.finished.data["status"]))
        opened = _OpenRun(run, store, runtime, lease, history, decision, hooks, listeners)
        span = hooks.span("themis.run", {"themis.run_id": run.run_id})
        with slowed_collector(), span, on_signals(stopper):
            return await opened.carry_out(provenance, stopper)
    except StoreUnavailableError as error:
        raise StoreFailedError(
            f"run {run.run_id} stopped, since its store failed: {error}", run_id=run.run_id
        ) from error
    finally:
        give_back(store, lease)


class _OpenRun:
    """A run while it is being worked on."""

    def __init__(
        self,
        run: CompiledRun,
        store: RunStore,
        runtime: RuntimeConfig,
        lease: Lease,
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
            corpus={one.name: one.component for one in run.metrics if one.facts.corpus},
        )
        self._hooks = hooks
        self._listeners = listeners
        self._in_flight: dict[int, CaseRun] = {}
        self._lost: dict[int, CaseRun] = {}
        self._abort = asyncio.Event()
        self._left = decision.done.count(0)
        """Cases of this attempt that have not been gone through to their end."""
        self._journal = Journal(
            store,
            lease,
            last_seq=history.last_seq,
            committed=self._committed,
            retry_attempts=runtime.store_retry_attempts,
            retry_delay=runtime.store_retry_delay,
        )
        self._engine = Engine(
            run,
            runtime,
            journal=self._journal,
            attempt=decision.attempt,
            hooks=hooks,
            spent=_spent_before(store, run, runtime, history, decision.attempt),
        )

    async def carry_out(self, provenance: Provenance, stopper: Stopper) -> Ended:
        """Do the work and journal how it ended."""
        engine = self._engine
        stopper.attach(engine.stop, self._stop_at_once)
        try:
            self._begin(provenance)
            await self._move()
            engine.note_what_was_missed()
            status = self._status()
            await self._say_the_end(status)
            await self._journal.flush()
            return Ended(status=status, fatal=engine.fatal, spent_out=engine.spent_out)
        except BaseException:
            if self._journal.error is None:
                self._say(EventKind.RUN_FINISHED, self._end_data(RunStatus.INTERRUPTED))
            raise
        finally:
            stopper.detach()
            await self._journal.close()
            engine.close()
            await self._close_components()

    async def _say_the_end(self, status: RunStatus) -> None:
        """Journal how the attempt ended and, where no case of it is left, its headline."""
        event = self._event(EventKind.RUN_FINISHED, self._end_data(status))
        if self._is_whole:
            await self._headline.keep_in(event, self._journal, self._store, self._engine)
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
        self._say(EventKind.RUN_STARTED, data)
        self._engine.note_what_was_made_elsewhere()
        self._engine.note_what_is_nobodys()
        self._engine.note_what_is_not_billed()

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
                self._engine.stop()  # a component that swallows its cancellation gets no new work
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
        await self._journal.flush()
        await self._journal.flush()  # the ends of cases, queued by the commits of their steps

    async def _work(self) -> None:
        feed = CaseFeed(
            self._engine,
            self._store,
            done=self._decision.done,
            has_history=self._has_history,
            stale=self._decision.stale,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.fill())
            for _ in range(min(self._runtime.max_concurrent_tasks, len(self._decision.done))):
                tasks.create_task(self._walk_cases(feed))
        await self._journal.flush()
        while self._lost and not self._engine.stopping:
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
                    await walk(case)
            else:
                await walk(case)
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
        """Go again through cases of which another process committed a step first."""
        lost, self._lost = self._lost, {}
        for index, case in lost.items():
            events = await self._journal.request(partial(self._events_of, index))
            case.end, case.lost = None, False
            recall(case, events)
            ended = await self._walk(case)
            self._left += not ended
        await self._journal.flush()

    def _events_of(self, index: int) -> list[Event]:
        """Runs in the journal's thread."""
        return list(self._store.case_events(self._run.run_id, index, index + 1))

    def _committed(self, events: Sequence[Event], lost: Sequence[ArtifactKey]) -> None:
        """Called on the loop with events that are durable."""
        losers = set(lost)
        for event in events:
            index = event.case_index
            if event.key is not None and event.artifact is not None:
                self._engine.committed(event.key)
            if index is None:
                continue
            if event.kind is EventKind.CASE_FINISHED:
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
        await self._engine.stopped()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._runtime.drain_timeout):
                await self._abort.wait()

    async def _watch_the_clock(self) -> None:
        """Stop the run when the seconds of its budget are over."""
        await self._engine.budget.keep_time()
        allowed = (self._runtime.budget or {})["seconds"]
        self._engine.stop_for_budget(f"the budget of {allowed:g} seconds is over")

    def _stop_at_once(self) -> None:
        self._engine.stop(at_once=True)
        self._abort.set()

    def _status(self) -> RunStatus:
        if self._engine.fatal is not None:
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
        if self._engine.fatal is not None:
            data["reason"] = self._engine.fatal.message
        elif self._engine.spent_out is not None and not whole:
            data["reason"] = self._engine.spent_out
        data["spent"] = self._engine.budget.spent.plain()
        return data

    def _say(self, kind: EventKind, data: dict[str, Any]) -> None:
        self._journal.append(self._event(kind, data))

    def _event(self, kind: EventKind, data: dict[str, Any]) -> Event:
        return Event(kind=kind, attempt=self._decision.attempt.number, at=time.time(), data=data)

    async def _close_components(self) -> None:
        """Let components close what they opened on this loop."""
        for bound in self._run.bounds():
            close = getattr(bound.component, "aclose", None)
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
    return history.bill.total(store, run.run_id, attempt=only)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group: the others are its echoes."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
