"""What the steps of one open run share, and how the run is told to stop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from themis.core.base import ArtifactKey
from themis.core.config import RuntimeConfig
from themis.core.errors import ComponentError, LeaseLostError, StoreError, did_you_mean
from themis.core.events import Artifact, Event, EventKind, Stage
from themis.core.results import StepFailure
from themis.execution.attempt import Attempt
from themis.execution.budget import NOTHING, Budget, Spent
from themis.execution.calls import DaemonThreads
from themis.execution.failures import WorkStoppedError
from themis.execution.hooks import Hooks
from themis.execution.journal import Journal
from themis.execution.limits import Limits
from themis.execution.processes import ProcessPool, pool_for, pool_name
from themis.execution.retry import CallPolicy, policies
from themis.execution.step import Step
from themis.planning.prices import Price, find_price, price_names
from themis.planning.work import Bound, CompiledRun

_LOG = logging.getLogger("themis")
PASS_THROUGH = (WorkStoppedError, StoreError, LeaseLostError)
"""Not failures of a step: they end the case where it stands."""


class Engine:
    """An open run: its compiled definition, its attempt, and the means to take steps."""

    def __init__(
        self,
        run: CompiledRun,
        runtime: RuntimeConfig,
        *,
        journal: Journal,
        attempt: Attempt,
        hooks: Hooks,
        spent: Spent = NOTHING,
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
        unjudged = [one for one in run.metrics if not one.facts.judged]
        self.scored = [one for one in unjudged if one.facts.of is None]
        """Metrics of one subject each that ask no judge."""
        self.folded = [(one, one.facts.of) for one in run.metrics if one.facts.of is not None]
        """Metrics that fold another one's scores of a case's samples, with its name."""
        judged = [one for one in run.metrics if one.facts.judged]
        self.judged = [one for one in judged if one.facts.subject != "candidates"]
        """Judged metrics of one subject each."""
        self.judged_together = [one for one in judged if one.facts.subject == "candidates"]
        """Judged metrics of all of a case's candidates."""
        self.hooks = hooks
        self.limits = Limits(runtime)
        self.policies: dict[Stage, CallPolicy] = policies(runtime)
        self.threads = DaemonThreads()
        self.closed_judges: dict[str, str] = {}
        """Judges whose every call would fail alike, with the message of the first."""
        self.fatal: StepFailure | None = None
        """The failure that stopped the run early."""
        self.spent_out: str | None = None
        """Why the budget stopped the run early."""
        self.budget = Budget(
            runtime.budget, before=spent, draw=self._draw, stop=self.stop_for_budget
        )
        self._prices: dict[int, Price | None] = {}
        self._open: set[int] = set()
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._stop = asyncio.Event()
        self.at_once = False
        """Whether the run stops without finishing what is in flight."""
        self._notes: set[str] = set()
        self._away: dict[int, bool] = {}
        self._pool: ProcessPool | None = None
        self.flights: dict[ArtifactKey, asyncio.Future[None]] = {}
        """Paid work being done now; who needs the same waits for it to land."""
        self.uncommitted: dict[ArtifactKey, Artifact] = {}
        """What paid work gave, until a look-up can find it."""
        self.recent: dict[ArtifactKey, None] = {}
        """Keys of paid work committed of late: a look-up made beforehand may have missed them."""
        self._recent_most = 4096 * run.snapshot.identity.num_samples
        self._silent: Counter[str] = Counter()

    @property
    def stopping(self) -> bool:
        """Whether no new work may begin."""
        return self._stop.is_set()

    def stop(self, *, at_once: bool = False) -> None:
        """Begin no new work; what is in flight may finish, unless all is to stop at once."""
        self.at_once = self.at_once or at_once
        self._stop.set()
        self.budget.stopped()
        self.limits.close()

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

    def is_open(self, bound: Bound) -> bool:
        """Return whether a component has got ready."""
        return id(bound) in self._open

    async def open(self, bound: Bound) -> None:
        """Let a component get ready, once, before its first call and outside of its timeout."""
        if id(bound) in self._open:
            return
        opening = self._opening.get(id(bound))
        if opening is None:
            opener = getattr(bound.component, "aopen", None)
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

    def price_of(self, bound: Bound) -> Price | None:
        """Return the price of what a component asks; None where it is unknown."""
        found = self._prices.get(id(bound), self)
        if found is self:
            found = self._prices[id(bound)] = find_price(bound.component, self.runtime.prices)
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

    def committed(self, key: ArtifactKey) -> None:
        """Take note that a step's artifact can be found by look-up now."""
        if self.uncommitted.pop(key, None) is not None:
            self.recent[key] = None
            if len(self.recent) > self._recent_most:
                del self.recent[next(iter(self.recent))]

    def close_judge(self, judge: str, message: str) -> None:
        """Ask a judge no more: each of its calls would fail alike."""
        if judge not in self.closed_judges:
            self.closed_judges[judge] = message
            self.note(f"judge '{judge}' is asked no more, since every call would fail: {message}")

    def count_silence(self, judge: str) -> None:
        """Count a call that a judge gave no answer to."""
        self._silent[judge] += 1

    def note_what_was_missed(self) -> None:
        """Note, at the end, judges that were out and calls that never returned."""
        for judge, count in sorted(self._silent.items()):
            self.note(
                f"judge '{judge}' gave no answer to {count} call{'s' if count > 1 else ''}: "
                "without it a metric has fewer judgments (themis rejudge asks again) or, where it "
                "needs them all, is an error (the next run asks again)"
            )
        if count := self.threads.abandoned:
            self.note(
                f"{count} call{'s' if count > 1 else ''} in threads had not returned when "
                "given up on; each holds its thread until it returns"
            )

    def note_what_is_nobodys(self) -> None:
        """Note settings for endpoints and models that no component of the run asks."""
        asking = [self.run.generator, *self.run.judges.values()]
        endpoints = {one.provider_key for one in asking if one.provider_key is not None}
        models = {str(name) for one in asking for name in price_names(one.component)}
        for setting, known in (
            ("provider_concurrency", endpoints),
            ("provider_rate_limits", endpoints),
            ("prices", models),
        ):
            for name in getattr(self.runtime, setting):
                if name not in known:
                    self.note(
                        f"{setting} names '{name}', which nothing in this run asks, so that it has "
                        f"no effect{did_you_mean(name, known) if known else ''}"
                    )

    def note_what_was_made_elsewhere(self) -> None:
        """Note that a component gives what nobody was asked for in this run."""
        for bound in self.run.bounds():
            said = getattr(bound.component, "made_elsewhere", None)
            if isinstance(said, str):
                self.note(said)

    def note_what_is_not_billed(self) -> None:
        """Note what a budget of dollars cannot know of."""
        count = self.budget.before.unpriced
        if count and "dollars" in (self.runtime.budget or {}):
            self.note(
                f"{count} earlier call{'s' if count > 1 else ''} of this run had no known price "
                "when made, and are not in its budget of dollars"
            )

    def note(self, text: str) -> None:
        """Journal something the user should know, once."""
        if text in self._notes:
            return
        self._notes.add(text)
        _LOG.warning("%s", text)
        self.journal.append(
            Event(
                kind=EventKind.NOTE,
                attempt=self.attempt.number,
                at=time.time(),
                data={"text": text},
            )
        )

    def runs_away(self, bound: Bound, method: Callable[..., Any]) -> bool:
        """Return whether the method of a component that may wait runs in a thread."""
        found = self._away.get(id(bound))
        if found is None:
            found = not inspect.iscoroutinefunction(method) and bound.code is not None
            self._away[id(bound)] = found
        return found

    def method(self, bound: Bound, name: str, *, of: Any = None) -> Callable[..., Any]:
        """Return how a method of a pure component is called: as it is, or in a worker process.

        Args:
            bound: the component.
            name: the method.
            of: an object that the component made, in its place.
        """
        method = getattr(bound.component if of is None else of, name)
        if not bound.cpu_bound or inspect.iscoroutinefunction(method):
            return cast("Callable[..., Any]", method)
        if self._pool is None:
            self._pool = pool_for(self.run, self.runtime)
        pool = self._pool

        def call(*args: Any) -> Any:
            if self.stopping:
                raise WorkStoppedError
            return pool.call(pool_name(bound), name, args, of=of)

        return call

    def code_of(self, bound: Bound) -> str | None:
        """Return what an artifact's ``code`` must be for it to be reused; None where none need be.

        It names the run where the component's answers are good for one run only.
        """
        if bound.across_runs:
            return bound.code
        return " ".join([f"run:{self.run.run_id}", *([bound.code] if bound.code else [])])

    def accepts(self, artifact: Artifact, step: Step) -> bool:
        """Return whether what the store has under a step's key is reused for it."""
        found = self.attempt.accepts(artifact, step.address, self.run.run_id)
        return found and self.may_reuse(artifact, step.bound)

    def may_reuse(self, artifact: Artifact, bound: Bound) -> bool:
        """Return whether an artifact still says what its component would say today."""
        if not bound.across_runs and artifact.run_id != self.run.run_id:
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
        self.journal.append(
            Event(
                kind=EventKind.BUDGET_DRAWN,
                attempt=self.attempt.number,
                at=time.time(),
                data=data,
            )
        )
        await self.journal.flush()

    async def lookup(self, key: ArtifactKey) -> Artifact | None:
        """Return what the store has under a key."""
        return await self.journal.lookup(key)


async def _awaited(method: Callable[[], Any]) -> None:
    """Await what a component does to get ready; nothing it raises may end the loop."""
    try:
        promise = method()
        if inspect.isawaitable(promise):
            await promise
    except (SystemExit, KeyboardInterrupt) as error:
        raise ComponentError(f"it tried to exit the process ({type(error).__name__})") from error
