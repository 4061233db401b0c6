"""Attempts: a rerun runs again, earlier ones stay readable, interrupted ones go on as they were."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment, table
from themis import Experiment, InMemoryRunStore, RunResult, sqlite_store
from themis.core.protocols import RunStore
from themis.testing.crash import CrashHarness
from themis.testing.scripted import CallLog, CountingMetric, CountingParser, ScriptedGenerator

RERUN = {"existing_run_policy": "rerun"}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made: RunStore = (
        InMemoryRunStore() if request.param == "memory" else sqlite_store(tmp_path / "runs.db")
    )
    yield made
    made.close()


def _outputs(result: RunResult) -> list[Any]:
    return [case.generated_candidates[0].final_output for case in result.cases]


class _Counting(ScriptedGenerator):
    """Answers with the number of the call, so that no two are alike, and stops its run if told."""

    def __init__(self) -> None:
        super().__init__(lambda case, ctx: len(self.calls), fingerprint="counting")
        self.stop_at = 0
        self.task: list[asyncio.Task[Any]] = []

    async def _pass_time(self) -> None:
        if self.count() == self.stop_at:
            self.task.pop().cancel()
            await asyncio.sleep(60)


def _stopped_after(one: Experiment, calls: int, generator: _Counting, **options: Any) -> None:
    """Run and stop at once when the generator has been asked so many times more."""
    generator.stop_at = generator.count() + calls

    async def live() -> None:
        task = asyncio.ensure_future(one.run_async(**options))
        generator.task.append(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(live())


def test_a_rerun_makes_every_step_anew_and_the_earlier_attempt_stays_readable(
    store: RunStore,
) -> None:
    generator, parser, metric = _Counting(), CountingParser(), CountingMetric()
    one = experiment(generator, parser=parser, metrics=[metric], max_concurrent_tasks=1)
    first = one.run(store=store)
    before = (_outputs(first), table(first), first.state, list(first.cases))
    again = one.run(store=store, runtime=one.runtime.model_copy(update=RERUN))
    assert (generator.count(), len(parser.calls), len(metric.calls)) == (6, 6, 6)
    assert _outputs(again) == [4, 5, 6]
    assert again.progress.stages["generate"].reused == 0
    earlier = RunResult.of(store, f"{first.run_id}@1")
    assert (_outputs(earlier), table(earlier)) == before[:2]
    assert list(earlier.cases) == before[3]
    assert earlier.state == before[2].model_copy(update={"later_attempts": [2]})
    assert _outputs(RunResult.of(store, f"{first.run_id}@2")) == [4, 5, 6]
    assert _outputs(one.run(store=store)) == [4, 5, 6]
    assert generator.count() == 6


def test_an_interrupted_rerun_goes_on_as_a_rerun_with_what_is_missing_only(
    store: RunStore,
) -> None:
    generator = _Counting()
    one = experiment(generator, cases=6, max_concurrent_tasks=1)
    one.run(store=store)
    _stopped_after(one, 4, generator, store=store, runtime=one.runtime.model_copy(update=RERUN))
    assert generator.count() == 10
    result = one.run(store=store)  # by whatever name it is gone on with
    assert generator.count() == 13  # the one in flight, and the two not begun
    assert _outputs(result) == [7, 8, 9, 11, 12, 13]
    assert [(about["mode"], about["status"]) for about in result.state.attempts] == [
        ("run", "completed"),
        ("rerun", "completed"),
    ]
    assert _outputs(RunResult.of(store, f"{result.run_id}@1")) == [1, 2, 3, 4, 5, 6]
    rerun = one.run(store=store, runtime=one.runtime.model_copy(update=RERUN))
    assert generator.count() == 19  # a finished one is begun anew
    assert rerun.state.attempt == 3


SCRIPT = """
import asyncio, json, sys
from tests.support.runs import experiment
from themis import sqlite_store
from themis.core.config import StorageConfig
from themis.testing.scripted import CallLog, ScriptedGenerator

