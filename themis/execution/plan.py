"""What a run would do, and why: the figures of a dry walk, put together by stage and reason.

Counts are exact, and are of steps. A step that rests on one not taken yet counts as one to run; had
its input come out as some earlier one did, the run would find its result in the store after all.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from themis.core.base import RunId
from themis.core.config import RuntimeConfig
from themis.core.errors import RunNotFoundError
from themis.core.events import Stage, StepAddress
from themis.core.plans import PlanReason, RunPlan, StagePlan
from themis.core.protocols import RunStore
from themis.core.snapshot import RunSnapshot
from themis.execution.collector import slowed_collector
from themis.execution.foresight import Fate, ForeseenCase, Foresight
from themis.execution.history import decide, read_history
from themis.execution.step import Step
from themis.execution.wish import Wish
from themis.planning.estimate import Spending
from themis.planning.expected import expected_steps
from themis.planning.reasons import NOTHING_KNOWN, Cause, Causes, Comparison, Looked
from themis.planning.related import related_run
from themis.planning.work import CompiledRun

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


async def foresee(
    run: CompiledRun,
    store: RunStore | None,
    *,
    runtime: RuntimeConfig,
    wish: Wish,
    compare_with: str | None = None,
) -> RunPlan:
    """Return what a run would do, spending and writing nothing.

    Args:
        run: the run.
        store: where earlier work is; None for nowhere.
        runtime: the settings it would run under.
        wish: what would be asked for.
        compare_with: id of the run that reasons compare with; by default the closest one kept.

    Raises:
        RunNotFoundError: there is no run to compare with under that id.
    """
    if store is None:
        store = cast(RunStore, _NoStore())
    history = read_history(store, run)
    decision = decide(history, store, run, wish, time.time())
    plan = _Plan(run, _compared(store, run, compare_with), Spending(run.generator, runtime.prices))
    if decision is None:
        plan.take_done(run.snapshot.n_cases, wish.until)
        return plan.result()
    plan.take_done(sum(decision.done), decision.attempt.until)
    foresight = Foresight(run, store, runtime, decision)
    try:
        with slowed_collector():
            async for chunk in foresight.cases(has_history=history.last_seq > 0):
                plan.take(chunk, decision.attempt.until)
    finally:
        foresight.close()
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

    def __init__(self, run: CompiledRun, comparison: Comparison | None, spending: Spending) -> None:
        self.notes: list[str] = []
        self._run = run
        self._comparison = comparison
        self._spending = spending
        self._fates: defaultdict[str, Counter[Fate]] = defaultdict(Counter)
        self._groups: dict[_Group, tuple[list[int], list[str]]] = {}
        self._open_ended: set[str] = set()
        """Stages of which more may have to run than can be known."""
        self._expected_steps: dict[
            tuple[Stage, tuple[int, ...] | None], tuple[StepAddress, ...]
        ] = {}

    def take_done(self, cases: int, until: Stage) -> None:
        """Count cases that have nothing left to do, without the calls of their judged metrics."""
        for address in self._expected(until, None):
            self._count(_bucket(address), Fate.DONE, cases)

    def take(self, chunk: Sequence[ForeseenCase], until: Stage) -> None:
        """Count the steps of some cases, and find the reasons of those that would run."""
        unexplained: list[tuple[ForeseenCase, StepAddress, Step]] = []
        for case in chunk:
            for address, seen in case.steps.items():
                stage, _, _, call = address
                self._count(stage if call is None else CALLS, seen.fate)
                if seen.fate is not Fate.TO_RUN:
                    continue
                if address.stage is Stage.GENERATE and seen.step is not None:
                    self._spending.add(seen.step.tokens)
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
        counts = {bucket: fates[Fate.TO_RUN] for bucket, fates in self._fates.items()}
        folding = {metric.name for metric in self._run.metrics if metric.facts.of is not None}
        for group, (count, _) in self._groups.items():
            if group.component in folding:  # it rests on scores, and is none that others rest on
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
                to_run=self._fates[bucket][Fate.TO_RUN],
                reused=self._fates[bucket][Fate.REUSED],
                done=self._fates[bucket][Fate.DONE],
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

    def _take_unseen(self, case: ForeseenCase, until: Stage) -> None:
        """Count the steps that the walk did not come to, since what they rest on is not there."""
        if not case.unknown:
            return
        for address in self._expected(until, case.chosen):
            if address in case.steps:
                continue
            bucket = _bucket(address)
            self._count(bucket, Fate.TO_RUN)
            self._put(address, None, _depends(_upstream(case, address)), case)
            if address.stage is Stage.JUDGE:  # it asks at least one call, and who knows how many
                self._count(CALLS, Fate.TO_RUN)
                self._put(address._replace(call=""), None, _depends(_upstream(case, address)), case)
                self._open_ended.add(CALLS)
        if self._run.selector is not None and case.chosen is None:
            if self._run.judges:  # it may ask them, and who knows how often
                self._count(CALLS, Fate.TO_RUN, 0)
                self._open_ended.add(CALLS)
            if self._run.reducer is None:
                below = {stage.value for stage in Stage if stage.order > Stage.REDUCE.order}
                self._open_ended |= below & set(self._fates)

    def _explained(
        self, steps: Sequence[tuple[ForeseenCase, StepAddress, Step]]
    ) -> Iterable[Causes]:
        comparison = self._comparison
        if comparison is None:
            return [NOTHING_KNOWN] * len(steps)
        if comparison.before.run_id == self._run.run_id:
            return [(_unfinished(case, address),) for case, address, _ in steps]
        return comparison.causes(
            [
                (case.index, Looked(address, step.bound, case.dataset_id, case.case))
                for case, address, step in steps
            ]
        )

    def _count(self, bucket: str, fate: Fate, count: int = 1) -> None:
        self._fates[bucket][fate] += count

    def _put(
        self, address: StepAddress, step: Step | None, causes: Causes, case: ForeseenCase
    ) -> None:
        group = _Group(_bucket(address), address.component, causes)
        kept = self._groups.get(group)
        if kept is None:
            kept = self._groups[group] = ([0], [])
        kept[0][0] += 1
        name = case.case.case_id
        if len(kept[1]) < _EXAMPLES and name not in kept[1]:
            kept[1].append(name)

    def _expected(self, until: Stage, chosen: tuple[int, ...] | None) -> tuple[StepAddress, ...]:
        found = self._expected_steps.get((until, chosen))
        if found is None:
            found = tuple(
                address
                for address in expected_steps(self._run, chosen)
                if address.stage.order <= until.order
            )
            self._expected_steps[until, chosen] = found
        return found


def _compared(store: RunStore, run: CompiledRun, named: str | None) -> Comparison | None:
    before = (
        related_run(store, run.snapshot) if named is None else store.load_snapshot(RunId(named))
    )
    return None if before is None else Comparison(store, before, run)


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


def _upstream(case: ForeseenCase, address: StepAddress) -> Stage:
    """Return the first stage of which something is not there that a step rests on."""
    known = {one.stage for one in case.unknown}
    below = (stage for stage in Stage if stage in known and stage.order < address.stage.order)
    return next(below, Stage.GENERATE)


def _unfinished(case: ForeseenCase, address: StepAddress) -> Cause:
    """Return why the run itself, which asks for a step, has not got it."""
    said = case.said_finished
    if said is not None and Stage(said.data["through"]).order < address.stage.order:
        return Cause("not_reached", f"the run was to go through '{said.data['through']}' only")
    return Cause("never_finished", "not finished: the run was interrupted, or is under way")


class _NoStore:
    """Stands where no store is there yet: it has nothing."""

    def runs(self) -> Sequence[Any]:
        """Return none."""
        return []

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Refuse, since it has none."""
        raise RunNotFoundError(run_id)

    def lookup(self, keys: Any) -> Mapping[Any, Any]:
        """Find nothing."""
        return {}

    def events(self, run_id: RunId, **_: Any) -> Iterator[Any]:
        """Have none."""
        return iter(())

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Any]:
        """Have none."""
        return iter(())
