"""Failures that every case would share: the run ends soon and can be gone on with.

Covers: themis.execution.failures, themis.execution.runner, themis.execution.session
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.endpoints.questions import model, questions
from tests.support.endpoint import Asked, Endpoint, Reply, busy, error
from tests.support.runs import experiment
from themis import get_execution_state, use
from themis.adapters import openai_judge
from themis.core.errors import BudgetSpentError, RunStoppedError
from themis.core.results import RunStatus

pytestmark = pytest.mark.network
FEW = 8
"""Calls that may be under way before the first answer."""


@pytest.mark.parametrize(
    ("settings", "mended", "status", "said"),
    [
        ({"key": "right"}, {"key": "key"}, 401, "Incorrect API key provided"),
        ({"models": ["other"]}, {"models": ["scripted"]}, 404, "'scripted' does not exist"),
    ],
    ids=["a wrong key", "an unknown model"],
)
def test_what_would_repeat_for_every_case_ends_the_run_until_it_is_mended(
    settings: dict[str, Any], mended: dict[str, Any], status: int, said: str
) -> None:
    with Endpoint(delay=0.01, **settings) as endpoint:
        one = experiment(model(endpoint), cases=questions(200), metrics=["builtin/exact_match"])
        with pytest.raises(RunStoppedError, match=said) as stopped:
            one.run()
        assert str(status) in str(stopped.value)
        assert "\n" not in str(stopped.value)
        assert stopped.value.run_id == one.compile().run_id
        assert endpoint.statuses() == {status: len(endpoint.requests)}
        assert len(endpoint.requests) <= FEW
        assert get_execution_state(one.store, one.compile().run_id).status is RunStatus.FAILED
        for name, value in mended.items():
            setattr(endpoint, name, value)
        before = len(endpoint.requests)
        result = one.run()
        assert len(endpoint.requests) - before == 200
    assert result.status == "completed"
    assert result.metrics["builtin/exact_match"].n_scored == 200
    assert len(result.state.attempts) == 1


def test_an_endpoint_that_is_down_ends_the_run_after_several_tries() -> None:
    with Endpoint() as endpoint:
        port = endpoint.port
    one = experiment(model(endpoint), cases=questions(200), metrics=["builtin/exact_match"])
    with pytest.raises(RunStoppedError, match="cannot be reached") as stopped:
        one.run()
    assert str(port) in str(stopped.value)
    assert "\n" not in str(stopped.value)
    state = get_execution_state(one.store, one.compile().run_id)
    assert state.status is RunStatus.FAILED
    with Endpoint(port=port) as again:
        result = one.run()
        assert len(again.requests) == 200
    assert result.status == "completed"


def test_an_endpoint_that_goes_down_half_way_ends_the_run_and_loses_nothing() -> None:
    with Endpoint(delay=0.005) as endpoint:
        port = endpoint.port
        one = experiment(model(endpoint), cases=questions(400), metrics=["builtin/exact_match"])

        class Unplug:
            """Ends the endpoint when fifty answers are kept."""

            kept = 0

            def after_generate(self, event: Any) -> None:
                self.kept += event.artifact is not None
                if self.kept == 50:
                    endpoint.close()

        with pytest.raises(RunStoppedError, match="cannot be reached"):
            one.run(subscribers=[unplug := Unplug()])
        assert 50 <= unplug.kept < 400
    with Endpoint(port=port) as again:
        assert one.run().status == "completed"
        assert len(again.requests) == 400 - unplug.kept


def test_a_judge_with_a_wrong_key_is_asked_a_few_times_and_the_answers_are_kept() -> None:
    judged = use("builtin/llm_rubric", rubric="Right?")
    with (
        Endpoint() as endpoint,
        Endpoint(lambda _: None, key="right", answer=lambda _: "VERDICT: PASS") as bench,
    ):
        judge = openai_judge(
            "judge", base_url=bench.url, api_key="key", api_mode="chat_completions"
        )
        one = experiment(
            model(endpoint),
            cases=questions(120),
            metrics=["builtin/exact_match", judged],
            judges=[judge],
            max_concurrent_tasks=16,
        )
        result = one.run()
        assert result.status == "partial_failure"
        assert len(endpoint.requests) == 120
        assert bench.statuses() == {401: len(bench.requests)}
        assert len(bench.requests) <= FEW
        assert any("asked no more" in note for note in result.notes)
        assert result.metrics["builtin/exact_match"].n_scored == 120
        assert result.metrics["builtin/llm_rubric"].n_errors == 120
        bench.key, before = None, len(bench.requests)
        healed = one.run()
        assert healed.status == "completed"
        assert healed.metrics["builtin/llm_rubric"].n_scored == 120
        assert (len(endpoint.requests), len(bench.requests) - before) == (120, 120)


@pytest.mark.parametrize(
    "stop",
    [
        lambda asked: error(401, "Incorrect API key provided") if asked.number > 1 else None,
        None,
    ],
    ids=["a wrong key", "a budget of seconds"],
)
def test_a_run_that_ends_does_not_sit_out_the_pause_that_its_endpoint_asked_for(stop: Any) -> None:
    def script(asked: Asked) -> Reply | None:
        if asked.number == 1:
            return busy(3600.0)
        return None if stop is None else stop(asked)

    # With nothing under way there is no grace time to be spent: a day of it would be noticed.
    limits: dict[str, Any] = {"drain_timeout": 86_400.0}
    if stop is None:
        limits["budget"] = {"seconds": 0.5}
    with Endpoint(script, delay=0.1) as endpoint:
        one = experiment(model(endpoint), cases=questions(40), **limits)
        with pytest.raises(RunStoppedError if stop else BudgetSpentError):
            one.run()
        assert len(endpoint.requests) <= FEW


def test_a_judge_that_cannot_be_reached_ends_no_run() -> None:
    with Endpoint() as down:
        pass
    with Endpoint() as endpoint:
        result = experiment(
            model(endpoint),
            cases=questions(60),
            metrics=["builtin/exact_match", use("builtin/llm_rubric", rubric="Right?")],
            judges=[openai_judge("judge", base_url=down.url, api_key="key")],
        ).run()
        assert len(endpoint.requests) == 60
    assert result.status == "partial_failure"
    assert result.metrics["builtin/exact_match"].n_scored == 60
    assert result.metrics["builtin/llm_rubric"].n_errors == 60
    assert any("cannot be reached" in note for note in result.notes)
