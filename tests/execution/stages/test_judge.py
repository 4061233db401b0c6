"""Judge calls are steps: counted, kept, never repeated, and never a zero when a judge is out.

Covers: themis.catalog.judged.rubrics, themis.core.contexts, themis.core.judging,
themis.core.protocols, themis.execution.stages, themis.execution.stages.judge
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, events, experiment, table
from themis import Experiment, RunResult, get_evaluation_execution, use
from themis.core.errors import ProviderError
from themis.core.events import Event, EventKind
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.testing.scripted import CallLog, ScriptedGenerator, ScriptedJudge


def _judges(n: int) -> list[ScriptedJudge]:
    return [ScriptedJudge(component_id=f"judge/{i}") for i in range(n)]


def _panel(**params: Any) -> Any:
    return use("builtin/panel_of_judges", rubric="Is it right?", name="panel", **params)


def test_four_rubrics_with_a_judge_each_lose_only_the_one_whose_judge_is_down() -> None:
    judges = _judges(4)
    judges[2].failures = ConnectionError("judge 2 is away")
    metrics = [
        use("builtin/llm_rubric", rubric="Is it right?", judge=f"judge/{i}", name=f"rubric {i}")
        for i in range(4)
    ]
    one = experiment(metrics=metrics, judges=judges, judge_retry_attempts=2)
    result = one.run()
    assert result.status == "partial_failure"
    for i in range(4):
        summary = result.metrics[f"rubric {i}"]
        if i == 2:
            assert summary.mean is None
            assert (summary.n_scored, summary.n_errors) == (0, 3)
            assert summary.bounds == [0.0, 1.0]
            assert summary.errors == {"judge": 3}
        else:
            assert summary.mean == 1.0
            assert (summary.n_scored, summary.n_errors) == (3, 0)
    errors = [row for row in result.score_rows() if row.outcome == "error"]
    assert {row.value for row in errors} == {None}
    assert all("judge 2 is away" in (row.error_message or "") for row in errors)
    assert [judge.count() for judge in judges] == [3, 3, 6, 3]
    judges[2].failures = ()
    healed = one.run()
    assert healed.status == "completed"
    assert healed.metrics["rubric 2"].mean == 1.0
    assert [judge.count() for judge in judges] == [3, 3, 9, 3]


def test_a_panel_with_one_judge_down_is_an_error() -> None:
    judges = _judges(4)
    judges[1].failures = ValueError("no")
    result = experiment(metrics=[_panel()], judges=judges).run()
    assert [row.outcome for row in result.score_rows()] == ["error"] * 3
    assert result.metrics["panel"].mean is None
    assert result.status == "partial_failure"


def test_a_panel_that_may_do_without_one_says_how_many_judged() -> None:
    judges = _judges(4)
    judges[1].failures = ValueError("no")
    judges[3].answer = "VERDICT: FAIL"
    one = experiment(metrics=[_panel(min_judges=3)], judges=judges)
    result = one.run()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == ["scored"] * 3
    assert {row.details["n_judges"] for row in rows} == {3}
    assert result.metrics["panel"].mean == pytest.approx(2 / 3)
    assert result.status == "completed"
    assert one.run().status == "completed"
    assert [judge.count() for judge in judges] == [3, 3, 3, 3]


def test_a_fatal_judge_error_closes_that_judge_only() -> None:
    judges = _judges(2)
    judges[0].failures = ProviderError("bad key", status=401, fatal=True)
    metrics = [
        use("builtin/llm_rubric", rubric="Is it right?", judge=f"judge/{i}", name=f"rubric {i}")
        for i in range(2)
    ]
    one = experiment(
        metrics=metrics, judges=judges, cases=20, max_concurrent_tasks=1, judge_retry_attempts=3
    )
    result = one.run()
    assert judges[0].count() == 1
    assert judges[1].count() == 20
    assert result.metrics["rubric 0"].errors == {"judge": 20}
    assert result.metrics["rubric 1"].mean == 1.0
    assert result.status == "partial_failure"
    judges[0].failures = ()
    assert one.run().status == "completed"
    assert judges[0].count() == 21


def test_an_answer_that_is_no_verdict_is_an_error_and_not_a_zero() -> None:
    judge = ScriptedJudge("I would rather not say.")
    result = experiment(metrics=[_panel()], judges=[judge]).run()
    rows = list(result.score_rows())
    assert [row.value for row in rows] == [None] * 3
    assert {row.error_category for row in rows} == {"unreadable_verdict"}


def test_every_judge_call_is_kept_with_prompt_and_answer() -> None:
    judges = _judges(2)
    one = experiment(metrics=[_panel()], judges=judges, cases=2)
    result = one.run()
    execution = get_evaluation_execution(one.store, result.run_id, "c1", "panel")
    assert set(execution.prompts) == set(execution.responses) == {"judge/0", "judge/1"}
    assert "Is it right?" in execution.prompts["judge/0"].text
    assert execution.aggregation is not None
    assert execution.aggregation.value == 1.0
    calls = [one for one in events(result, one.store) if one.address and one.address.call]
    assert len(calls) == 4


def test_the_same_question_of_two_metrics_is_answered_alike() -> None:
    judge = ScriptedJudge()
    metrics = [use("builtin/llm_rubric", rubric="Is it right?", name=name) for name in ("a", "b")]
    one = experiment(metrics=metrics, judges=[judge])
    result = one.run()
    assert result.metrics["a"].mean == result.metrics["b"].mean == 1.0
    assert one.run().status == "completed"


def test_another_judge_prompt_asks_again_and_another_metric_beside_does_not() -> None:
    judge = ScriptedJudge()
    rubric = use("builtin/llm_rubric", rubric="Is it right?", name="a")
    one = experiment(metrics=[rubric], judges=[judge])
    one.run()
    other = use("builtin/llm_rubric", rubric="Is it polite?", name="b")
    experiment(metrics=[rubric, other], judges=[judge]).run(store=one.store)
    assert judge.count() == 6


def test_equal_questions_are_asked_once_when_they_are_judged_again() -> None:
    """Samples of one answer, and two datasets of the same cases, put the same question."""
    judge = ScriptedJudge()
    one = experiment(
        cases=[dataset(40, dataset_id="a"), dataset(40, dataset_id="b")],
        samples=3,
        metrics=[use("builtin/llm_rubric", rubric="Is it right?", name="rubric")],
        judges=[judge],
        max_concurrent_tasks=2,
    )
    first = one.run()
    assert judge.count() == 40
    for number in (2, 3):
        assert table(one.rejudge()) == table(first)
        assert judge.count() == 40 * number


RUBRIC = use("builtin/llm_rubric", rubric="Is it right?", name="rubric")


def _outcomes(result: RunResult) -> list[str]:
    return [row.outcome for row in result.score_rows()]


def _calls(one: Experiment, result: RunResult) -> list[Event]:
    """Return the events of judge calls."""
    return [event for event in events(result, one.store) if event.address and event.address.call]


def test_two_judges_that_are_equal_in_all_but_name_are_two_votes(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "calls.log")
    judges = [
        use("themis.testing.scripted:ScriptedJudge", name=name, log=str(log.path))
        for name in ("a", "b")
    ]
    one = experiment(metrics=[_panel()], judges=judges)
    result = one.run()
    assert result.status == "completed"
    calls = _calls(one, result)
    assert [event.kind for event in calls] == [EventKind.STEP_DONE] * 6
    assert len({event.key for event in calls}) == 6
    asked = [line[2] for line in log.lines()]  # digests of judge, prompt and seed
    assert len(asked) == len(set(asked)) == 6
    for case in result.cases:
        (execution,) = case.evaluation_executions
        said = [(execution.responses[name].artifacts or {})["asked"] for name in ("a", "b")]
        assert said[0] != said[1]
        assert set(said) <= set(asked)
    assert one.run().status == "completed"
    assert len(log.lines()) == 6


async def test_equal_questions_in_flight_at_once_are_asked_once() -> None:
    judge = ScriptedJudge(wait=lambda: asyncio.sleep(0.01))
    one = experiment(
        ScriptedGenerator({f"c{i}": ["same"] * 4 for i in range(5)}),
        cases=5,
        samples=4,
        metrics=[RUBRIC, _panel()],
        judges=[judge],
    )
    result = await one.run_async()
    assert judge.count() == 5
    assert result.status == "completed"
    assert len(table(result)) == 40
    assert {row.value for row in result.score_rows()} == {1}


def test_equal_questions_that_closely_follow_each_other_are_asked_once() -> None:
    def answers(case: int) -> list[str]:
        """Answers of which most are every case's, and come a little later in each case."""
        own = [f"c{case}, {number}" for number in range(5)]
        return [*own[:case], *(f"shared, {number}" for number in range(20)), *own[case:]]

    judge = ScriptedJudge("5")
    one = experiment(
        ScriptedGenerator({f"c{i}": answers(i) for i in range(5)}),
        cases=5,
        samples=25,
        metrics=[],
        judges=[judge],
        selector=Swallowing("except Exception"),
    )
    assert one.run().status == "completed"
    assert len(set(judge.prompts)) == 45
    assert judge.count() == 45


