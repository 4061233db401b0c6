"""What the steps of one open run share, and how the run is told to stop."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from themis.core.base import ArtifactKey
from themis.core.config import RuntimeConfig
from themis.core.daemon_threads import DaemonThreads
from themis.core.endings import note_in
from themis.core.errors import ComponentError
from themis.core.events import Artifact, Event, EventKind, Stage
from themis.core.results import StepFailure
from themis.core.shown_text import logger
from themis.execution.attempt import Attempt
from themis.execution.call_policy import CallPolicy, policies
from themis.execution.failures import WorkStoppedError
from themis.execution.hooks import Hooks
from themis.execution.journal import Journal
from themis.execution.limits.budget import NOTHING, Budget, Spent
from themis.execution.limits.endpoints import RunLimits
from themis.execution.limits.shared_failures import SharedFailures
from themis.execution.workers.process_pool import ProcessPool, pool_for, pool_name
from themis.planning.compiled_run import BoundComponent, CompiledRun
from themis.planning.prices import Price, find_price

_FREE_SECONDS = 0.001
"""What answers in less time, and is no endpoint, can be asked again at no cost."""
_LOG = logger()


class RunSession:
    """An open run: its compiled definition, its attempt, and the means to take steps.

    Args:
        run: the run.
        runtime: its settings.
        journal: what is told of it, and what asks the store.
        attempt: which of its steps are done again, and how far it goes.
        hooks: who listens and traces.
        spent: what earlier processes spent of its budget.
        quiet: whether what the user should know is journaled only, and not logged.
    """

    def __init__(
        self,
        run: CompiledRun,
        runtime: RuntimeConfig,
        *,
        journal: Journal,
        attempt: Attempt,
        hooks: Hooks,
        spent: Spent = NOTHING,
        quiet: bool = False,
    ) -> None:
        self.run = run
        self.run_id = run.run_id
        self.num_samples = run.snapshot.identity.num_samples
        self.runtime = runtime
        self.journal = journal
        self.attempt = attempt
        self.through = attempt.until.value
        self.reaches = {stage: attempt.reaches(stage) for stage in Stage}
        """Whether the attempt goes as far as a stage."""
        pipeline, metrics = run.pipeline, {one.name: one for one in run.metrics}
        self.scored = [metrics[name] for name in pipeline.scored]
        """Metrics of one subject each that ask no judge."""
        self.folded = [metrics[name] for name in pipeline.folded]
        """Metrics that fold another one's scores of a case's samples."""
        self.judged = [metrics[name] for name in pipeline.judged]
        """Judged metrics of one subject each."""
        self.judged_together = [metrics[name] for name in pipeline.judged_together]
        """Judged metrics of all of a case's candidates."""
        self.hooks = hooks
        self.limits = RunLimits(runtime, stop=self.stop_for_pause)
        self.shared_failures = SharedFailures(run.snapshot.n_cases)
        self.policies: dict[Stage, CallPolicy] = policies(runtime)
        self.threads = DaemonThreads()
        self.closed_judges: dict[str, str] = {}
        """Judges whose every call would fail alike, with the message of the first."""
        self.fatal: StepFailure | None = None
        """The failure that stopped the run early."""
        self.spent_out: str | None = None
        """Why the budget stopped the run early."""
        self.put_off: str | None = None
        """Why an endpoint's pause stopped the run early."""
        self.budget = Budget(
            runtime.budget, before=spent, draw=self._draw, stop=self.stop_for_budget
        )
        self._prices: dict[int, Price | None] = {}
        self._open: set[int] = set()
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._stop = asyncio.Event()
        self.stopping = False
        """Whether no new work may begin."""
        self.at_once = False
        """Whether the run stops without finishing what is in flight."""
        self.unequal: dict[tuple[str, str], list[Any]] = {}
        """By metric and reason, how often a score could only be 0, and an example."""
        self._notes: set[str] = set()
        self._in_thread: dict[int, bool] = {}
        self._pool: ProcessPool | None = None
        self.flights: dict[ArtifactKey, asyncio.Future[None]] = {}
        """Paid work being done now; who needs the same waits for it to land."""
        self.uncommitted: dict[ArtifactKey, Artifact] = {}
        """What paid work gave, until a look-up can find it."""
        self.recent: dict[ArtifactKey, None] = {}
        """Keys of paid work committed of late: a look-up made beforehand may have missed them."""
        self._costly: set[ArtifactKey] = set()
        """Of ``uncommitted``, what would be paid for again."""
        self._most_uncommitted = runtime.max_concurrent_tasks
        self._recent_most = 4096 * run.snapshot.identity.num_samples
        self.undecided: Counter[str] = Counter()
        """By parser or metric, the answers that it could not decide."""
        self.silent: Counter[str] = Counter()
        """By judge, the calls that it gave no answer to."""
        self.made_twice = 0
        """Calls whose answers are not used, since another run had kept another one before."""
        self._quiet = quiet

    def event(
        self, kind: EventKind, data: dict[str, Any], *, case_index: int | None = None
    ) -> Event:
        """Return an event of now, of the run itself or of a case as a whole."""
        number = self.attempt.number
        return Event(kind=kind, attempt=number, at=time.time(), case_index=case_index, data=data)

    def record(self, kind: EventKind, data: dict[str, Any]) -> None:
        """Queue an event of the run itself."""
        self.journal.append(self.event(kind, data))

    def stop(self, *, at_once: bool = False) -> None:
        """Begin no new work; what is in flight may finish, unless all is to stop at once."""
        self.at_once = self.at_once or at_once
        self.stopping = True
        self._stop.set()
        self.budget.stopped()
        self.limits.close()
        self.shared_failures.close()
        self.journal.end_waiting()

    def stop_for(self, failure: StepFailure) -> None:
        """Stop early, for a failure that every other case would share."""
        if self.fatal is None:
            self.fatal = failure
        self.stop()

    def stop_for_budget(self, reason: str) -> None:
        """Stop early, since the budget has no room for another call."""
        if self.spent_out is None:
            self.spent_out = reason
        self.stop()

    def stop_for_pause(self, reason: str) -> None:
        """Stop early, since an endpoint asked for a pause that is longer than it may be."""
        if self.put_off is None:
            self.put_off = reason
        self.stop()

    def is_open(self, bound: BoundComponent) -> bool:
        """Return whether a component has got ready."""
        return id(bound) in self._open

    async def open(self, bound: BoundComponent) -> None:
        """Let a component get ready, once, before its first call and outside of its timeout."""
        if id(bound) in self._open:
            return
        opening = self._opening.get(id(bound))
        if opening is None:
            opener = bound.capabilities.aopen
            if opener is None:
                self._open.add(id(bound))
                return
            opening = self._opening[id(bound)] = asyncio.ensure_future(_awaited(opener))
        try:
            await asyncio.shield(opening)
            self._open.add(id(bound))
        finally:
            if opening.done():  # one that failed may do better at the next try
                self._opening.pop(id(bound), None)

    def close(self) -> None:
        """Leave nothing under way."""
        for opening in self._opening.values():
            opening.cancel()
        self.threads.close()
        if self._pool is not None:
            self._pool.close()

    def price_of(self, bound: BoundComponent) -> Price | None:
        """Return the price of what a component asks; None where it is unknown."""
        found = self._prices.get(id(bound), self)
        if found is self:
            found = self._prices[id(bound)] = find_price(bound, self.runtime.prices)
        return cast("Price | None", found)

    async def stopped(self) -> None:
        """Wait until the run is told to stop."""
        await self._stop.wait()

    async def pause(self, seconds: float) -> None:
        """Wait between two tries, holding nothing; a run that stops does not wait.

        Raises:
            WorkStoppedError: the run is stopping.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
        raise WorkStoppedError

    def made(self, bound: BoundComponent, artifact: Artifact, seconds: float) -> None:
        """Take note of what paid work gave, which a look-up cannot find before it is committed."""
        self.uncommitted[artifact.key] = artifact
        if bound.capabilities.provider_key is not None or seconds >= _FREE_SECONDS:
            self._costly.add(artifact.key)
            if 2 * len(self._costly) >= self._most_uncommitted:
                self.journal.hurry()

    def committed(self, key: ArtifactKey, *, lost: bool) -> None:
        """Take note that what paid work gave, or another run kept first, can be looked up now."""
        del self.uncommitted[key]
        self._costly.discard(key)
        self.made_twice += lost
        self.recent[key] = None
        if len(self.recent) > self._recent_most:
            del self.recent[next(iter(self.recent))]

    async def wait_for_keeping(self) -> None:
        """Wait until what another paid call gives could be kept soon.

        No call begins while commits fail or are late, nor while as many answers wait for one as
        calls may be in flight: so no more than twice as many can be lost.

        Raises:
            WorkStoppedError: the run is stopping.
        """
        while len(self._costly) >= self._most_uncommitted or self.journal.is_behind():
            if self.stopping:
                raise WorkStoppedError
            await self.journal.next_commit()

    def close_judge(self, judge: str, message: str) -> None:
        """Ask a judge no more: each of its calls would fail alike."""
        if judge not in self.closed_judges:
            self.closed_judges[judge] = message
            self.note(f"judge '{judge}' is asked no more, since every call would fail: {message}")

    def count_silence(self, judge: str) -> None:
        """Count a call that a judge gave no answer to."""
        self.silent[judge] += 1

    def note_answer(self, bound: BoundComponent, artifacts: Any) -> None:
        """Tell what an adapter has to say of an answer, where it says anything."""
        if (said := note_in(artifacts)) is not None:
            self.note(f"{bound.name}: {said}")

    def count_unequal(self, metric: str, why: str, case_id: str, answer: Any, gold: Any) -> None:
        """Count a score of 0 that could be no other, with the first such case as an example."""
        example = f"case '{case_id}': {_shortly(answer)} beside {_shortly(gold)}"
        self.unequal.setdefault((metric, why), [0, example])[0] += 1

    def note(self, text: str) -> None:
        """Journal something the user should know, once."""
        if text in self._notes:
            return
        self._notes.add(text)
        if not self._quiet:
            _LOG.warning("%s", text)
        self.record(EventKind.NOTE, {"text": text})

    def runs_in_thread(self, bound: BoundComponent, method: Callable[..., Any]) -> bool:
        """Return whether the method of a component that may wait runs in a thread."""
        found = self._in_thread.get(id(bound))
        if found is None:
            found = not inspect.iscoroutinefunction(method) and bound.code is not None
            self._in_thread[id(bound)] = found
        return found

    def method(
        self, bound: BoundComponent, name: str, *, of: Any = None, answer: Any = None
    ) -> Callable[..., Any]:
        """Return how a method of a pure component is called: as it is, or in a worker process.

        Args:
            bound: the component.
            name: the method.
            of: an object that the component made, in its place.
            answer: what it is called on; a long one may be for a worker process.
        """
        method = getattr(bound.component if of is None else of, name)
        declared = bound.capabilities
        is_heavy = declared.cpu_bound or declared.is_long(answer)
        if not is_heavy or inspect.iscoroutinefunction(method):
            return cast("Callable[..., Any]", method)
        if self._pool is None:
            self._pool = pool_for(self.run, self.runtime)
        pool = self._pool

        def call(*args: Any) -> Any:
            if self.stopping:
                raise WorkStoppedError
            return pool.call(pool_name(bound), name, args, of=of)

        return call

    def code_of(self, bound: BoundComponent) -> str | None:
        """Return what an artifact's ``code`` must be for it to be reused; None where none need be.

        It names the run where the component's answers are good for one run only.
        """
        if bound.capabilities.reuse_across_runs:
            return bound.code
        return " ".join([f"run:{self.run.run_id}", *([bound.code] if bound.code else [])])

    def may_reuse(self, artifact: Artifact, bound: BoundComponent) -> bool:
        """Return whether an artifact still says what its component would say today."""
        if not bound.capabilities.reuse_across_runs and artifact.run_id != self.run.run_id:
            return False
        if artifact.code == self.code_of(bound):
            return True
        self.note(
            f"the code of {bound.ref.role} '{bound.name}' ({bound.behind}) "
            "changed and its fingerprint did not: its earlier results are not reused, its steps "
            "are done again (if only a value read at import differs, keep it in an attribute that "
            "fingerprint() names)"
        )
        return False

    async def _draw(self, spent: Spent) -> None:
        data = {"tokens": spent.tokens, "dollars": spent.dollars, "seconds": spent.seconds}
        self.record(EventKind.BUDGET_DRAWN, data)
        await self.journal.flush()


async def _awaited(method: Callable[[], Any]) -> None:
    """Await what a component does to get ready; nothing it raises may end the loop."""
    try:
        promise = method()
        if inspect.isawaitable(promise):
            await promise
    except (SystemExit, KeyboardInterrupt) as error:
        raise ComponentError(f"it tried to exit the process ({type(error).__name__})") from error


def _shortly(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:28]} ... {shown[-28:]}"
