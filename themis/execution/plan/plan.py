"""What a run would do, and why: the figures of a dry walk, put together by stage and reason.

Counts are exact, and are of steps. A step that rests on one not taken yet counts as one to run; had
its input come out as some earlier one did, the run would find its result in the store after all.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from themis.core.base import RunId
from themis.core.config import RuntimeConfig
from themis.core.events import Stage, StepAddress
from themis.core.run_plan import PlanReason, RunPlan, StagePlan
from themis.core.store import RunStore
from themis.execution.attempt import RunRequest
from themis.execution.collector import slowed_collector
from themis.execution.history import decide, read_history
from themis.execution.plan.dry_run import DryRun, DryRunCase, StepFate
from themis.execution.step import Step
from themis.planning.compare.closest_run import related_run
from themis.planning.compare.reasons import NOTHING_KNOWN, Cause, Causes, Looked, RunComparison
from themis.planning.compiled_run import CompiledRun
from themis.planning.estimate import Spending

CALLS = "judge_calls"
_EXAMPLES = 3
_NOUNS = {
    Stage.GENERATE: "generation",
    Stage.SELECT: "selection",
    Stage.REDUCE: "reduction",
    Stage.PARSE: "parse",
    Stage.SCORE: "score step",
    Stage.JUDGE: "judge call",
}


async def plan_run(
    run: CompiledRun,
    store: RunStore,
    *,
    runtime: RuntimeConfig,
    request: RunRequest,
    compare_with: str | None = None,
) -> RunPlan:
    """Return what a run would do, spending and writing nothing.

    Args:
        run: the run.
        store: where earlier work is.
        runtime: the settings it would run under.
        request: what would be asked for.
        compare_with: id of the run that reasons compare with; by default the closest one kept.

    Raises:
        RunNotFoundError: there is no run to compare with under that id.
    """
    history = read_history(store, run)
    decision = decide(history, store, run, request, time.time())
    plan = _Plan(run, _compared(store, run, compare_with), Spending(run.generator, runtime.prices))
    if decision is None:
        plan.take_done(run.snapshot.n_cases, request.until)
        return plan.result()
    plan.take_done(sum(decision.done), decision.attempt.until)
    dry_run = DryRun(run, store, runtime, decision)
    try:
        with slowed_collector():
            async for chunk in dry_run.cases(has_history=history.last_seq > 0):
                plan.add(chunk, decision.attempt.until)
    finally:
        dry_run.close()
    if history.last_seq and runtime.existing_run_policy == "error":
        plan.notes.append(
            "the run is in the store, and existing_run_policy is 'error': it is refused"
        )
    return plan.result()


class _Group(NamedTuple):
    """Steps of one stage that would run for the same reasons."""

    bucket: str
    component: str | None
    causes: Causes


class _Plan:
    """Adds up what is foreseen."""

    def __init__(
        self, run: CompiledRun, comparison: RunComparison | None, spending: Spending
    ) -> None:
        self.notes: list[str] = []
        self._run = run
        self._comparison = comparison
        self._spending = spending
        self._fates: defaultdict[str, Counter[StepFate]] = defaultdict(Counter)
        self._groups: dict[_Group, tuple[list[int], list[str]]] = {}
        self._open_ended: set[str] = set()
        """Stages of which more may have to run than can be known."""
        self._expected_steps: dict[
            tuple[Stage, tuple[int, ...] | None], tuple[StepAddress, ...]
        ] = {}

    def take_done(self, cases: int, until: Stage) -> None:
        """Count cases that have nothing left to do, without the calls of their judged metrics."""
        for address in self._expected(until, None):
            self._count(_bucket(address), StepFate.DONE, cases)

    def add(self, chunk: Sequence[DryRunCase], until: Stage) -> None:
        """Count the steps of some cases, and find the reasons of those that would run."""
        unexplained: list[tuple[DryRunCase, StepAddress, Step]] = []
        for case in chunk:
            for address, seen in case.steps.items():
                stage, _, _, call = address
                self._count(stage if call is None else CALLS, seen.fate)
                if seen.fate is not StepFate.TO_RUN:
                    continue
                if address.stage is Stage.GENERATE and seen.step is not None:
                    self._spending.add(seen.step.expected_tokens())
                if seen.rests_on is not None:
                    self._put(address, seen.step, _depends(seen.rests_on), case)
                elif seen.causes or seen.step is None:
                    self._put(address, seen.step, seen.causes, case)
                else:
                    unexplained.append((case, address, seen.step))
            self._take_unseen(case, until)
        for (case, address, step), causes in zip(
            unexplained, self._explained(unexplained), strict=True
        ):
            self._put(address, step, causes, case)

    def result(self) -> RunPlan:
        """Return the plan."""
        counts = {bucket: fates[StepFate.TO_RUN] for bucket, fates in self._fates.items()}
        for group, (count, _) in self._groups.items():
            if (
                group.component in self._run.pipeline.folded
            ):  # it rests on scores, and is none that others rest on
                counts[group.bucket] -= count[0]
        reasons: dict[str, list[PlanReason]] = {}
        for group, (count, cases) in self._groups.items():
            causes = [_worded(cause, counts) for cause in group.causes]
            reasons.setdefault(group.bucket, []).append(
                PlanReason(
                    causes=list(dict.fromkeys(cause.code for cause in causes)),
                    text="; ".join(cause.text for cause in causes),
                    component=group.component,
                    count=count[0],
                    cases=cases,
                )
            )
        order = [*(stage.value for stage in Stage if stage is not Stage.JUDGE), CALLS, "judge"]
        stages = {
            bucket: StagePlan(
                to_run=self._fates[bucket][StepFate.TO_RUN],
                reused=self._fates[bucket][StepFate.REUSED],
                done=self._fates[bucket][StepFate.DONE],
                at_least=bucket in self._open_ended,
                reasons=sorted(reasons.get(bucket, []), key=lambda one: -one.count),
            )
            for bucket in order
            if bucket in self._fates
        }
        before = None if self._comparison is None else self._comparison.before.run_id
        return RunPlan(
            run_id=self._run.run_id,
            n_cases=self._run.snapshot.n_cases,
            compared_with=before,
            stages=stages,
            prompt_tokens=self._spending.prompt_tokens,
            output_tokens_at_most=self._spending.output_tokens_at_most,
            cost_usd=self._spending.cost_usd,
            notes=[*self._spending.notes(), *self.notes],
        )

    def _take_unseen(self, case: DryRunCase, until: Stage) -> None:
        """Count the steps that the walk did not come to, since what they rest on is not there."""
        if not case.unknown:
            return
        for address in self._expected(until, case.chosen):
            if address in case.steps:
                continue
            bucket = _bucket(address)
            self._count(bucket, StepFate.TO_RUN)
            self._put(address, None, _depends(_upstream(case, address)), case)
            if address.stage is Stage.JUDGE:  # it asks at least one call, and who knows how many
                self._count(CALLS, StepFate.TO_RUN)
                self._put(address._replace(call=""), None, _depends(_upstream(case, address)), case)
                self._open_ended.add(CALLS)
        if self._run.pipeline.selects and case.chosen is None:
            if self._run.judges:  # it may ask them, and who knows how often
                self._count(CALLS, StepFate.TO_RUN, 0)
                self._open_ended.add(CALLS)
            if self._run.pipeline.decides_subjects:
                below = {stage.value for stage in Stage if stage.order > Stage.REDUCE.order}
                self._open_ended |= below & set(self._fates)

    def _explained(self, steps: Sequence[tuple[DryRunCase, StepAddress, Step]]) -> Iterable[Causes]:
        comparison = self._comparison
        if comparison is None:
            return [NOTHING_KNOWN] * len(steps)
        if comparison.before.run_id == self._run.run_id:
            return [(_unfinished(case, address),) for case, address, _ in steps]
        return comparison.causes(
            [
                (
                    noted.case.index,
                    Looked(address, step.bound, noted.case.dataset_id, noted.case.case),
                )
                for noted, address, step in steps
            ]
        )

    def _count(self, bucket: str, fate: StepFate, count: int = 1) -> None:
        self._fates[bucket][fate] += count

    def _put(
        self, address: StepAddress, step: Step | None, causes: Causes, case: DryRunCase
    ) -> None:
        group = _Group(_bucket(address), address.component, causes)
        kept = self._groups.get(group)
        if kept is None:
            kept = self._groups[group] = ([0], [])
        kept[0][0] += 1
        name = case.case.case.case_id
        if len(kept[1]) < _EXAMPLES and name not in kept[1]:
            kept[1].append(name)

    def _expected(self, until: Stage, chosen: tuple[int, ...] | None) -> tuple[StepAddress, ...]:
        found = self._expected_steps.get((until, chosen))
        if found is None:
            found = tuple(
                address
                for address in self._run.pipeline.steps(chosen)
                if address.stage.order <= until.order
            )
            self._expected_steps[until, chosen] = found
        return found


def _compared(store: RunStore, run: CompiledRun, named: str | None) -> RunComparison | None:
    before = (
        related_run(store, run.snapshot) if named is None else store.load_snapshot(RunId(named))
    )
    return None if before is None else RunComparison(store, before, run)


def _bucket(address: StepAddress) -> str:
    """Return what a step is counted under: its stage, which is a string like another, or calls."""
    return address.stage if address.call is None else CALLS


@lru_cache
def _depends(stage: Stage) -> Causes:
    return (Cause("depends", stage.value),)


def _worded(cause: Cause, to_run: Mapping[str, int]) -> Cause:
    """Say what a step rests on, and how many of it there are to be made."""
    if cause.code != "depends":
        return cause
    stage = Stage(cause.text)
    count = to_run.get(CALLS if stage is Stage.JUDGE else stage.value, 0)
    return Cause("depends", f"depends on {count:,} new {_NOUNS[stage]}{'s' if count != 1 else ''}")


def _upstream(case: DryRunCase, address: StepAddress) -> Stage:
    """Return the first stage of which something is not there that a step rests on."""
    known = {one.stage for one in case.unknown}
    below = (stage for stage in Stage if stage in known and stage.order < address.stage.order)
    return next(below, Stage.GENERATE)


def _unfinished(case: DryRunCase, address: StepAddress) -> Cause:
    """Return why the run itself, which asks for a step, has not got it."""
    said = case.case.said_finished
    if said is not None and Stage(said.data["through"]).order < address.stage.order:
        return Cause("not_reached", f"the run was to go through '{said.data['through']}' only")
    return Cause("never_finished", "not finished: the run was interrupted, or is under way")
