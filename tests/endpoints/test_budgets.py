"""Budgets of tokens, by the endpoint's own count: of answers that nobody waited for too.

Covers: themis.adapters.model_apis.prompt_tokens, themis.execution.history,
themis.execution.limits.budget, themis.planning.prices
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.endpoints.questions import model, questions
from tests.support.endpoint import (
    Asked,
    Endpoint,
    Reply,
    busy,
    dropped,
    empty_choices,
    error,
    hang,
    malformed,
    one_a_byte,
)
from tests.support.runs import experiment, runtime
from themis import get_execution_state, use
from themis.adapters import openai_judge
from themis.core.config import RuntimeConfig
from themis.core.errors import BudgetSpentError, DefinitionError
from themis.core.prompts import PromptSpec
from themis.core.results import RunStatus

pytestmark = pytest.mark.network
CASES = 60


def _answer(asked: Asked) -> str:
    return "VERDICT: PASS" if asked.body["model"] == "judge" else asked.question


def _judge(endpoint: Endpoint, cap: int, **settings: Any) -> Any:
    return openai_judge(
        "judge",
        base_url=endpoint.url,
        api_key="key",
        api_mode="chat_completions",
        sampling={"max_output_tokens": cap},
        **settings,
    )


def _faults(seed: int) -> Any:
    """Fail one request in four, in ways of which most cost tokens."""
    draw = random.Random(seed)
    kinds = [
        busy(),
        busy(status=503),
        Reply(status=500, body={"error": {"message": "late"}}, charged=True),
        error(500),
        dropped("before"),
        dropped("middle"),
        malformed(),
        empty_choices(),
    ]

    def script(asked: Asked) -> Reply | None:
        return draw.choice(kinds) if draw.random() < 0.25 else None

    return script


@pytest.mark.parametrize("seed", range(8))
def test_whatever_fails_a_run_never_spends_more_than_its_budget(seed: int) -> None:
    draw = random.Random(seed)
    api_mode = draw.choice(["chat_completions", "responses"])
    cap = draw.choice([8, 40, 200])
    concurrency = draw.choice([1, 5, 32])
    judged = seed % 2 == 1

    def limited(tokens: int) -> RuntimeConfig:
        return runtime(
            budget={"tokens": tokens},
            max_concurrent_tasks=concurrency,
            generation_retry_attempts=8,
            judge_retry_attempts=8,
        )

    with Endpoint(_faults(seed), answer=_answer, count=one_a_byte) as endpoint:
        one = experiment(
            model(endpoint, api_mode=api_mode, sampling={"max_output_tokens": cap}),
            cases=questions(CASES),
            prompt=PromptSpec(prefix="Think, then answer. " * 10),
            metrics=[use("builtin/llm_rubric", rubric="Right?")] if judged else [],
            judges=[_judge(endpoint, cap)] if judged else [],
        )
        requests = 0
        for tokens in sorted(draw.randint(1_000, 9_000) for _ in range(3)):
            with pytest.raises(BudgetSpentError, match="tokens has no room") as stopped:
                one.run(runtime=limited(tokens))
            assert f"{tokens:,}" in str(stopped.value) or str(tokens) in str(stopped.value)
            assert endpoint.tokens <= tokens
            assert len(endpoint.requests) >= requests
            requests = len(endpoint.requests)
            state = get_execution_state(one.store, one.compile().run_id)
            assert state.status is RunStatus.INTERRUPTED
        assert requests > 0
        result = one.run(runtime=limited(10_000_000))
        assert endpoint.tokens <= 10_000_000
    assert result.status == "completed"
    assert len(result.cases) == CASES
    assert all(len(case.generated_candidates) == 1 for case in result.cases)


def test_answers_that_nobody_waited_for_are_within_the_budget() -> None:
    def script(asked: Asked) -> Reply | None:
        return hang() if asked.number % 3 == 0 else None

    with Endpoint(script, count=one_a_byte) as endpoint:
        one = experiment(
            model(endpoint, sampling={"max_output_tokens": 20}),
            cases=questions(CASES),
            metrics=["builtin/exact_match"],
        )
        for tokens in (2_000, 5_000):
            with pytest.raises(BudgetSpentError):
                one.run(runtime=runtime(budget={"tokens": tokens}, generation_timeout=1.0))
            assert 0 < endpoint.tokens <= tokens
        late = [asked for asked in endpoint.requests if asked.reply.hang]
        assert late
        assert all(asked.charged and not asked.delivered for asked in late)


def test_what_is_cut_off_at_the_end_of_a_run_is_within_the_budget_of_the_next() -> None:
    with Endpoint([*[None] * 10, *[hang()] * 10], count=one_a_byte) as endpoint:
        one = experiment(
            model(endpoint, sampling={"max_output_tokens": 20}), cases=questions(CASES)
        )
        limited = runtime(
            budget={"tokens": 3_000}, drain_timeout=0.1, max_concurrent_tasks=4,
            generation_timeout=1.0, generation_retry_attempts=1,
        )  # fmt: skip
        for _ in range(3):
            with pytest.raises(BudgetSpentError):
                one.run(runtime=limited)
            assert endpoint.tokens <= 3_000


@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_the_cap_that_is_reserved_is_the_cap_that_is_sent(api_mode: str) -> None:
    with Endpoint(answer=lambda _: "word " * 500, count=one_a_byte) as endpoint:
        one = experiment(
            model(endpoint, api_mode=api_mode, sampling={"max_output_tokens": 50}),
            cases=questions(CASES),
        )
        with pytest.raises(BudgetSpentError):
            one.run(runtime=runtime(budget={"tokens": 3_000}))
        assert endpoint.tokens <= 3_000
        assert {asked.cap for asked in endpoint.requests} == {50}
        result = one.run(runtime=runtime(budget={"tokens": 100_000}))
        spent = endpoint.tokens
    used = [
        candidate.token_usage for case in result.cases for candidate in case.generated_candidates
    ]
    assert sum(sum((one or {}).values()) for one in used) == spent
    reasons = {
        (candidate.artifacts or {})["finish_reason"]
        for case in result.cases
        for candidate in case.generated_candidates
    }
    assert reasons == {"length"}


def test_a_generator_or_judge_without_a_cap_is_refused_before_a_request() -> None:
    with Endpoint() as endpoint:
        for settings in (
            {"generator": model(endpoint)},
            {
                "generator": model(endpoint, sampling={"max_output_tokens": 5}),
                "metrics": [use("builtin/llm_rubric", rubric="Right?")],
                "judges": [
                    openai_judge("judge", base_url=endpoint.url, api_key="key", sampling={})
                ],
            },
        ):
            one = experiment(**settings, cases=questions(3), budget={"tokens": 1_000})
            with pytest.raises(DefinitionError, match="no cap on its output tokens"):
                one.run()
        assert endpoint.requests == []
