"""Generator, selector, reducer, parsers and metrics of the catalog, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.catalog.generators import DemoGenerator, wrong
from themis.catalog.metrics import ChoiceAccuracy, ExactMatch
from themis.catalog.parsers import JsonIdentity, Text
from themis.catalog.reducers import MajorityVote
from themis.catalog.selectors import BestOfN
from themis.core.contexts import (
    GenerateContext,
    ParseContext,
    ReduceContext,
    ScoreContext,
    SelectContext,
)
from themis.core.errors import ComponentError, DefinitionError, ParseError
from themis.core.hashing import canonical
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import Case, GenerationResult, ParsedOutput, Score, ScoreError
from themis.core.prompts import PromptSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def results(*outputs: Any) -> list[GenerationResult]:
    return [
        GenerationResult(candidate_id=f"c{index}", final_output=output)
        for index, output in enumerate(outputs)
    ]


# ── demo_generator ────────────────────────────────────────────────────────────────────────────────


@given(JSON)
def test_a_wrong_answer_is_another_json_value(value: Any) -> None:
    assert canonical(wrong(value)) != canonical(value)


def test_a_wrong_answer_has_the_form_of_the_right_one() -> None:
    assert wrong({"answer": "4"}) == {"answer": "5"}
    assert wrong("D") == "A"
    assert wrong([1, "b"]) == [2, "c"]


async def test_the_demo_generator_gives_the_expected_output(
    generate_context: Callable[..., GenerateContext],
) -> None:
    case = Case(case_id="case-1", input="What is 2+2?", expected_output={"answer": "4"})
    result = await DemoGenerator().generate(case, generate_context())
    assert result.final_output == {"answer": "4"}
    assert result.token_usage == {"prompt_tokens": 3, "completion_tokens": 1}


async def test_without_an_expected_output_it_gives_back_what_it_was_sent(
    generate_context: Callable[..., GenerateContext],
) -> None:
    case = Case(case_id="case-1", input="2+2")
    spec = PromptSpec(instructions="Echo.", prefix="Q:")
    result = await DemoGenerator().generate(case, generate_context(prompt_spec=spec))
    assert result.final_output == "Q:\n2+2"
    assert result.token_usage is not None
    assert result.token_usage["prompt_tokens"] == 3


async def test_the_demo_generator_is_right_in_its_share_and_always_the_same(
    generate_context: Callable[..., GenerateContext],
) -> None:
    generator = DemoGenerator(accuracy=0.7)
    cases = [Case(case_id=f"case-{n}", input="q", expected_output="yes") for n in range(500)]
    first = [(await generator.generate(one, generate_context())).final_output for one in cases]
    again = [(await generator.generate(one, generate_context())).final_output for one in cases]
    other = [
        (await generator.generate(one, generate_context(seed=8))).final_output for one in cases
    ]
    assert first == again != other
    assert 300 < first.count("yes") < 400


# ── best_of_n ─────────────────────────────────────────────────────────────────────────────────────


class ScriptedJudge:
    """Answers with the rating written in the candidate, after a hash sign."""

    component_id = "judge/scripted"
    version = "1"

    def __init__(self, shift: float = 0) -> None:
        self.asked: list[RenderedJudgePrompt] = []
        self._shift = shift

    def fingerprint(self) -> str:
        return str(self._shift)

    async def judge(
        self, prompt: RenderedJudgePrompt, /, *, seed: int | None = None
    ) -> JudgeResponse:
        self.asked.append(prompt)
        said = prompt.text.split("#")[1].split("\n")[0]
        if said == "fail":
            raise ComponentError("the judge is out")
        if said.isdigit():
            said = f"VERDICT: {float(said) + self._shift:g}"
        return JudgeResponse(text=said)


async def test_the_best_rated_sample_is_kept_and_of_equals_the_first(
    select_context: Callable[..., SelectContext],
) -> None:
    judges = [ScriptedJudge(), ScriptedJudge(shift=1)]
    candidates = results("#3", "#8", "#8", "#no idea")
    kept = await BestOfN().select(candidates, select_context(judge_models=judges))
    assert [one.candidate_id for one in kept] == ["c1"]
    assert [len(judge.asked) for judge in judges] == [4, 4]


async def test_a_single_sample_is_kept_unasked(
    select_context: Callable[..., SelectContext],
) -> None:
    judge = ScriptedJudge()
    kept = await BestOfN().select(results("x"), select_context(judge_models=[judge]))
    assert len(kept) == 1
    assert not judge.asked


async def test_a_selection_without_a_readable_rating_fails(
    select_context: Callable[..., SelectContext],
) -> None:
    ctx = select_context(judge_models=[ScriptedJudge()])
    with pytest.raises(ComponentError, match="no judge gave a readable rating"):
        await BestOfN().select(results("#hm", "#well"), ctx)
    with pytest.raises(ComponentError, match="the judge is out"):
        await BestOfN().select(results("#3", "#fail"), ctx)
    with pytest.raises(DefinitionError, match="needs a judge"):
        await BestOfN().select(results("#3", "#4"), select_context())


# ── majority_vote ─────────────────────────────────────────────────────────────────────────────────


async def test_the_most_frequent_output_wins_by_its_first_sample(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    reduced = await MajorityVote().reduce(results("a", 4, 4.0, "b"), reduce_context())
    assert reduced.final_output == 4
    assert reduced.metadata["votes"] == [
        {"value": 4, "count": 2}, {"value": "a", "count": 1}, {"value": "b", "count": 1},
    ]  # fmt: skip
    assert reduced.metadata["tie"] is False
    assert reduced.metadata["kept"] == 1
    assert reduced.source_candidate_ids == ["c0", "c1", "c2", "c3"]


async def test_samples_vote_with_their_parsed_values_and_the_unparsed_do_not_vote(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    parsed = {
        "c0": None,
        "c1": ParsedOutput(value="B"),
        "c2": ParsedOutput(value="A"),
        "c3": ParsedOutput(value="A"),
        "c4": ParsedOutput(value=None),
    }
    candidates = results("x", "it is B", "A!", "(A)", "x")
    ctx = reduce_context(candidate_ids=list(parsed), parsed=parsed)
    reduced = await MajorityVote().reduce(candidates, ctx)
    assert reduced.final_output == "A!"
    assert (reduced.metadata["n_voting"], reduced.metadata["n_unparsed"]) == (3, 2)


async def test_a_tie_goes_to_the_earliest_and_is_said(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    reduced = await MajorityVote().reduce(results("b", "a"), reduce_context())
    assert (reduced.final_output, reduced.metadata["tie"]) == ("b", True)


async def test_where_nobody_can_vote_the_first_is_kept_and_it_is_said(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    ctx = reduce_context(parsed={"c0": None, "c1": None})
    reduced = await MajorityVote().reduce(results("x", "y"), ctx)
    assert reduced.final_output == "x"
    assert reduced.metadata["note"] == "no sample could vote; the first is kept"


# ── parsers ───────────────────────────────────────────────────────────────────────────────────────


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_json_identity_gives_a_value_as_it_is(value: Any) -> None:
    parsed = JsonIdentity().parse(results(value)[0], None)  # type: ignore[arg-type]
    assert parsed.value == value


@pytest.mark.parametrize(
    ("text", "value"), [('{"answer": "4"}', {"answer": "4"}), (" 4 ", 4), ('"x"', "x")]
)
def test_json_identity_reads_json_text(parse_context: ParseContext, text: str, value: Any) -> None:
    assert JsonIdentity().parse(results(text)[0], parse_context).value == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [("four", "invalid"), ("", "nothing_found"), ("NaN", "invalid"), ("1e999", "invalid"),
     ("{", "invalid"), ("[" * 100_000, "invalid"), ('"\\ud800"', "invalid")],
)  # fmt: skip
def test_json_identity_refuses_other_text(
    parse_context: ParseContext, text: str, reason: str
) -> None:
    with pytest.raises(ParseError) as caught:
        JsonIdentity().parse(results(text)[0], parse_context)
    assert caught.value.reason == reason


def test_text_is_stripped_and_other_values_become_json_text(parse_context: ParseContext) -> None:
    outputs = [" four \n", {"answer": 4}, 4]
    values = [Text().parse(one, parse_context).value for one in results(*outputs)]
    assert values == ["four", '{"answer":4}', "4"]


@pytest.mark.parametrize("output", ["", " \n", None])
def test_no_text_is_nothing_found(parse_context: ParseContext, output: Any) -> None:
    with pytest.raises(ParseError) as caught:
        Text().parse(results(output)[0], parse_context)
    assert caught.value.reason == "nothing_found"


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────


def _score(metric: Any, value: Any, expected: Any, context: Callable[[Case], ScoreContext]) -> Any:
    case = Case(case_id="case-1", input="q", expected_output=expected)
    return metric.score(ParsedOutput(value=value), case, context(case))


@pytest.mark.parametrize(
    ("value", "expected", "points"),
    [
        ({"answer": "4"}, {"answer": "4"}, 1), (4, 4.0, 1), ("4", 4, 0), ("a", "A", 0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1), ([1, 2], [2, 1], 0), (True, 1, 0), (-0.0, 0, 1),
    ],
)  # fmt: skip
def test_exact_match_compares_json_values(
    score_context: Callable[[Case], ScoreContext], value: Any, expected: Any, points: float
) -> None:
    score = _score(ExactMatch(), value, expected, score_context)
    assert isinstance(score, Score)
    assert score.value == points


@pytest.mark.parametrize("metric", [ExactMatch(), ChoiceAccuracy()])
def test_a_case_without_a_gold_answer_cannot_be_scored(
    score_context: Callable[[Case], ScoreContext], metric: Any
) -> None:
    error = _score(metric, "4", None, score_context)
    assert isinstance(error, ScoreError)
    assert error.reason == "case 'case-1' has no expected_output to compare with"


@pytest.mark.parametrize(
    ("value", "expected", "points"),
    [("B", "B", 1), ("b", "B", 1), ("B", "(b)", 1), ("B", 1, 1), ("A", 1, 0),
     ("B", 1.0, 1), (1.0, "B", 1), (1.5, "B", 0),
     ("B", {"answer": "b"}, 1), ({"answer": "B"}, "B", 1), ("Paris", "B", 0), (None, "B", 0)],
)  # fmt: skip
def test_choice_accuracy_compares_letters(
    score_context: Callable[[Case], ScoreContext], value: Any, expected: Any, points: float
) -> None:
    score = _score(ChoiceAccuracy(), value, expected, score_context)
    assert isinstance(score, Score)
    assert score.value == points


def test_a_value_that_names_no_option_is_incorrect_and_said(
    score_context: Callable[[Case], ScoreContext],
) -> None:
    score = _score(ChoiceAccuracy(), "Paris", "B", score_context)
    assert score.details["note"] == "the parsed value names no option"


def test_positions_may_count_from_one(score_context: Callable[[Case], ScoreContext]) -> None:
    assert _score(ChoiceAccuracy(first_index=1), "A", 1, score_context).value == 1


@pytest.mark.parametrize("expected", ["Paris", -1, 26, True, {"gold": "A"}, 1.5])
def test_a_gold_answer_that_names_no_option_is_a_score_error(
    score_context: Callable[[Case], ScoreContext], expected: Any
) -> None:
    assert isinstance(_score(ChoiceAccuracy(), "A", expected, score_context), ScoreError)