settings = json.loads(sys.argv[1])
log = CallLog(settings["log"])
one = experiment(
    ScriptedGenerator(
        lambda case, ctx: len(log.lines()), fingerprint="lines", log=settings["log"],
        wait=lambda: asyncio.sleep(0.01),
    ),
    cases=30,
    storage=StorageConfig(store="sqlite", parameters={"path": settings["db"]}),
    max_concurrent_tasks=2,
    existing_run_policy=settings["policy"],
)
result = one.run(progress=False, reuse=settings["reuse"])
open(settings["out"], "w").write(json.dumps({
    "run_id": result.run_id,
    "outputs": [case.generated_candidates[0].final_output for case in result.cases],
    "attempts": [[about["mode"], about["status"]] for about in result.state.attempts],
}))
"""


class _Killed:
    """A run in processes of its own, that are killed on demand."""

    def __init__(self, harness: CrashHarness, folder: Path) -> None:
        self.harness, self.folder = harness, folder
        self.log = CallLog(folder / "calls.log")
        (folder / "script.py").write_text(SCRIPT)

    def run(
        self, policy: str = "auto", reuse: str | None = None, kill_after: int | None = None
    ) -> Any:
        settings = {
            "log": str(self.log.path),
            "db": str(self.folder / "runs.db"),
            "out": str(self.folder / "out.json"),
            "policy": policy,
            "reuse": reuse,
        }
        outcome = self.harness.run(
            self.folder / "script.py",
            [json.dumps(settings)],
            log=self.log.path,
            kill_after=kill_after,
        )
        if kill_after is not None:
            assert outcome.killed, outcome.error
            return None
        assert outcome.status == 0, outcome.error
        return json.loads((self.folder / "out.json").read_text())

    def calls(self) -> int:
        return len(self.log.lines())


@pytest.mark.parametrize(
    ("policy", "reuse", "mode"), [("rerun", None, "rerun"), ("auto", "none", "run")]
)
def test_a_killed_attempt_that_starts_afresh_goes_on_and_repeats_only_what_was_in_flight(
    harness: CrashHarness, tmp_path: Path, policy: str, reuse: str | None, mode: str
) -> None:
    killed = _Killed(harness, tmp_path)
    first = killed.run()
    assert killed.calls() == 30
    killed.run(policy, reuse, kill_after=20)
    at_the_kill = killed.calls()
    last = killed.run()
    assert last["attempts"] == [["run", "completed"], [mode, "completed"]]
    assert min(last["outputs"]) > 30  # nothing of the first attempt is left in the second
    # Two were in flight; what was made and not committed yet is a few at most.
    assert 60 <= killed.calls() < at_the_kill + 30
    assert (
        sum(output <= at_the_kill for output in last["outputs"])
        == at_the_kill + 30 - killed.calls()
    )
    store = sqlite_store(tmp_path / "runs.db")
    assert _outputs(RunResult.of(store, f"{first['run_id']}@1")) == first["outputs"]
    store.close()


def test_equal_questions_are_asked_once_in_a_rerun_as_in_a_run(store: RunStore) -> None:
    generator = _Counting()
    data = [dataset(40, dataset_id="a"), dataset(40, dataset_id="b")]
    one = experiment(generator, cases=data, max_concurrent_tasks=1)
    one.run(store=store)
    assert generator.count() == 40
    result = one.run(store=store, runtime=one.runtime.model_copy(update=RERUN))
    assert generator.count() == 80
    assert _outputs(result) == [*range(41, 81), *range(41, 81)]


def test_an_interrupted_rerun_goes_on_with_the_answers_it_had_to_equal_questions(
    store: RunStore,
) -> None:
    generator = _Counting()
    data = [dataset(4, dataset_id="a"), dataset(4, dataset_id="b")]
    one = experiment(generator, cases=data, max_concurrent_tasks=1)
    one.run(store=store)
    _stopped_after(one, 3, generator, store=store, runtime=one.runtime.model_copy(update=RERUN))
    result = one.run(store=store)
    assert _outputs(result) == [5, 6, 8, 9, 5, 6, 8, 9]
    assert generator.count() == 9
