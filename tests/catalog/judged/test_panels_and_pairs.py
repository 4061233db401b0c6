"""Panels, votes, criteria and pairs, through whole runs: what is asked, counted, and left out.

Covers: themis.catalog.judged, themis.catalog.judged.pairwise,
themis.catalog.judged.rubric_workflow, themis.catalog.judged.rubrics,
themis.catalog.judged.trajectory_rubrics, themis.core.pairs, themis.execution.stages.judge
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import PromptSpec, use
from themis.core.errors import DefinitionError
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case, Dataset
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge


def judge(name: str, answer: Any = "VERDICT: PASS", **more: Any) -> ScriptedJudge:
    return ScriptedJudge(answer, component_id=name, **more)


def details(result: Any) -> list[dict[str, Any]]:
    return [row.details for row in result.score_rows()]


def test_the_label_with_the_most_votes_wins() -> None:
    judges = [judge("a"), judge("b", "VERDICT: FAIL"), judge("c")]
    metric = use("builtin/majority_vote_judge", rubric="Is it right?", name="vote")
    one = experiment(metrics=[metric], judges=judges, cases=2)
    result = one.run()
    assert result.metrics["vote"].mean == 1.0
    assert result.metrics["vote"].outcomes == {"correct": 2}
    assert details(result)[0]["votes"] == {"pass": 2.0, "fail": 1.0}
    assert "tied" not in details(result)[0]


def test_a_tied_vote_counts_as_the_worst_of_the_tied_and_says_so() -> None:
    judges = [judge("a"), judge("b", "VERDICT: FAIL")]
    metric = use("builtin/majority_vote_judge", rubric="Is it right?", name="vote")
    result = experiment(metrics=[metric], judges=judges, cases=1).run()
    assert result.metrics["vote"].mean == 0.0
    assert details(result)[0]["tied"] == ["fail", "pass"]


def test_labels_of_ones_own_are_worth_what_is_said() -> None:
    scale = {"right": 1, "partly": 0.5, "wrong": 0}
    judges = [judge("a", "VERDICT: Partly"), judge("b", "**PARTLY**"), judge("c", "right")]
    metrics = [
        use("builtin/majority_vote_judge", rubric="Is it right?", scale=scale, name="vote"),
        use("builtin/panel_of_judges", rubric="Is it right?", scale=scale, name="mean"),
    ]
    result = experiment(metrics=metrics, judges=judges, cases=1).run()
    assert result.metrics["vote"].mean == 0.5
    assert result.metrics["mean"].mean == pytest.approx(2 / 3)
    assert '"VERDICT: RIGHT", "VERDICT: PARTLY" or "VERDICT: WRONG"' in judges[0].prompts[0]


def seeded(*answers: str) -> Any:
    """Answer the repeats of a question in turn."""
    asked: dict[str, int] = {}

    def answer(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        asked[prompt.text] = asked.get(prompt.text, 0) + 1
        return answers[(asked[prompt.text] - 1) % len(answers)]

    return answer


def test_repeats_are_asked_each_and_tell_how_consistent_a_judge_is() -> None:
    judges = [judge("fickle", seeded("pass", "fail", "pass")), judge("firm", "fail")]
    metrics = [
        use("builtin/majority_vote_judge", rubric="Right?", repeats=3, name="vote"),
        use("builtin/panel_of_judges", rubric="Right?", repeats=3, name="mean"),
    ]
    result = experiment(metrics=metrics[:1], judges=judges, cases=1).run()
    (told,) = details(result)
    assert [one.count() for one in judges] == [3, 3]
    assert told["consistency"] == {"fickle": pytest.approx(2 / 3), "firm": 1.0}
    assert told["votes"] == {"pass": 1.0, "fail": 1.0}
    facts = {one.judge: one.consistency for one in result.judges("vote").judges}
    assert facts == told["consistency"]
    judges[0].answer = seeded("pass", "fail", "pass")
    result = experiment(metrics=metrics[1:], judges=judges, cases=1).run()
    assert result.metrics["mean"].mean == pytest.approx((2 / 3 + 0) / 2)


CRITERIA = [
    {"name": "right", "rubric": "Is it correct?", "weight": 3},
    {"name": "polite", "rubric": "Is it polite?"},
]


def by_criterion(prompt: RenderedJudgePrompt, seed: int | None) -> str:
    if "Is it polite?" in prompt.text:
        return "Rude.\nVERDICT: FAIL"
    return "True.\nVERDICT: PASS"


def test_each_criterion_has_a_verdict_and_a_reason_of_its_own() -> None:
    one = judge("j", by_criterion)
    metric = use("builtin/llm_rubric", criteria=CRITERIA, name="rubric")
    result = experiment(metrics=[metric], judges=[one], cases=1).run()
    assert result.metrics["rubric"].mean == 0.75
    (told,) = details(result)
    assert told["criteria"] == {
        "right": {"value": 1.0, "weight": 3.0},
        "polite": {"value": 0.0, "weight": 1.0},
    }
    assert told["verdicts"] == {"j/right": "pass", "j/polite": "fail"}
    assert told["reasons"] == {"j/right": "True.", "j/polite": "Rude."}


def test_another_weight_asks_no_judge_and_another_criterion_asks_only_for_itself() -> None:
    one = judge("j", by_criterion)
    first = experiment(metrics=[use("builtin/llm_rubric", criteria=CRITERIA)], judges=[one])
    first.run()
    assert one.count() == 6
    lighter = [{**CRITERIA[0], "weight": 1}, CRITERIA[1]]
    again = experiment(metrics=[use("builtin/llm_rubric", criteria=lighter)], judges=[one])
    result = again.run(store=first.store)
    assert one.count() == 6
    assert result.metrics["builtin/llm_rubric"].mean == 0.5
    more = [*CRITERIA, {"name": "short", "rubric": "Is it short?"}]
    experiment(metrics=[use("builtin/llm_rubric", criteria=more)], judges=[one]).run(
        store=first.store
    )
    assert one.count() == 9


def test_a_criterion_without_a_verdict_is_an_error_and_not_a_zero() -> None:
    def answer(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        return "I cannot say." if "polite" in prompt.text else "VERDICT: PASS"

    judges = [judge("a", answer), judge("b", answer)]
    metric = use("builtin/panel_of_judges", criteria=CRITERIA, min_judges=1, name="panel")
    result = experiment(metrics=[metric], judges=judges, cases=1).run()
    (row,) = result.score_rows()
    assert (row.value, row.outcome, row.error_category) == (None, "error", "unreadable_verdict")
    assert "0 judges of the criterion 'polite', 1 needed" in str(row.error_message)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "needs the param 'rubric'"),
        ({"rubric": "x", "criteria": CRITERIA}, "needs the param 'rubric'"),
        ({"criteria": []}, "criteria = []"),
        ({"criteria": [CRITERIA[1], CRITERIA[1]]}, "with different names"),
        ({"criteria": [{"name": "a", "rubric": "b", "weight": 0}]}, "weights above zero"),
        ({"criteria": [{"name": "a", "rubric": "b", "wieght": 2}]}, "must be a list of"),
        ({"criteria": [{"name": "a"}]}, "must be a list of"),
        ({"rubric": "x", "scale": {"a": 1}}, "scale = {'a': 1}"),
        ({"rubric": "x", "scale": {"a": 1, "A!": 0}}, "told apart by more than"),
    ],
)
def test_criteria_and_scales_that_are_none_are_refused(params: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        experiment(metrics=[use("builtin/llm_rubric", **params)], judges=[judge("j")]).compile()


def test_a_judge_that_is_down_for_half_of_the_cases_leaves_errors_and_a_mean_of_the_others() -> (
    None
):
    """Judge errors are outside the mean, counted, and bounded; healing asks for them alone."""
    down = True

    def answer(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        number = int(re.findall(r"judge:\n```\n(\d+)", prompt.text)[0])
        if down and number % 2:
            raise ConnectionError("the judge is away")
        return "VERDICT: FAIL" if number == 0 else "VERDICT: PASS"

    one = judge("j", answer)
    metric = use("builtin/llm_rubric", rubric="Right?", name="rubric")
    run = experiment(metrics=[metric], judges=[one], cases=20, judge_retry_attempts=1)
    result = run.run()
    summary = result.metrics["rubric"]
    assert result.status == "partial_failure"
    assert (summary.n_scored, summary.n_errors) == (10, 10)
    assert summary.errors == {"judge": 10}
    assert summary.mean == 0.9
    assert summary.bounds == [9 / 20, 19 / 20]
    assert {row.value for row in result.score_rows() if row.outcome == "error"} == {None}
    (facts,) = result.judges("rubric").judges
    assert (facts.n_calls, facts.failures) == (20, {"judge": 10})
    down = False
    asked = one.count()
    healed = run.run()
    assert healed.metrics["rubric"].mean == 19 / 20
    assert one.count() == asked + 10


def shown(prompt: RenderedJudgePrompt) -> tuple[int, int]:
    """Return the two numbers that a prompt shows as A and B."""
    first, second = re.findall(r"Answer [AB]:\n```\n(-?\d+)", prompt.text)
    return int(first), int(second)


def fair(prompt: RenderedJudgePrompt, seed: int | None) -> str:
    first, second = shown(prompt)
    return "VERDICT: " + ("TIE" if first == second else "A" if first > second else "B")


def answers(n_samples: int, cases: int) -> ScriptedGenerator:
    """Sample k of case c answers k, except that in every third case the first is best."""
    return ScriptedGenerator(
        {
            f"c{case}": [
                9 if case % 3 == 0 and sample == 0 else sample for sample in range(n_samples)
            ]
            for case in range(cases)
        }
    )


def pairwise(**params: Any) -> Any:
    return use("builtin/pairwise_judge", rubric="The greater number.", name="pairs", **params)


def test_a_judge_that_always_prefers_the_first_makes_ties_and_is_told_to_be_biased() -> None:
    one = judge("first", "VERDICT: A")
    result = experiment(answers(3, 6), metrics=[pairwise()], judges=[one], samples=3, cases=6).run()
    assert one.count() == 6 * 3 * 2
    for told in details(result):
        assert [pair["score"] for pair in told["pairs"]] == [0.5, 0.5, 0.5]
        assert told["judges"]["first"]["position_bias"] == 1.0
        assert told["judges"]["first"]["flips"] == told["judges"]["first"]["ties"] == 3
    assert result.metrics["pairs"].mean == 0.5
    (facts,) = result.judges("pairs").judges
    assert facts.position is not None
    assert (facts.position.bias, facts.position.flips, facts.position.ties) == (1.0, 18, 18)
    assert {one.rating for one in result.ratings("pairs")} == {0.0}


def test_one_that_always_prefers_the_second_is_biased_the_other_way() -> None:
    one = judge("second", "VERDICT: B")
    result = experiment(answers(2, 2), metrics=[pairwise()], judges=[one], samples=2, cases=2).run()
    (facts,) = result.judges("pairs").judges
    assert facts.position is not None
    assert facts.position.bias == -1.0


def test_a_fair_judge_has_no_position_bias_and_its_wins_are_rated() -> None:
    one = judge("fair", fair)
    result = experiment(
        answers(3, 12), metrics=[pairwise()], judges=[one], samples=3, cases=12
    ).run()
    (facts,) = result.judges("pairs").judges
    assert facts.position is not None
    assert (facts.position.bias, facts.position.flips) == (0.0, 0)
    assert result.metrics["pairs"].mean == pytest.approx(4 / 12)
    wins = {one.player: (one.wins, one.comparisons) for one in result.ratings("pairs")}
    assert list(wins.items()) == [(2, (20.0, 24)), (0, (8.0, 24)), (1, (8.0, 24))]


def test_ratings_of_a_run_are_those_of_its_pairs() -> None:
    one = judge("fair", fair)
    result = experiment(
        answers(2, 12), metrics=[pairwise()], judges=[one], samples=2, cases=12
    ).run()
    best, other = result.ratings("pairs")
    assert (best.player, best.wins, best.comparisons) == (1, 8.0, 12)
    assert best.rating - other.rating == pytest.approx(0.6931, abs=1e-4)
    assert best.interval is not None
    assert best.interval[0] < best.rating < best.interval[1]


def test_a_tie_in_one_order_and_a_win_in_the_other_is_a_tie() -> None:
    def hesitant(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        first, second = shown(prompt)
        return "VERDICT: A" if first > second else "VERDICT: TIE"

    result = experiment(
        answers(2, 1), metrics=[pairwise()], judges=[judge("j", hesitant)], samples=2, cases=1
    ).run()
    assert details(result)[0]["pairs"][0]["score"] == 0.5


def test_answers_are_compared_with_the_reference_each_in_both_orders() -> None:
    one = judge("fair", fair)
    result = experiment(
        ScriptedGenerator({"c0": [3, 1, 2]}),
        metrics=[pairwise(against="reference")],
        judges=[one],
        samples=3,
        cases=dataset(1, gold=lambda _: 2),
    ).run()
    assert one.count() == 5  # of two equal texts both orders are one question
    (told,) = details(result)
    assert [pair["score"] for pair in told["pairs"]] == [1.0, 0.0, 0.5]
    assert result.metrics["pairs"].mean == 0.5
    assert told["schedule"] == "each candidate against the reference"
    assert not any("reference answer" in prompt for prompt in one.prompts)


def test_many_candidates_are_compared_by_a_bounded_round_robin_that_is_said() -> None:
    one = judge("fair", fair)
    result = experiment(
        answers(6, 1), metrics=[pairwise(max_pairs=6)], judges=[one], samples=6, cases=1
    ).run()
    (told,) = details(result)
    assert one.count() == 12
    assert told["schedule"] == "round-robin: 6 of 15 pairs"
    met = [player for pair in told["pairs"] for player in (pair["first"], pair["second"])]
    assert sorted(met) == sorted([*range(6)] * 2)


def test_a_pair_that_lost_one_order_is_an_error_and_a_judge_less_may_do() -> None:
    def half(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        first, second = shown(prompt)
        return fair(prompt, seed) if first > second else "I would rather not."

    for min_judges, outcome in ((None, "error"), (1, "scored")):
        judges = [judge("half", half), judge("fair", fair)]
        result = experiment(
            answers(2, 1), metrics=[pairwise(min_judges=min_judges)], judges=judges, samples=2,
            cases=1,
        ).run()  # fmt: skip
        (row,) = result.score_rows()
        assert row.outcome == outcome
    assert row.details["judges"].keys() == {"fair"}


def test_one_sample_a_case_to_compare_is_refused_before_anything_runs() -> None:
    asked = judge("j")
    with pytest.raises(DefinitionError, match='"num_samples": 2') as refused:
        experiment(metrics=[pairwise()], judges=[asked], cases=1).compile()
    assert 'against="reference"' in str(refused.value)
    assert "\n" not in str(refused.value)
    alone = pairwise(against="reference")
    assert experiment(metrics=[alone], judges=[asked], cases=1).compile().run_id


def test_a_case_without_a_reference_has_nothing_to_compare_with() -> None:
    without = Dataset(dataset_id="d", cases=[Case(case_id="c0", input=1)])
    result = experiment(
        metrics=[pairwise(against="reference")], judges=[judge("j")], cases=without
    ).run()
    (row,) = result.score_rows()
    assert "has no expected output to compare with" in str(row.error_message)


def test_agreement_of_a_panel_is_that_of_its_verdicts() -> None:
    def strict(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        number = int(re.findall(r"judge:\n```\n(\d+)", prompt.text)[0])
        return "pass" if number < 4 else "fail"

    def lenient(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        number = int(re.findall(r"judge:\n```\n(\d+)", prompt.text)[0])
        return "pass" if number < 6 else "fail"

    judges = [judge("strict", strict), judge("lenient", lenient)]
    metric = use("builtin/panel_of_judges", rubric="Right?", name="panel")
    agreement = experiment(metrics=[metric], judges=judges, cases=10).run().judges("panel")
    (pair,) = agreement.pairs
    assert (agreement.n_units, agreement.n_shared, agreement.n_complete) == (10, 10, 10)
    assert (pair.agreement, pair.kappa) == (0.8, pytest.approx((0.8 - 0.48) / (1 - 0.48)))
    assert agreement.level == "nominal"
    assert agreement.fleiss == pytest.approx(0.6)
    assert agreement.alpha == pytest.approx(1 - 19 * 4 / (2 * 10 * 10))


def test_a_metric_without_judges_has_none_to_tell_of() -> None:
    result = experiment().run()
    with pytest.raises(ValueError, match="asks no judges"):
        result.judges("counting/metric")
    with pytest.raises(ValueError, match="counting/metrik"):
        result.judges("counting/metrik")


def test_a_judge_that_declares_schemas_is_asked_in_the_form_of_one() -> None:
    schemas = []

    def answer(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        schemas.append(prompt.response_schema)
        if prompt.response_schema is None:
            return "VERDICT: PASS"
        return json.dumps({"reason": "It is.", "verdict": "PASS"})

    judges = [judge("prose", answer), judge("json", answer, structured_output=True)]
    metric = use("builtin/panel_of_judges", rubric="Right?", name="panel")
    result = experiment(metrics=[metric], judges=judges, cases=1, max_concurrent_tasks=1).run()
    assert result.metrics["panel"].mean == 1.0
    assert details(result)[0]["reasons"] == {"json": "It is."}
    asked = [one for one in schemas if one is not None]
    assert len(schemas) == 2
    assert asked[0]["properties"]["verdict"] == {"type": "string", "enum": ["PASS", "FAIL"]}
    assert "VERDICT:" not in judges[1].prompts[0]


def test_a_preview_shows_the_pairs_that_would_be_asked_about() -> None:
    one = experiment(metrics=[pairwise()], judges=[judge("j")], samples=2, cases=1)
    (shown_case,) = one.preview(outputs="an answer")
    assert [asked.failure for asked in shown_case.judge_prompts] == [None, None]
    prompts = [asked.prompt for asked in shown_case.judge_prompts]
    assert all(prompt and prompt.text.count("an answer") == 2 for prompt in prompts)


@pytest.mark.parametrize(
    "params",
    [
        {"criteria": ["x"]},
        {"criteria": {"name": "x", "rubric": "y"}},
        {"criteria": "x"},
        {"criteria": [{"name": name, "rubric": "r", "weight": 1e308} for name in "ab"]},
        {"rubric": "r", "scale": 5},
        {"rubric": "r", "scale": ["right", "wrong"]},
        {"rubric": "r", "scale": None},
        {"rubric": "r", "scale": f"1-{'9' * 400}"},
        {"rubric": "r", "judges": "j"},
        {"rubric": "r", "judges": [1]},
        {"rubric": "r", "judges": [["j"]]},
    ],
)
def test_a_parameter_of_the_wrong_kind_is_refused_in_one_line(params: dict[str, Any]) -> None:
    metric = use("builtin/panel_of_judges", **params)
    with pytest.raises(DefinitionError) as refused:
        experiment(metrics=[metric], judges=[judge("j")], cases=1).compile()
    assert "must be" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_judge_that_is_no_name_is_refused() -> None:
    metric = use("builtin/llm_rubric", rubric="r", judge=3)
    with pytest.raises(DefinitionError, match="judge = 3: must be the name of a judge"):
        experiment(metrics=[metric], judges=[judge("j")], cases=1).compile()


@pytest.mark.parametrize(
    ("names", "criteria", "repeats"), [(["m", "m/x"], ["x/y", "y"], 1), (["m"], ["c#2", "c"], 2)]
)
def test_questions_that_would_go_by_one_id_are_refused_before_anything_runs(
    names: list[str], criteria: list[str], repeats: int
) -> None:
    metric = use(
        "builtin/panel_of_judges",
        criteria=[{"name": name, "rubric": name} for name in criteria],
        repeats=repeats,
    )
    judges = [judge(name) for name in names]
    with pytest.raises(DefinitionError, match="two questions would go by"):
        experiment(metrics=[metric], judges=judges, cases=1).compile()


def test_ratings_of_a_metric_that_compares_nothing_are_refused() -> None:
    metric = use("builtin/llm_rubric", rubric="r", name="alone")
    result = experiment(metrics=[metric], judges=[judge("j")], cases=1).run()
    with pytest.raises(DefinitionError, match="'alone' has no comparison"):
        result.ratings("alone")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Judge well.", "neither rubric nor answer"),
        ("{{ metadata.topic }}", "neither rubric nor answer"),
        ("{{ topic }} {{ input }}", "'topic' is undefined (case 'c0' of dataset"),
        ("{{ metadata.topic }} {{ input }}", "(case 'c0' of dataset"),
    ],
)
def test_a_template_that_shows_judges_no_question_or_cannot_be_filled_is_refused(
    template: str, said: str
) -> None:
    one = experiment(metrics=[use("builtin/llm_rubric", rubric="r")], judges=[judge("j")], cases=1)
    spec = PromptSpec(template=template)
    one.evaluation = one.evaluation.model_copy(update={"prompt_spec": spec})
    with pytest.raises(DefinitionError) as refused:
        one.compile()
    assert said in str(refused.value)


def test_a_template_of_judges_is_filled_with_the_question() -> None:
    asked = judge("j")
    one = experiment(metrics=[use("builtin/llm_rubric", rubric="Good?")], judges=[asked], cases=1)
    spec = PromptSpec(template="Be strict. {{ input }}")
    one.evaluation = one.evaluation.model_copy(update={"prompt_spec": spec})
    assert one.run().metrics["builtin/llm_rubric"].mean == 1
    assert asked.prompts[0].startswith("Be strict. You are judging")
    assert "Good?" in asked.prompts[0]
