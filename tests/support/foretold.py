"""A plan held against the run that follows it: counts of steps by stage, made and reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from themis import Experiment, InMemoryRunStore, RunResult
from themis.core.base import ArtifactKey, RunId
from themis.core.events import Artifact, EventKind
from themis.core.run_plan import RunPlan
from themis.core.store import RunStore

Counts = dict[str, tuple[int, int]]
"""By stage, and "judge_calls": steps made, and steps reused."""


def foretold(plan: RunPlan) -> Counts:
    """Return a plan's figures, stages without any left out."""
    counts = {name: (one.to_run, one.reused) for name, one in plan.stages.items()}
    return {name: pair for name, pair in counts.items() if pair != (0, 0)}


def happened(store: RunStore, run_id: str, *, after: int = 0) -> Counts:
    """Return what a run's journal tells of its steps, beyond a number."""
    made: Counter[str] = Counter()
    reused: Counter[str] = Counter()
    for event in store.events(RunId(run_id), after=after):
        if event.address is None or event.kind is EventKind.STEP_DROPPED:
            continue
        name = event.address.stage.value if event.address.call is None else "judge_calls"
        (reused if event.reused else made)[name] += 1
    return {name: (made[name], reused[name]) for name in made | reused}


def last_seq(store: RunStore, run_id: str) -> int:
    """Return the number of a run's last event."""
    return max((event.seq for event in store.events(RunId(run_id))), default=0)


def planned_run(
    experiment: Experiment, store: RunStore, **options: Any
) -> tuple[RunPlan, RunResult]:
    """Plan, run, and check that what was foretold is what happened."""
    plan = experiment.plan(store=store, **options)
    for stage in plan.stages.values():
        assert sum(reason.count for reason in stage.reasons) == stage.to_run
        assert all(reason.text for reason in stage.reasons)
    seq = last_seq(store, plan.run_id)
    result = experiment.run(store=store, progress=False, **options)
    assert result.run_id == plan.run_id
    assert foretold(plan) == happened(store, plan.run_id, after=seq)
    return plan, result


def why(plan: RunPlan, stage: str) -> dict[str, int]:
    """Return the reasons of a stage in words, with how many steps each has."""
    return {reason.text: reason.count for reason in plan.stages[stage].reasons}


class WatchedStore(InMemoryRunStore):
    """A store that counts what is read, and refuses to be written while it is only to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.read_only = False

    def _written(self) -> None:
        assert not self.read_only, "who only looks writes nothing"

    def save_snapshot(self, snapshot: Any) -> Any:
        self._written()
        return super().save_snapshot(snapshot)

    def append(self, run_id: RunId, events: Sequence[Any], *, epoch: int) -> Any:
        self._written()
        return super().append(run_id, events, epoch=epoch)

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[Any]) -> None:
        self._written()
        super().save_cases(fingerprint, start, cases)

    def put_blob(self, data: bytes) -> str:
        self._written()
        return super().put_blob(data)

    def lease(self, *args: Any, **more: Any) -> Any:
        self._written()
        return super().lease(*args, **more)

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        self.reads["lookup"] += 1
        return super().lookup(keys)

    def case_events(self, run_id: RunId, start: int, stop: int) -> Any:
        self.reads["case_events"] += 1
        return super().case_events(run_id, start, stop)

    def cases(self, fingerprint: str, start: int, stop: int) -> Any:
        self.reads["cases"] += 1
        return super().cases(fingerprint, start, stop)

    def events(self, run_id: RunId, **more: Any) -> Any:
        self.reads["events"] += 1
        return super().events(run_id, **more)
