"""How many requests are open at once, as the endpoint sees it.

Covers: themis.execution.limits.concurrency, themis.execution.limits.endpoints
"""

from __future__ import annotations

import pytest

from tests.endpoints.questions import model, questions
from tests.support.endpoint import Asked, Endpoint
from tests.support.runs import experiment
from themis import use
from themis.adapters import openai_judge

pytestmark = pytest.mark.network


@pytest.mark.parametrize("cap", [1, 3, 12])
def test_no_more_are_open_than_the_endpoint_was_granted_its_judges_included(cap: int) -> None:
    def answer(asked: Asked) -> str:
        return "VERDICT: PASS" if asked.body["model"] == "judge" else asked.question

    with Endpoint(delay=0.01, answer=answer) as endpoint:
        generator = model(endpoint)
        judge = openai_judge(
            "judge", base_url=endpoint.url, api_key="key", api_mode="chat_completions"
        )
        assert judge.provider_key == generator.provider_key
        result = experiment(
            generator,
            cases=questions(40),
            metrics=[use("builtin/llm_rubric", rubric="Right?")],
            judges=[judge],
            provider_concurrency={generator.provider_key: cap},
        ).run()
        assert result.status == "completed"
        assert len(endpoint.requests) == 80
        assert endpoint.peak <= cap


def test_an_endpoint_that_refuses_some_is_given_fewer_and_answers_all() -> None:
    with Endpoint(delay=0.05, capacity=3) as endpoint:
        result = experiment(
            model(endpoint), cases=questions(150), generation_retry_attempts=12
        ).run()
        assert result.status == "completed"
        assert endpoint.statuses()[200] == 150
        # Retries wait for nothing here: were it given as many as before, it would refuse hundreds.
        assert endpoint.statuses()[429] <= 75


def test_an_endpoint_that_is_always_busy_is_asked_as_often_as_configured() -> None:
    with Endpoint(delay=0.01, capacity=0) as endpoint:
        result = experiment(model(endpoint), cases=questions(30)).run()
        assert result.status == "failed"
        assert set(endpoint.by_question().values()) == {4}
        assert endpoint.peak <= 8