async def test_equal_questions_that_all_fail_are_each_an_error_and_nobody_waits_for_ever() -> None:
    judge = ScriptedJudge(wait=lambda: asyncio.sleep(0.01), failures=ValueError("out"))
    one = experiment(
        ScriptedGenerator({"c0": ["same"] * 4}),
        cases=1,
        samples=4,
        metrics=[RUBRIC],
        judges=[judge],
    )
    result = await one.run_async()
    assert _outcomes(result) == ["error"] * 4
    judge.failures = ()
    assert _outcomes(await one.run_async()) == ["correct"] * 4


class Swallowing:
    """Rates every sample by a judge, and takes any trouble for a bad rating."""

    component_id = "swallowing"
    version = "1"

    def __init__(self, way: str) -> None:
        self.way = way

    def fingerprint(self) -> str:
        return "swallowing"

    async def select(self, candidates: Any, ctx: Any) -> Any:
        (judge,) = ctx.judge_models
        prompts = [RenderedJudgePrompt(text=str(one.final_output)) for one in candidates]
        if self.way == "gather":
            asked = [judge.judge(prompt) for prompt in prompts]
            rated = [
                float(answer.text) if isinstance(answer, JudgeResponse) else -1.0
                for answer in await asyncio.gather(*asked, return_exceptions=True)
            ]
        elif self.way == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(judge.judge(prompt)) for prompt in prompts]
            rated = [float(task.result().text) for task in tasks]
        elif self.way == "another exception":
            try:
                rated = [float((await judge.judge(prompt)).text) for prompt in prompts]
            except BaseException:
                raise ValueError("no rating") from None
        else:
            rated = [await self.rate(judge, prompt) for prompt in prompts]
        return [candidates[rated.index(max(rated))]]

    async def rate(self, judge: Any, prompt: RenderedJudgePrompt) -> float:
        caught = Exception if self.way == "except Exception" else BaseException
        try:
            return float((await judge.judge(prompt)).text)
        except caught:
            return -1.0


