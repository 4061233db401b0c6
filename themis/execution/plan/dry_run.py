"""A dry run: every step is come to as in a run, and none is done.

It is the very walk of execution, with another way of taking a step (``DryRun.plan_step``). Keys,
look-ups and the rule of what may be reused are those of a run, so that the plan cannot drift from
what is done. What rests on something that is not there yet is not looked up, since its key is not
known: it counts as to be run. Nothing is written, no lease is held, and no generator, parser,
reducer, metric's score or judge is called; a judged metric is asked what it would ask where its
subject is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import NamedTuple

from themis.core.base import ArtifactKey
from themis.core.config import RuntimeConfig
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.pipeline import part_of
from themis.core.results import StepFailure
from themis.core.store import RunStore
from themis.execution.case import walk
from themis.execution.case_run import CaseRun
from themis.execution.feed import CaseReader
from themis.execution.history import Decision
from themis.execution.hooks import Hooks
from themis.execution.run_or_reuse import artifact_of_this_run, is_reusable, may_be_in_store
from themis.execution.session import RunSession
from themis.execution.step import Step, StepResult
from themis.execution.unwritten import UnwrittenJournal
from themis.planning.compare.reasons import Cause, Causes, failed_before
from themis.planning.compiled_run import BoundComponent, CompiledRun

_CHUNK = 512
_NOT_THERE = StepFailure(stage="", category="not_taken", message="it is not known before the run")


class StepFate(StrEnum):
    """What a run would do about a step."""

    DONE = "done"
    REUSED = "reused"
    TO_RUN = "to_run"


class PlannedStep(NamedTuple):
    """One step, as it is foreseen."""

    fate: StepFate
    step: Step | None = None
    """Of a step that would run: what it is."""
    causes: Causes = ()
    """Why it would run, as far as the run itself says it."""
    rests_on: Stage | None = None
    """The stage of what it rests on, where that is not there yet."""


_DONE, _REUSED = PlannedStep(StepFate.DONE), PlannedStep(StepFate.REUSED)


class DryRunCase:
    """What a dry run came to know of one case."""

    __slots__ = ("case", "chosen", "steps", "unknown")

    def __init__(self, case: CaseRun) -> None:
        self.case = case
        self.steps: dict[StepAddress, PlannedStep] = {}
        """Every step that was asked for."""
        self.unknown: set[StepAddress] = set()
        """Those of them whose results are not there."""
        self.chosen: tuple[int, ...] | None = None
        """Samples that a selector chose, where that is known."""

    def note_result(self, address: StepAddress, planned: PlannedStep, artifact: Artifact) -> None:
        """Take note of a step whose result is there."""
        self.steps[address] = planned
        if address.stage is Stage.SELECT and address.component is None:
            self.chosen = tuple(artifact.payload["chosen"])

    def note_unknown(self, address: StepAddress, planned: PlannedStep) -> StepResult:
        """Take note of a step whose result is not there, and return what stands for it."""
        self.steps[address] = planned
        self.unknown.add(address)
        return StepResult(failure=_NOT_THERE)


class DryRun:
    """Goes through the cases of a run, noting of each step what the run would do about it.

    Args:
        run: the run.
        store: where earlier work is; it is only read.
        runtime: the settings it would run under.
        decision: the attempt that would be made, and the cases it need not visit.
    """

    def __init__(
        self, run: CompiledRun, store: RunStore, runtime: RuntimeConfig, decision: Decision
    ) -> None:
        self._journal = UnwrittenJournal(store, self._hear)
        self._session = RunSession(
            run,
            runtime,
            journal=self._journal,
            attempt=decision.attempt,
            hooks=Hooks(None, None),
            quiet=True,  # a plan's reasons say it, step by step
        )
        self._run = run
        self._store = store
        self._decision = decision
        self._cases: dict[int, DryRunCase] = {}
        """Those gone through now, by index."""
        self._to_be_made: set[ArtifactKey] = set()

    async def cases(self, *, has_history: bool) -> AsyncIterator[list[DryRunCase]]:
        """Go through the cases that are not done, and yield them chunk by chunk.

        Raises:
            DefinitionError: the data changed since it was compiled.
            StoreError: the store cannot be asked.
        """
        reader = CaseReader(
            self._session,
            self._store,
            done=self._decision.done,
            has_history=has_history,
            stale=self._decision.stale,
            keeps_cases=False,
        )
        async for chunk in reader.chunks(_CHUNK, _CHUNK):
            self._cases = {case.index: DryRunCase(case) for case in chunk}
            await asyncio.gather(*(walk(case, self.plan_step) for case in chunk))
            yield list(self._cases.values())
            self._cases = {}  # the journal refers to this object: what it holds would linger
            self._journal.found.clear()
            if len(self._run.datasets) == 1:  # keys are shared within a case, or by equal case ids
                self._to_be_made.clear()

    def close(self) -> None:
        """Leave nothing under way."""
        self._session.close()

    async def plan_step(self, step: Step) -> StepResult:
        """Take note of what a run would do about a step, and return its result if it is there.

        The rule of what is reused is the run's own (``run_or_reuse``); the work is left out. What
        rests on something that is not there has a key that no store has: it is not looked up.
        """
        case = step.case
        noted = self._cases[case.index]
        stage = self._rests_on(noted, step.address) if noted.unknown else None
        if stage is not None:
            return noted.note_unknown(step.address, PlannedStep(StepFate.TO_RUN, step, (), stage))
        artifact = artifact_of_this_run(step) if case.prior else None
        if artifact is not None:
            noted.note_result(step.address, _DONE, artifact)
            return StepResult(artifact=artifact)
        artifact = case.found.get(step.key)
        redone = self._session.attempt.redoes(step.address)
        if artifact is None and may_be_in_store(step, redone=redone):
            artifact = await self._journal.lookup(step.key)
        if artifact is not None and is_reusable(step, artifact):
            noted.note_result(step.address, _REUSED, artifact)
            return StepResult(artifact=artifact)
        if step.paid and step.key in self._to_be_made:  # another step of the run will have made it
            return noted.note_unknown(step.address, _REUSED)
        if step.paid:
            self._to_be_made.add(step.key)
        planned = PlannedStep(StepFate.TO_RUN, step, self._causes(step))
        return noted.note_unknown(step.address, planned)

    def _hear(self, event: Event) -> None:
        """Take note that a judged metric's own code fails before it comes to ask."""
        if event.kind is not EventKind.STEP_FAILED or event.address is None:
            return
        assert event.case_index is not None
        said = event.data["failure"]["message"]
        causes = (Cause("cannot_ask", f"it would fail before it asks a judge: {said}"),)
        planned = PlannedStep(StepFate.TO_RUN, causes=causes)
        self._cases[event.case_index].note_unknown(event.address, planned)

    def _rests_on(self, noted: DryRunCase, address: StepAddress) -> Stage | None:
        """Return the stage of what a step needs and is not there, where something is not."""
        for one in self._run.pipeline.rests_on(address):
            if one in noted.unknown:
                return one.stage
        if address.call is None:  # a metric's aggregate also rests on the calls that it made
            for one in noted.unknown:
                if one.call is not None and part_of(one) == address:
                    return one.stage
        return None

    def _causes(self, step: Step) -> Causes:
        """Return why a step would run, as far as the run's own journal and its parts say it."""
        attempt, case = self._session.attempt, step.case
        if attempt.redoes(step.address):
            return (Cause("again", f"asked to be done again ({attempt.mode})"),)
        event = case.prior.get(step.address)
        if event is not None and event.kind is EventKind.STEP_FAILED:
            return (failed_before(event.data["failure"]["category"]),)
        artifact = case.found.get(step.key) or self._journal.found.get(step.key)
        if artifact is None and event is not None and event.key == step.key:
            artifact = event.artifact
        if artifact is not None:
            return (self._refusal(artifact, step.bound),)
        if event is not None and event.key is not None:
            return (Cause("input_changed", "what it is given came out otherwise"),)
        return ()

    def _refusal(self, artifact: Artifact, bound: BoundComponent) -> Cause:
        """Return why an artifact that is there does not stand for its step."""
        attempt = self._session.attempt
        if not bound.capabilities.reuse_across_runs and artifact.run_id != self._run.run_id:
            return Cause(
                "this_run_only",
                f"answers of {bound.ref.role} '{bound.name}' hold for the run that got them only: "
                "nothing vouches for its version",
            )
        if artifact.code != self._session.code_of(bound):
            what = f"{bound.ref.role} '{bound.name}' ({bound.behind})"
            return Cause("code_changed", f"code of {what} changed")
        if attempt.starts_afresh:
            return Cause("fresh", "nothing made before is to be reused")
        if attempt.is_too_old(artifact):
            return Cause("too_old", f"older than may be reused ({attempt.reuse})")
        return Cause("replaced", "it was to be replaced, and that failed")
