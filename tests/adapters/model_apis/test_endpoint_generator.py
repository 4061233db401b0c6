"""The OpenAI and vLLM adapters: against stand-ins, and against a real server.

Covers: themis.adapters, themis.adapters.model_apis,
themis.adapters.model_apis.endpoint, themis.adapters.model_apis.endpoint_generator,
themis.adapters.model_apis.endpoint_judge, themis.adapters.model_apis.openai_compatible,
themis.adapters.model_apis.own_client,
themis.adapters.model_apis.sdk_client
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from themis.adapters import openai, openai_judge, vllm, vllm_judge
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError
from themis.core.hashing import check_json
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case
from themis.core.prompts import PromptSpec

Context = Callable[..., GenerateContext]
CASE = Case(case_id="case-1", input={"question": "2+2"})
SPEC = PromptSpec(instructions="Be brief.", prefix="Q:", suffix="A:")
TEXT = Case(case_id="case-1", input="What is 2+2?")


class FakeResponses:
    async def create(self, **kwargs: object) -> object:
        return SimpleNamespace(
            id="resp-1",
            output_text="4",
            usage=SimpleNamespace(input_tokens=3, output_tokens=1),
            headers={"x-ratelimit-limit-requests": "60"},
            model_dump=lambda mode="json": {"request": kwargs, "output_text": "4"},
        )


class FakeCompletions:
    async def create(self, **kwargs: object) -> object:
        return SimpleNamespace(
            id="chat-1",
            choices=[SimpleNamespace(message=SimpleNamespace(content="4"))],
            usage=SimpleNamespace(prompt_tokens=3, completion_tokens=1),
            headers={"x-ratelimit-limit-requests": "120"},
            model_dump=lambda mode="json": {"request": kwargs},
        )


class FakeClient:
    @property
    def responses(self) -> FakeResponses:
        return FakeResponses()

    @property
    def chat(self) -> SimpleNamespace:
        return SimpleNamespace(completions=FakeCompletions())


# ── stand-ins ─────────────────────────────────────────────────────────────────────────────────────


def test_importing_the_adapters_imports_no_library_of_theirs() -> None:
    code = (
        "import sys, themis.adapters; "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'openai', 'langgraph')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_stand_in_for_the_responses_api_answers(context: Context) -> None:
    generator = openai("gpt-fake", client=FakeClient(), instructions="Only the number.")
    result = await generator.generate(CASE, context())
    assert result.final_output == "4"
    assert result.token_usage == {"prompt_tokens": 3, "completion_tokens": 1}
    artifacts = result.artifacts or {}
    assert sorted(artifacts) == [
        "provider_request_id", "rate_limit", "raw_response", "request", "response_headers",
    ]  # fmt: skip
    assert artifacts["request"] == {
        "model": "gpt-fake",
        "input": '{"question":"2+2"}',
        "instructions": "Only the number.",
    }
    assert artifacts["rate_limit"] == {"limit_requests": "60"}
    assert artifacts["provider_request_id"] == "resp-1"
    assert [message.role for message in result.conversation or []] == [
        "system",
        "user",
        "assistant",
    ]


async def test_a_stand_in_for_chat_completions_answers(context: Context) -> None:
    generator = vllm(
        "fake-vllm",
        base_url="http://localhost:8000/v1",
        client=FakeClient(),
        api_mode="chat_completions",
    )
    assert (generator.api_mode, generator.model) == ("chat_completions", "fake-vllm")
    assert generator.base_url == "http://localhost:8000/v1"
    assert generator.provider_key == "vllm:http://localhost:8000/v1"
    result = await generator.generate(CASE, context())
    assert result.final_output == "4"


async def test_a_stand_in_is_given_the_arguments_that_it_names(context: Context) -> None:
    asked: list[Any] = []

    class Narrow:
        async def create(self, model: str, messages: list[Any]) -> object:
            asked.append((model, messages))
            return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="4"))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=Narrow()))
    generator = openai("m", client=client, api_mode="chat_completions")
    assert (await generator.generate(TEXT, context())).final_output == "4"
    assert asked == [("m", [{"role": "user", "content": "What is 2+2?"}])]


# ── a real server ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.network
async def test_the_body_is_sent_as_it_is_and_what_came_is_kept(
    server: Any, context: Context
) -> None:
    server.headers = {
        "x-request-id": "req-1", "x-ratelimit-remaining-tokens": "10", "set-cookie": "secret=1",
    }  # fmt: skip
    generator = openai(
        "m",
        base_url=server.url + "/",
        api_key="sk-secret",
        instructions="Only the word.",
        sampling={"temperature": 0.5, "max_output_tokens": 10, "top_k": 3},
        client_options={"headers": {"x-team": "evals"}},
    )
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    (request,) = server.requests
    body = {
        "model": "m", "input": "What is 2+2?", "instructions": "Only the word.",
        "temperature": 0.5, "max_output_tokens": 10, "top_k": 3,
    }  # fmt: skip
    assert (request["path"], request["body"]) == ("/v1/responses", body)
    assert request["headers"]["x-team"] == "evals"
    assert result.final_output == "four"
    assert result.token_usage == {
        "prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 3,
    }  # fmt: skip
    artifacts = result.artifacts or {}
    assert artifacts["request"] == body
    assert artifacts["provider_request_id"] == "req-1"
    assert artifacts["rate_limit"] == {"remaining_tokens": "10"}
    assert artifacts["response_headers"]["x-request-id"] == "req-1"
    assert "set-cookie" not in artifacts["response_headers"]
    assert artifacts["finish_reason"] == "stop"
    assert artifacts["raw_response"]["id"] == "resp-1"
    assert "sk-secret" not in str(result.model_dump())
    check_json(artifacts)


@pytest.mark.network
async def test_chat_completions_carry_the_seed(server: Any, context: Context) -> None:
    generator = vllm("m", base_url=server.url, api_mode="chat_completions", sampling={"min_p": 0.1})
    result = await generator.generate(TEXT, context(prompt_spec=SPEC))
    await generator.aclose()
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["body"] == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Q:\nWhat is 2+2?\nA:"},
        ],
        "seed": 7,
        "min_p": 0.1,
    }
    assert request["headers"]["authorization"] == "Bearer EMPTY"
    assert (result.final_output, (result.artifacts or {})["finish_reason"]) == ("four", "stop")


@pytest.mark.network
@pytest.mark.parametrize(
    ("status", "data", "headers", "expected"),
    [
        (429, {"error": {"message": "slow down"}}, {"retry_after": "3"}, (True, False, 3.0)),
        (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, {}, (False, True, None)),
        (401, {"error": {"message": "bad key"}}, {}, (False, True, None)),
        (403, {"error": {"message": "no"}}, {}, (False, True, None)),
        (404, {"error": {"message": "no model"}}, {}, (False, True, None)),
        (400, {"error": {"message": "too long"}}, {}, (False, False, None)),
        (503, b"busy", {"retry_after": "0"}, (True, False, 0.0)),
        (500, {}, {}, (True, False, None)),
    ],
)  # fmt: skip
async def test_a_refusal_says_what_it_means_for_the_run(
    server: Any, context: Context, status: int, data: Any, headers: Any, expected: Any
) -> None:
    server.says(data, status=status, **headers)
    generator = openai("m", base_url=server.url, api_key="sk-secret")
    with pytest.raises(ProviderError) as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    error = caught.value
    assert (error.retryable, error.fatal, error.retry_after) == expected
    assert error.status == status
    assert "\n" not in str(error)
    assert "sk-secret" not in str(error)
    assert len(server.requests) == 1  # trying again is the engine's


@pytest.mark.network
@pytest.mark.parametrize(
    "body",
    [b"<html>gateway</html>", b'{"id": "x", ', b"[]", b'{"id": "x"}', b""],
)
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
async def test_an_answer_that_is_none_may_be_asked_for_again(
    server: Any, context: Context, body: bytes, mode: str
) -> None:
    server.says(body)
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode)
    with pytest.raises(ProviderError) as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.retryable


@pytest.mark.network
async def test_a_connection_that_fails_may_be_tried_again(context: Context) -> None:
    generator = openai("m", base_url="http://127.0.0.1:9/v1", api_key="k")
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert (caught.value.retryable, caught.value.status) == (True, None)


@pytest.mark.network
async def test_a_hanging_endpoint_is_left_when_the_caller_says_so(
    server: Any, context: Context
) -> None:
    server.hang = 2.0
    generator = openai("m", base_url=server.url, api_key="k")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(generator.generate(TEXT, context()), 0.2)
    server.hang = 0.0
    assert (await generator.generate(TEXT, context())).final_output == "four"
    await generator.aclose()


@pytest.mark.network
async def test_the_clients_own_timeout_is_a_failure_to_try_again(
    server: Any, context: Context
) -> None:
    server.hang = 1.0
    generator = openai("m", base_url=server.url, api_key="k", client_options={"timeout": 0.1})
    with pytest.raises(ProviderError, match="did not answer in time") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.retryable


@pytest.mark.network
@pytest.mark.parametrize(
    ("mode", "data", "text", "finish"),
    [
        ("chat_completions", {"choices": [{"finish_reason": "length", "message": {
            "content": "fo"}}]}, "fo", "length"),
        ("chat_completions", {"choices": [{"finish_reason": "stop", "message": {
            "content": None, "refusal": "No."}}]}, "No.", "refusal"),
        ("chat_completions", {"choices": [{"finish_reason": "stop", "message": {"content": ""}}]},
         "", "stop"),
        ("responses", {"output": [], "status": "incomplete",
                       "incomplete_details": {"reason": "max_output_tokens"}}, "", "length"),
        ("responses", {"output": [{"type": "message", "content": [
            {"type": "refusal", "refusal": "No."}]}], "status": "completed"}, "No.", "refusal"),
    ],
)  # fmt: skip
async def test_how_an_answer_ended_is_told(
    server: Any, context: Context, mode: str, data: Any, text: str, finish: str
) -> None:
    server.says(data)
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert (result.final_output, (result.artifacts or {})["finish_reason"]) == (text, finish)


@pytest.mark.network
async def test_an_error_in_an_answer_of_status_200_is_an_error(
    server: Any, context: Context
) -> None:
    server.says({"error": {"message": "overloaded", "code": 503}})
    generator = openai("m", base_url=server.url, api_key="k")
    with pytest.raises(ProviderError, match="overloaded") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert (caught.value.status, caught.value.retryable) == (503, True)


@pytest.mark.network
def test_each_event_loop_has_a_client_of_its_own(server: Any, context: Context) -> None:
    generator = openai("m", base_url=server.url, api_key="k")

    async def once() -> Any:
        answers = await asyncio.gather(*(generator.generate(TEXT, context()) for _ in range(3)))
        await generator.aclose()
        return [answer.final_output for answer in answers]

    assert asyncio.run(once()) == asyncio.run(once()) == ["four"] * 3


@pytest.mark.network
async def test_a_given_client_is_used_without_its_retries_and_left_open(
    server: Any, context: Context
) -> None:
    import openai as sdk

    server.says({"error": {"message": "busy"}}, status=503)
    client = sdk.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=5)
    generator = openai("m", client=client)
    assert generator.base_url == server.url
    with pytest.raises(ProviderError):
        await generator.generate(TEXT, context())
    assert len(server.requests) == 1
    await generator.aclose()
    assert not client.is_closed()
    await client.close()


def test_a_blocking_client_is_refused() -> None:
    import openai as sdk

    with pytest.raises(DefinitionError, match="which blocks; give an AsyncOpenAI"):
        openai("m", client=sdk.OpenAI(api_key="k"))


async def test_a_missing_key_stops_the_run_with_one_line(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ProviderError, match="set OPENAI_API_KEY, or give api_key=") as caught:
        await openai("m").generate(TEXT, context())
    assert caught.value.fatal


@pytest.mark.network
async def test_the_environments_key_is_never_sent_to_vllm(
    server: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody")
    for arguments in ({}, {"api_key": ""}):
        generator = vllm("m", base_url=server.url, **arguments)
        await generator.generate(TEXT, context())
        await generator.aclose()
    assert len(server.requests) == 2
    assert "sk-of-somebody" not in str(server.requests)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'themis-eval\[vllm\]'"):
        vllm("m", base_url="http://h/v1")
    assert openai("m", client=FakeClient()).model == "m"


async def test_an_error_that_is_not_the_endpoints_passes_through(context: Context) -> None:
    class Broken:
        async def create(self, **kwargs: object) -> object:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        await openai("m", client=SimpleNamespace(responses=Broken())).generate(TEXT, context())


# ── judges ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [openai_judge, vllm_judge])
def test_what_a_judge_says_of_schemas_is_part_of_it_where_it_says_yes(make: Any) -> None:
    asked = {"base_url": "http://localhost:1/v1", "api_key": "k"}
    plain = make("m", **asked)
    structured = make("m", **asked, structured_output=True)
    assert (plain.structured_output, structured.structured_output) == (False, True)
    assert make("m", **asked, structured_output=False).fingerprint() == plain.fingerprint()
    assert structured.fingerprint() != plain.fingerprint()
    with pytest.raises(DefinitionError, match="structured_output = 'yes': must be true or false"):
        make("m", **asked, structured_output="yes")


@pytest.mark.network
@pytest.mark.parametrize("make", [openai_judge, vllm_judge])
async def test_a_judge_is_asked_as_a_generator_is(server: Any, make: Any) -> None:
    judge = make(
        "m", base_url=server.url, api_key="k", api_mode="chat_completions", instructions="Be fair."
    )
    prompt = RenderedJudgePrompt(
        text="Is 4 right?", instructions="Be strict.", response_schema={"type": "object"}
    )
    response = await judge.judge(prompt, seed=3)
    await judge.aclose()
    assert response.text == "four"
    assert response.token_usage == {"prompt_tokens": 9, "completion_tokens": 1}
    assert server.requests[0]["body"] == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be fair.\n\nBe strict."},
            {"role": "user", "content": "Is 4 right?"},
        ],
        "seed": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "judgment", "schema": {"type": "object"}, "strict": True},
        },
    }


def test_judges_of_two_models_have_two_names() -> None:
    names = [openai_judge(name, client=FakeClient()).component_id for name in ("a", "b")]
    assert names == ["openai_judge/a", "openai_judge/b"]
    assert vllm_judge("a", base_url="http://h/v1", client=FakeClient()).provider_key == (
        "vllm:http://h/v1"
    )
