"""Attempts: a rerun runs again, earlier ones stay readable, interrupted ones go on as they were.

What a rerun asks it asks once, where two steps share a key and after a kill as well.

Covers: themis.execution.attempt, themis.execution.history
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_threads import CASES, in_threads
from tests.support.runs import dataset, experiment, runtime, table
from themis import Experiment, InMemoryRunStore, RunResult, get_execution_state, sqlite_store, use
from themis.core.base import ArtifactKey, RunId
from themis.core.errors import ProviderError, RunStoppedError, StoreUnavailableError
from themis.core.events import Event, EventKind
from themis.core.models import GenerationResult, ReducedCandidate
from themis.core.store import RunStore
from themis.testing.crash import CrashHarness
from themis.testing.scripted import (
    CallLog,
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

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


def _rerun(one: Experiment) -> Any:
    return one.runtime.model_copy(update={"existing_run_policy": "rerun"})


def test_new_answers_never_stand_beside_the_scores_of_the_old_ones() -> None:
    generator, judge = ScriptedGenerator(), ScriptedJudge()
    one = experiment(
        generator,
        parser=CountingParser(),
        metrics=[CountingMetric(), use("builtin/llm_rubric", rubric="Good?")],
        judges=[judge],
    )
    assert len(table(one.run())) == 6
    generator.answers = {f"c{i}": "wrong" for i in range(3)}
    judge.answer = "VERDICT: FAIL"
    rerun = one.run(until_stage="generate", runtime=_rerun(one))
    assert [case.generated_candidates[0].final_output for case in rerun.cases] == ["wrong"] * 3
    assert list(rerun.score_rows()) == []
    assert all(case.scores == [] and case.parsed_outputs == {} for case in rerun.cases)
    assert all(case.evaluation_executions == [] for case in rerun.cases)
    assert {summary.mean for summary in rerun.metrics.values()} == {None}
    assert rerun.completed_through_stage == "generate"
    after = one.run()
    assert after.status == "completed"
    assert after.completed_through_stage == "judge"
    assert [row.value for row in after.score_rows()] == [0] * 6
    assert generator.count() == 6


@pytest.mark.parametrize("role", ["generator", "selector", "reducer", "parser", "metric"])
def test_what_a_rerun_failed_at_is_tried_again_and_not_filled_with_what_it_was_to_replace(
    role: str,
) -> None:
    down = False
    tried: list[bool] = []

    def act(value: Any = 1, *_: Any) -> Any:
        if value == 1:
            tried.append(down)
            if down:  # a parser's ValueError would be the model's failure
                raise (ConnectionError if role == "parser" else ValueError)("down")
        return value

    reduced = {"candidate_id": "r", "source_candidate_ids": []}
    one = {
        "generator": lambda: experiment(ScriptedGenerator(lambda case, ctx: act(case.input))),
        "selector": lambda: in_threads("selector", lambda: act() and [sample]),
        "reducer": lambda: in_threads(
            "reducer", lambda: ReducedCandidate(final_output=act(), **reduced)
        ),
        "parser": lambda: experiment(parser=CountingParser(act)),
        "metric": lambda: experiment(metrics=[CountingMetric(lambda value, _: act(value) >= 0)]),
    }[role]()
    sample = GenerationResult(candidate_id="c1-scripted#0", final_output=1)
    assert one.run().status == "completed"
    down = True
    assert one.run(runtime=_rerun(one)).status == "partial_failure"
    again = one.run()
    assert tried == [False, True, True]
    assert again.status == "partial_failure"
    assert [row.outcome for row in again.score_rows()] == CASES
    down = False
    assert one.run().status == "completed"
    assert tried == [False, True, True, False]


def test_a_run_that_was_stopped_is_complete_through_no_stage() -> None:
    generator = ScriptedGenerator(failures={"c1": ProviderError("bad key", fatal=True)})
    one = experiment(generator, max_concurrent_tasks=1)
    run_id = one.compile().run_id
    with pytest.raises(RunStoppedError):
        one.run()
    state = get_execution_state(one.store, run_id)
    assert (state.status, state.completed_through_stage) == ("failed", None)
    generator.failures = {}
    assert one.run().completed_through_stage == "judge"
    generator.failures = {"c1": ProviderError("bad key", fatal=True)}
    with pytest.raises(RunStoppedError):
        one.run(runtime=_rerun(one))
    state = get_execution_state(one.store, run_id)
    assert (state.status, state.completed_through_stage) == ("failed", None)


ONE_BY_ONE = runtime(existing_run_policy="rerun", max_concurrent_tasks=1)


class TornStore(InMemoryRunStore):
    """Keeps up to the first judge call of the second attempt, then is away: as after a kill."""

    is_away = False
    was_torn = False

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        for number, event in enumerate(events, start=1):
            asks = event.address is not None and event.address.call is not None
            if asks and event.attempt == 2 and not self.was_torn:
                super().append(run_id, events[:number], epoch=epoch)
                self.is_away = self.was_torn = True
        if self.is_away:
            raise StoreUnavailableError("the process was killed")
        return super().append(run_id, events, epoch=epoch)


def test_a_question_that_two_samples_share_is_not_asked_again_by_a_rerun_that_was_killed() -> None:
    store = TornStore()
    judge = ScriptedJudge()
    one = experiment(
        cases=1,
        samples=2,
        metrics=[use("builtin/llm_rubric", rubric="Right?")],
        judges=[judge],
    )
    assert one.run(store=store, progress=False).status == "completed"
    assert judge.count() == 1  # both samples gave one answer
    with pytest.raises(StoreUnavailableError):
        one.run(store=store, runtime=ONE_BY_ONE, progress=False)
    assert judge.count() == 2
    store.is_away = False
    result = one.run(store=store, progress=False)
    assert result.status == "completed"
    assert judge.count() == 2
    asked = [
        event
        for event in store.events(result.run_id, kinds=[EventKind.STEP_DONE])
        if event.attempt == 2 and event.address is not None and event.address.call is not None
    ]
    assert [event.address.sample for event in asked if event.address is not None] == [0, 1]
    assert [event.version for event in asked] == [1, 1]


def test_a_rerun_asks_once_what_two_datasets_share() -> None:
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0.02))
    both = [dataset(5, dataset_id=name) for name in ("one", "two")]
    one = experiment(generator, cases=both, max_concurrent_tasks=1)
    assert one.run(progress=False).status == "completed"
    assert generator.count() == 5
    assert one.run(runtime=ONE_BY_ONE, progress=False).status == "completed"
    assert generator.count() == 10


def test_a_second_rerun_really_asks_again() -> None:
    generator = ScriptedGenerator()
    one = experiment(generator, cases=3)
    for number in range(1, 4):
        assert one.run(runtime=ONE_BY_ONE, progress=False).status == "completed"
        assert generator.count() == 3 * number