def test_an_unreadable_verdict_is_a_result_that_only_rejudging_asks_for_again() -> None:
    judge = ScriptedJudge("I would rather not say.")
    one = experiment(metrics=[RUBRIC], judges=[judge])
    first = one.run()
    assert _outcomes(first) == ["error"] * 3
    assert first.metrics["rubric"].mean is None
    assert first.status == "completed"
    journal = len(events(first, one.store))
    second = one.run()
    assert second.status == "completed"
    assert judge.count() == 3
    assert len(second.state.attempts) == 1
    assert len(events(first, one.store)) == journal
    judge.answer = "VERDICT: PASS"
    third = one.rejudge()
    assert judge.count() == 6
    assert _outcomes(third) == ["correct"] * 3


def test_a_panel_that_went_on_without_a_judge_says_so_in_the_notes() -> None:
    judges = [ScriptedJudge(component_id=f"judge/{name}") for name in ("a", "b")]
    judges[1].failures = ConnectionError("down")
    one = experiment(metrics=[_panel(min_judges=1)], judges=judges, cases=7, judge_retry_attempts=1)
    result = one.run()
    assert result.status == "completed"
    assert {row.details["n_judges"] for row in result.score_rows()} == {1}
    (note,) = result.notes
    assert "judge/b" in note
    assert "7 calls" in note
    judges[1].failures = ()
    assert one.run().status == "completed"
    assert judges[1].count() == 7
    whole = one.rejudge()
    assert {row.details["n_judges"] for row in whole.score_rows()} == {2}


def test_a_judge_that_is_asked_no_more_is_named_in_the_notes() -> None:
    judges = [ScriptedJudge(component_id=f"judge/{name}") for name in ("a", "b")]
    judges[1].failures = ProviderError("bad key", status=401, fatal=True)
    one = experiment(metrics=[_panel(min_judges=1)], judges=judges, cases=7, max_concurrent_tasks=1)
    result = one.run()
    assert judges[1].count() == 1
    assert result.status == "completed"
    assert {row.details["n_judges"] for row in result.score_rows()} == {1}
    assert all("judge/b" in note for note in result.notes)
    assert any("bad key" in note for note in result.notes)
    assert any("7 calls" in note for note in result.notes)


def test_what_rejudging_failed_at_is_asked_again_and_not_filled_with_the_old_verdict() -> None:
    judge = ScriptedJudge()
    one = experiment(metrics=[RUBRIC], judges=[judge], judge_retry_attempts=1)
    one.run()
    judge.failures = ConnectionError("down")
    assert one.rejudge().status == "partial_failure"
    again = one.run()
    assert judge.count() == 9
    assert _outcomes(again) == ["error"] * 3
    judge.failures, judge.answer = (), "VERDICT: FAIL"
    healed = one.run()
    assert healed.status == "completed"
    assert _outcomes(healed) == ["incorrect"] * 3
    assert judge.count() == 12
