"""Each answer of an endpoint is taken for what it means, in both APIs, whole and streamed.

Covers: benchmarks/meanings.py, themis.adapters.transport.endpoint_words,
themis.adapters.transport.meanings, themis.adapters.transport.model_answers
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.meanings import ANSWERS, Became, asked, documented
from tests.endpoints.questions import model, questions
from tests.support.endpoint import Endpoint, Reply, error
from tests.support.runs import experiment
from themis import use
from themis.adapters import openai_judge
from themis.adapters.transport.meanings import Meaning

pytestmark = pytest.mark.network
_IS_ERROR = (Meaning.OF_ITS_CASE, Meaning.PASSING, Meaning.OF_ALL, Meaning.OF_THE_ACCOUNT)


@pytest.fixture(scope="module")
def became() -> dict[str, list[Became]]:
    found: dict[str, list[Became]] = {given.name: [] for given in ANSWERS}
    for one in asked():
        found[one.given.name].append(one)
    return found


@pytest.mark.parametrize("given", ANSWERS, ids=lambda given: given.name)
def test_an_answer_is_taken_for_what_it_means(
    given: object, became: dict[str, list[Became]]
) -> None:
    ways = became[given.name]  # type: ignore[attr-defined]
    assert ways
    assert {one.way: one.meaning for one in ways} == {
        one.way: one.given.meaning_in(one.way) for one in ways
    }
    for one in ways:
        assert "\n" not in one.said or one.meaning is Meaning.EMPTY
        if one.meaning in _IS_ERROR:
            assert one.given.says in one.said
        elif one.given.text is not None:
            assert one.output == one.given.text


def test_there_are_sixty_answers_and_more() -> None:
    assert len({given.name for given in ANSWERS}) == len(ANSWERS) >= 60


def test_an_unknown_end_is_told_by_its_name_in_the_artifacts(
    became: dict[str, list[Became]],
) -> None:
    for one in became["ended with 'abort'"]:
        assert one.result is not None
        artifacts = one.result.artifacts or {}
        assert artifacts["finish_reason"] == "abort"
        assert "'abort'" in artifacts["note"]


def test_thoughts_and_commentary_stand_beside_the_answer(became: dict[str, list[Became]]) -> None:
    for name, kept in (
        ("a thought in a field of its own", ("reasoning", "3 and 1")),
        ("a thought as a part of the content", ("reasoning", "3 and 1")),
        ("commentary before the final answer", ("commentary", "Adding.")),
    ):
        for one in became[name]:
            assert one.result is not None
            assert (one.result.artifacts or {})[kept[0]] == kept[1]
            assert one.output == "4"


def test_tool_calls_stand_in_the_conversation_of_every_way(became: dict[str, list[Became]]) -> None:
    for name in ("tool calls without text", "tool calls beside text"):
        assert len(became[name]) == 5
        for one in became[name]:
            assert one.result is not None
            last = (one.result.conversation or [])[-1].content
            assert isinstance(last, dict)
            assert last["tool_calls"] == [{"name": "add", "arguments": {"a": 1}}]


FILTERED = error(400, "withheld", code="content_filter")
POISON = "question 1"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_a_refusal_by_status_stays_in_the_denominator_and_is_not_asked_again(
    api_mode: str, stream: bool
) -> None:
    with Endpoint(lambda one: FILTERED if one.question == POISON else None) as endpoint:
        one = experiment(
            model(endpoint, api_mode=api_mode, stream=stream),
            cases=questions(3),
            metrics=["builtin/exact_match"],
        )
        results = [one.run(), one.run()]
        assert len(endpoint.requests) == 3
    for result in results:
        assert result.status == "completed"
        assert [(row.value, row.error_category) for row in result.score_rows()] == [
            (1.0, None), (0.0, "refused"), (1.0, None),
        ]  # fmt: skip
    artifacts = results[0].cases[1].generated_candidates[0].artifacts or {}
    assert (artifacts["finish_reason"], artifacts["status"]) == ("content_filter", 400)


def test_a_judge_that_is_refused_an_answer_by_status_is_not_asked_again() -> None:
    rubric = use("builtin/llm_rubric", rubric="Right?")
    with (
        Endpoint() as endpoint,
        Endpoint(
            lambda one: FILTERED if POISON in one.question else Reply(text="VERDICT: PASS")
        ) as bench,
    ):
        judge = openai_judge("j", base_url=bench.url, api_key="k", api_mode="chat_completions")
        one = experiment(model(endpoint), cases=questions(3), metrics=[rubric], judges=[judge])
        assert one.run().metrics["builtin/llm_rubric"].n_scored == 2
        one.run()
        assert len(bench.requests) == 3


def test_an_end_that_is_not_known_is_named_in_the_runs_notes() -> None:
    with Endpoint(lambda one: Reply(finish_reason="abort")) as endpoint:
        judge = openai_judge("j", base_url=endpoint.url, api_key="k", api_mode="chat_completions")
        result = experiment(
            model(endpoint), cases=questions(3), judges=[judge],
            metrics=["builtin/exact_match", use("builtin/llm_rubric", rubric="Right?")],
        ).run()  # fmt: skip
    told = [note for note in result.notes if "'abort'" in note]
    assert len(told) == 2  # once of the model, once of the judge


def test_the_documentation_has_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "generators.md"
    assert documented() in page.read_text(encoding="utf-8")
