"""A run gone through dry: every step is asked for as in a run, and none is taken.

It is the very walk of execution, over cases whose work is refused: keys, look-ups and the rule of
what may be reused are those of a run, so that what is foreseen cannot drift from what is done. What
rests on something that is not there yet is not asked for, since its key is not known: it counts as
to be taken. Nothing is written, no lease is held, and no generator, parser, reducer, metric's score
or judge is called; a judged metric is asked what it would ask where its subject is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

from themis.core.base import ArtifactKey
from themis.core.config import RuntimeConfig
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.models import Case
from themis.core.protocols import RunStore
from themis.core.results import StepFailure
from themis.execution.case import walk
from themis.execution.engine import Engine
from themis.execution.feed import CaseFeed
from themis.execution.flight import CaseRun
from themis.execution.history import Decision
from themis.execution.hooks import Hooks
from themis.execution.journal import Journal
from themis.execution.step import Step, Taken
from themis.planning.reasons import Cause, Causes, failed_before
from themis.planning.work import Bound, CompiledRun

T = TypeVar("T")
_CHUNK = 512
_NOT_THERE = StepFailure(stage="", category="not_taken", message="it is not known before the run")


class Fate(StrEnum):
    """What a run would do about a step."""

    DONE = "done"
    REUSED = "reused"
    TO_RUN = "to_run"


class Foreseen(NamedTuple):
    """One step, as it is foreseen."""

    fate: Fate
    step: Step | None = None
    """Of a step that would run: what it is."""
    causes: Causes = ()
    """Why it would run, as far as the run itself says it."""
    rests_on: Stage | None = None
    """The stage of what it rests on, where that is not there yet."""


_DONE, _REUSED = Foreseen(Fate.DONE), Foreseen(Fate.REUSED)


class ForeseenCase(CaseRun):
    """A case gone through dry: it takes note of each step that it is asked for."""

    __slots__ = ("_waiting", "chosen", "steps", "unknown")

    engine: Foresight

    def __init__(self, engine: Foresight, case: Case, **about: Any) -> None:
        super().__init__(engine, case, **about)
        self.steps: dict[StepAddress, Foreseen] = {}
        """Every step that was asked for."""
        self.unknown: set[StepAddress] = set()
        """Those of them whose results are not there."""
        self.chosen: tuple[int, ...] | None = None
        """Samples that a selector chose, where that is known."""
        self._waiting: dict[StepAddress, Stage] = {}

    def earlier(self, step: Step) -> Artifact | None:
        """Return what this run has of a step already, and take note of it."""
        if self.unknown and (stage := self._rests_on(step.address)) is not None:
            self._waiting[step.address] = stage
            step.known_absent = True  # its key is made of what is not there: no store has it
            return None
        artifact = CaseRun.earlier(self, step) if self.prior else None
        if artifact is not None:
            self._found(step.address, _DONE, artifact)
        return artifact

    def emit(self, event: Event) -> None:
        """Take note that a step was found in the store, or that its metric does not come to ask."""
        address = event.address
        assert address is not None
        if event.kind is EventKind.STEP_FAILED:
            said = event.data["failure"]["message"]
            causes = (Cause("cannot_ask", f"it would fail before it asks a judge: {said}"),)
            self.steps[address] = Foreseen(Fate.TO_RUN, causes=causes)
            self.unknown.add(address)
        elif event.key is not None:
            self._found(address, _REUSED, event.found)

    def finish(self) -> None:
        """Say nothing: nothing was done."""

    def instead_of_work(self, step: Step) -> Taken:
        """Take note that a step would run."""
        stage = self._waiting.get(step.address)
        shared = stage is None and step.paid and self.engine.will_have(self, step.key)
        if shared:
            self.steps[step.address] = _REUSED
        else:
            causes = () if stage is not None else self._causes(step)
            self.steps[step.address] = Foreseen(Fate.TO_RUN, step, causes, stage)
        self.unknown.add(step.address)
        return Taken(failure=_NOT_THERE)

    def known(self, key: ArtifactKey) -> Artifact | None:
        """Return what the store was seen to have under a key."""
        return self.found.get(key) or self.engine.kept.get(key)

    def _found(self, address: StepAddress, seen: Foreseen, artifact: Artifact | None) -> None:
        self.steps[address] = seen
        if address.stage is Stage.SELECT and address.component is None and artifact is not None:
            self.chosen = tuple(artifact.payload["chosen"])

    def _rests_on(self, address: StepAddress) -> Stage | None:
        """Return the stage of what a step needs and is not there, where something is not."""
        stage, sample, component, call = address
        of = self.engine.folds.get(component or "") if stage is Stage.SCORE else None
        if of is not None:
            scores = (one for one in self.unknown if one.stage is Stage.SCORE)
            return Stage.SCORE if any(one.component == of for one in scores) else None
        if stage is Stage.SCORE:
            parser = self.engine.reads_from[component or ""]
            parsed = StepAddress(Stage.PARSE, sample, parser)
            return Stage.PARSE if parsed in self.unknown else None
        if stage is Stage.REDUCE and any(one.stage is Stage.PARSE for one in self.unknown):
            return Stage.PARSE
        if stage is Stage.JUDGE and call is None:
            asked = (one for one in self.unknown if one.call is not None)
            if any(one[:3] == (Stage.JUDGE, sample, component) for one in asked):
                return Stage.JUDGE
        return None

    def _causes(self, step: Step) -> Causes:
        """Return why a step would run, as far as the run's own journal and its parts say it."""
        attempt = self.engine.attempt
        if attempt.redoes(step.address):
            return (Cause("again", f"asked to be done again ({attempt.mode})"),)
        event = self.prior.get(step.address)
        if event is not None and event.kind is EventKind.STEP_FAILED:
            return (failed_before(event.data["failure"]["category"]),)
        artifact = self.known(step.key)
        if artifact is None and event is not None and event.key == step.key:
            artifact = event.artifact
        if artifact is not None:
            return (self.engine.refusal(artifact, step.bound),)
        if event is not None and event.key is not None:
            return (Cause("input_changed", "what it is given came out otherwise"),)
        return ()


