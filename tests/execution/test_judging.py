"""Judge calls are steps: counted, kept, never repeated, and never a zero when a judge is out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runs import dataset, events, experiment, table
from themis import get_evaluation_execution, use
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge


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


def test_best_of_n_asks_once_for_each_answer_and_keeps_the_best() -> None:
    generator = ScriptedGenerator({"c0": [5, 0, 7], "c1": [1, 8, 9]})

    def rate(prompt: Any, seed: Any) -> str:
        answer = prompt.text.partition("The answer to rate:")[2]
        return "VERDICT: 9" if "\n0\n" in answer or "\n1\n" in answer else "VERDICT: 2"

    judge = ScriptedJudge(rate)
    one = experiment(generator, cases=2, samples=3, judges=[judge], selector="builtin/best_of_n")
    result = one.run()
    assert judge.count() == 6
    assert [row.value for row in result.score_rows()] == [1, 1]
    assert len(result.cases[0].selected_candidate_ids or []) == 1
    assert one.run().status == "completed"
    assert judge.count() == 6
    selecting = [
        one
        for one in events(result, one.store)
        if one.address and one.address.stage is Stage.SELECT and one.address.call
    ]
    assert len(selecting) == 6


def test_a_selector_that_puts_a_question_twice_gets_one_answer() -> None:
    judge = ScriptedJudge("VERDICT: 5")
    one = experiment(
        ScriptedGenerator({"c0": [3, 3, 3]}),
        cases=1,
        samples=3,
        judges=[judge],
        selector="builtin/best_of_n",
    )
    assert one.run().status == "completed"
    assert judge.count() == 1


def test_a_selectors_judge_call_is_tried_again_like_any_judge_call() -> None:
    judge = ScriptedJudge("VERDICT: 5", failures=[ProviderError("busy", status=503)])
    one = experiment(
        ScriptedGenerator({"c0": [1, 2]}),
        cases=1,
        samples=2,
        judges=[judge],
        selector="builtin/best_of_n",
        judge_retry_attempts=2,
    )
    assert one.run().status == "completed"
    assert judge.count() == 3


def test_a_selector_whose_judge_is_out_resumes_with_the_calls_that_are_missing() -> None:
    judge = ScriptedJudge("VERDICT: 5", failures=[None, ValueError("out")])
    one = experiment(
        ScriptedGenerator({"c0": [1, 2, 3]}),
        cases=1,
        samples=3,
        judges=[judge],
        selector="builtin/best_of_n",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert first.status == "partial_failure"
    assert [row.error_category for row in first.score_rows()] == ["selection"]
    assert judge.count() == 3
    assert one.run().status == "completed"
    assert judge.count() == 4


def test_a_selector_with_a_failed_sample_waits_for_it() -> None:
    judge = ScriptedJudge("VERDICT: 5")
    generator = ScriptedGenerator({"c0": [0, 0]}, failures={"c0": [None, ValueError("x")]})
    one = experiment(
        generator,
        cases=1,
        samples=2,
        judges=[judge],
        selector="builtin/best_of_n",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert [row.outcome for row in first.score_rows()] == ["error"]
    assert judge.count() == 0
    assert [row.outcome for row in one.run().score_rows()] == ["correct"]
    assert generator.count() == 3


def test_a_majority_votes_over_parsed_values_and_a_failed_sample_heals() -> None:
    from themis.testing.scripted import CountingParser

    generator = ScriptedGenerator(
        {"c0": ["0", " 0", "1"], "c1": ["2", "1", "1 "], "c2": ["5", "5", "2"]},
        failures={"c1": [None, ValueError("down")]},
    )
    parser = CountingParser(lambda output: int(output.strip()))

    one = experiment(
        generator,
        samples=3,
        parser=parser,
        reducer="builtin/majority_vote",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert first.status == "partial_failure"
    rows = list(first.score_rows())
    assert [row.outcome for row in rows] == ["correct", "error", "incorrect"]
    assert rows[1].error_category == "generation"
    assert first.cases[1].reduced_candidate is None
    second = one.run()
    assert [row.outcome for row in second.score_rows()] == ["correct", "correct", "incorrect"]
    assert generator.count() == 10
    reduced = second.cases[0].reduced_candidate
    assert reduced is not None
    assert len(reduced.source_candidate_ids) == 3
    assert second.cases[0].parsed_output is not None
    assert len(table(second)) == 3


def test_a_reducer_that_fails_is_a_reduction_error_that_heals() -> None:
    from themis.core.models import ReducedCandidate

    class Moody:
        component_id = "moody"
        version = "1"
        down = True

        def fingerprint(self) -> str:
            return "moody"

        def reduce(self, candidates: Any, ctx: Any) -> Any:
            if self.down:
                raise ValueError("no vote today")
            return ReducedCandidate(
                candidate_id="r",
                source_candidate_ids=[one.candidate_id for one in candidates],
                final_output=candidates[0].final_output,
            )

    reducer = Moody()
    generator = ScriptedGenerator()
    one = experiment(generator, samples=2, reducer=reducer)
    first = one.run()
    assert {row.error_category for row in first.score_rows()} == {"reduction"}
    assert first.cases[0].reduction_error is not None
    assert "no vote today" in first.cases[0].reduction_error.message
    reducer.down = False
    assert one.run().status == "completed"
    assert generator.count() == 6


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
