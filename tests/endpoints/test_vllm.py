"""The vLLM adapter against the real vLLM server: `make test-vllm`.

Opt-in, for the server is long to install and to start: these tests are run only by their marker,
and then fail where it is not to be had.

Covers: themis.adapters.model_apis, themis.adapters.model_apis.openai_compatible
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demo.local_model import find_weights
from tests.support.forwarder import Forwarder
from tests.support.questions import AS_COLOUR, COLOUR, MODES, answers, ask, counted, texts
from tests.support.vllm_server import CONTEXT_TOKENS, MODEL, vllm_server
from themis.adapters import vllm
from themis.core.errors import RunStoppedError
from themis.core.results import RunStatus

ROOT = Path(__file__).parents[2]
QUESTION = "Name a colour."

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    python = Path(os.environ.get("THEMIS_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
    folder = python.parents[1] / "served"
    with vllm_server(python, weights=find_weights(), folder=folder) as base_url:
        yield base_url


def generator(url: str, api_mode: str = "chat_completions", **more: Any) -> Any:
    sampling = {"temperature": 0, "max_output_tokens": 8, **more.pop("sampling", {})}
    return vllm(
        more.pop("model", MODEL), base_url=url, api_mode=api_mode, sampling=sampling, **more
    )


@pytest.mark.parametrize("api_mode", MODES)
def test_an_answer_comes_with_the_servers_own_figures(url: str, api_mode: str) -> None:
    (answer,) = answers(ask(generator(url, api_mode), QUESTION))
    artifacts = answer.artifacts or {}
    assert isinstance(answer.final_output, str)
    assert answer.final_output.strip()
    assert answer.token_usage is not None
    usage = (answer.token_usage["prompt_tokens"], answer.token_usage["completion_tokens"])
    assert usage == counted(answer)
    assert usage[1] == 8
    assert artifacts["finish_reason"] == "length"
    assert artifacts["provider_request_id"] == artifacts["raw_response"]["id"]
    assert answer.latency_ms is not None
    assert answer.latency_ms > 0
    assert [message.role for message in answer.conversation or []] == ["user", "assistant"]


def test_both_apis_ask_the_model_the_same(url: str) -> None:
    said = [
        ask(generator(url, api_mode, instructions="Answer in one word."), QUESTION)
        for api_mode in MODES
    ]
    assert texts(said[0]) == texts(said[1])
    assert counted(answers(said[0])[0]) == counted(answers(said[1])[0])


@pytest.mark.parametrize("api_mode", MODES)
def test_a_streamed_answer_is_the_whole_answer_with_the_time_of_its_first_token(
    url: str, api_mode: str
) -> None:
    (whole,) = answers(ask(generator(url, api_mode), QUESTION))
    (streamed,) = answers(ask(generator(url, api_mode, stream=True), QUESTION))
    assert streamed.final_output == whole.final_output
    assert streamed.token_usage == whole.token_usage
    artifacts = streamed.artifacts or {}
    assert artifacts["finish_reason"] == "length"
    assert streamed.latency_ms is not None
    assert 0 < artifacts["first_token_ms"] < streamed.latency_ms


@pytest.mark.parametrize("api_mode", MODES)
def test_a_json_schema_is_kept_to(url: str, api_mode: str) -> None:
    sampling = {"response_format": AS_COLOUR, "max_output_tokens": 48}
    (said,) = texts(ask(generator(url, api_mode, sampling=sampling), QUESTION))
    assert json.loads(said)["colour"] in COLOUR["properties"]["colour"]["enum"]


@pytest.mark.parametrize("api_mode", MODES)
def test_an_unknown_model_stops_the_run_with_one_line(url: str, api_mode: str) -> None:
    with Forwarder(url) as forwarder, pytest.raises(RunStoppedError) as stopped:
        ask(
            generator(forwarder.url, api_mode, model="no-such-model"),
            *[f"{QUESTION} {n}" for n in range(20)],
            max_concurrent_tasks=2,
        )
    assert "\n" not in str(stopped.value)
    assert "`no-such-model` does not exist" in str(stopped.value)
    assert {one.status for one in forwarder.passages} == {404}
    assert len(forwarder.passages) <= 2


@pytest.mark.parametrize("api_mode", MODES)
def test_a_question_too_long_for_the_model_is_one_cases_error(url: str, api_mode: str) -> None:
    with Forwarder(url) as forwarder:
        result = ask(generator(forwarder.url, api_mode), QUESTION, "word " * 2 * CONTEXT_TOKENS)
    assert result.status is RunStatus.PARTIAL_FAILURE
    good, bad = result.cases
    assert len(good.generated_candidates) == 1
    (failure,) = bad.generation_failures
    assert "answered 400" in failure.message
    assert "maximum context length is 2048 tokens" in failure.message
    assert sorted(one.status or 0 for one in forwarder.passages) == [200, 400]


@pytest.mark.parametrize("api_mode", MODES)
def test_the_seed_of_a_sample_is_honoured(url: str, api_mode: str) -> None:
    def said() -> list[Any]:
        warm = generator(url, api_mode, sampling={"temperature": 1})
        return texts(ask(warm, QUESTION, samples=4, max_concurrent_tasks=1))

    first = said()
    assert said() == first
    assert len(set(first)) > 1


@pytest.mark.parametrize("api_mode", MODES)
def test_the_sampling_parameters_that_only_vllm_knows_reach_the_sampler(
    url: str, api_mode: str
) -> None:
    greedy = texts(ask(generator(url, api_mode), QUESTION))
    for one in ({"top_k": 1}, {"min_p": 1.0}):
        sampling = {"temperature": 1, **one}
        result = ask(generator(url, api_mode, sampling=sampling), QUESTION, seeds=[1])
        assert texts(result) == greedy, one
    free = ask(generator(url, api_mode, sampling={"temperature": 1}), QUESTION, samples=4)
    assert set(texts(free)) != set(greedy)
    refused = ask(generator(url, api_mode, sampling={"top_k": -7}), QUESTION)
    (failure,) = refused.cases[0].generation_failures
    assert "top_k" in failure.message