class Foresight(Engine):
    """The engine of a run that is only looked at: it reads a store and forgets what it is told."""

    def __init__(
        self, run: CompiledRun, store: RunStore, runtime: RuntimeConfig, decision: Decision
    ) -> None:
        super().__init__(
            run,
            runtime,
            journal=cast(Journal, _Unwritten()),
            attempt=decision.attempt,
            hooks=Hooks(None, None),
        )
        self._store = store
        self._decision = decision
        self._asked: dict[ArtifactKey, asyncio.Future[Artifact | None]] = {}
        self.kept: dict[ArtifactKey, Artifact] = {}
        """What look-ups found for the cases gone through now."""
        self.folds = {metric.name: metric.facts.of for metric in run.metrics}
        """By set metric, the metric whose scores it folds."""
        self.reads_from = {metric.name: metric.ref.parser for metric in run.metrics}
        self._to_be_made: set[ArtifactKey] = set()

    async def cases(self, *, has_history: bool) -> AsyncIterator[list[ForeseenCase]]:
        """Go through the cases that are not done, and yield them chunk by chunk.

        Raises:
            DefinitionError: the data changed since it was compiled.
            StoreError: the store cannot be asked.
        """
        feed = _Looking(
            self,
            self._store,
            done=self._decision.done,
            has_history=has_history,
            stale=self._decision.stale,
        )
        async for chunk in feed.chunks(_CHUNK):
            await asyncio.gather(*(walk(case) for case in chunk))
            yield chunk
            for case in chunk:  # its steps refer to it: a circle, left for the collector otherwise
                case.steps.clear()
            self.kept.clear()
            if len(self.run.datasets) == 1:  # keys are shared within a case, or by equal case ids
                self._to_be_made.clear()

    async def lookup(self, key: ArtifactKey) -> Artifact | None:
        """Return what the store has under a key; what a chunk's cases ask goes as one question."""
        asked = self._asked.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[key] = loop.create_future()
            if len(self._asked) == 1:
                loop.call_soon(loop.call_soon, self._answer)  # once all that is ready has asked
        return await asked

    def _answer(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            found = self._store.lookup(list(asked))
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            for future in asked.values():
                future.set_exception(error)
            return
        self.kept.update(found)
        for key, future in asked.items():
            future.set_result(found.get(key))

    def note(self, text: str) -> None:
        """Say nothing: a plan's reasons say it, step by step."""

    def will_have(self, case: ForeseenCase, key: ArtifactKey) -> bool:
        """Return whether another step of the run will have made the same; take note of this one."""
        if key in self._to_be_made:
            return True
        self._to_be_made.add(key)
        return False

    def refusal(self, artifact: Artifact, bound: Bound) -> Cause:
        """Return why an artifact that is there does not stand for its step."""
        if not bound.across_runs and artifact.run_id != self.run.run_id:
            return Cause(
                "this_run_only",
                f"answers of {bound.ref.role} '{bound.name}' hold for the run that got them only: "
                "nothing vouches for its version",
            )
        if artifact.code != self.code_of(bound):
            what = f"{bound.ref.role} '{bound.name}' ({_code_name(bound.component)})"
            return Cause("code_changed", f"code of {what} changed")
        if self.attempt.starts_afresh:
            return Cause("fresh", "nothing made before is to be reused")
        if self.attempt.is_too_old(artifact):
            return Cause("too_old", f"older than may be reused ({self.attempt.reuse})")
        return Cause("replaced", "it was to be replaced, and that failed")


class _Looking(CaseFeed):
    """The feed of a run that is only looked at: it keeps no case."""

    case_type = ForeseenCase
    keeps_cases = False

    async def chunks(self, size: int) -> AsyncIterator[list[ForeseenCase]]:
        """Yield the cases that are not done, ready to be gone through."""
        for source in self._sources():
            cases = enumerate(source.dataset)
            while chunk := list(islice(cases, size)):
                made = await self._prepare(source, chunk)
                if made:
                    yield cast(list[ForeseenCase], made)


class _Unwritten:
    """Stands where an open run has its journal: it asks at once and writes nothing."""

    async def ask(self, function: Callable[[], T]) -> T:
        """Ask."""
        return function()

    def append(self, event: Event) -> None:
        """Forget it."""


def _code_name(component: Any) -> str:
    """Return the name of what the user wrote: a class, or the function that a shipped one calls."""
    function: Any = getattr(component, "users_function", None)
    function = getattr(function, "func", function)  # of a partial
    named: Any = function if hasattr(function, "__qualname__") else type(component)
    return f"{named.__module__}.{named.__qualname__}"
