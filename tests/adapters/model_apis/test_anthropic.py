"""The Messages API: bodies beside those of Anthropic's own SDK, answers and errors over a socket.

Covers: themis.adapters.model_apis.anthropic
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from themis import evaluate
from themis.adapters import anthropic, anthropic_judge
from themis.core.config import RuntimeConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, ProviderError
from themis.core.hashing import check_json
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case
from themis.core.prompts import PromptSpec

Context = Callable[..., GenerateContext]
pytestmark = pytest.mark.network
CASE = Case(case_id="case-1", input="What is 2+2?")
CAP = {"max_output_tokens": 10}
DOT = "data:image/png;base64,iVBORw0KGgo="
WEB = "https://images.example/cat.png"
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
}
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}
HISTORY = [
    {"role": "system", "content": "You add."},
    {"role": "user", "content": "1+1 and 2+2?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
            {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
    {"role": "tool", "tool_call_id": "c2", "content": "4"},
    {"role": "user", "content": "And?"},
]
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "Two and two.", "signature": "s"},
        {"type": "text", "text": "fo"},
        {"type": "text", "text": "ur"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 9,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 4,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 5},
    },
}


def made(server: Any, **options: Any) -> Any:
    base_url = server.url.removesuffix("/v1")
    sampling = {**CAP, **options.pop("sampling", {})}
    return anthropic("claude-x", base_url=base_url, api_key="k-1", sampling=sampling, **options)


async def sent_by(server: Any, context: Context, given: Any, **options: Any) -> dict[str, Any]:
    server.says(ANSWER)
    generator = made(server, **options)
    await generator.generate(Case(case_id="c", input=given), context())
    await generator.aclose()
    found: dict[str, Any] = server.requests.pop()
    return found


async def sent_by_the_sdk(server: Any, **arguments: Any) -> dict[str, Any]:
    from anthropic import AsyncAnthropic

    server.says(ANSWER)
    base_url = server.url.removesuffix("/v1")
    async with AsyncAnthropic(api_key="k-1", base_url=base_url, max_retries=0) as client:
        await client.messages.create(model="claude-x", max_tokens=10, **arguments)
    found: dict[str, Any] = server.requests.pop()
    return found


ADDED = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
SAME: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    ("2+2", {}, {"messages": [{"role": "user", "content": "2+2"}]}),
    (
        "2+2",
        {"instructions": "Be brief.", "sampling": {"stop": "x", "reasoning_effort": "low"}},
        {
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "2+2"}],
            "stop_sequences": ["x"],
            "output_config": {"effort": "low"},
        },
    ),
    (
        {"text": "What is it?", "images": [DOT, WEB]},
        {},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": "iVBORw0KGgo=",
                            },
                        },
                        {"type": "image", "source": {"type": "url", "url": WEB}},
                    ],
                }
            ]
        },
    ),
    (
        HISTORY,
        {
            "sampling": {
                "tools": [TOOL],
                "tool_choice": "required",
                "parallel_tool_calls": False,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA},
                },
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            }
        },
        {
            "system": "You add.",
            "messages": [
                {"role": "user", "content": "1+1 and 2+2?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
                        {"type": "tool_use", "id": "c2", "name": "add", "input": {"a": 2}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "2"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": "4"},
                        {"type": "text", "text": "And?"},
                    ],
                },
            ],
            "tools": [ADDED],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
    ),
    (
        "2+2",
        {
            "sampling": {
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "add"}},
            }
        },
        {
            "messages": [{"role": "user", "content": "2+2"}],
            "tools": [ADDED],
            "tool_choice": {"type": "tool", "name": "add"},
        },
    ),
]


@pytest.mark.parametrize(("given", "options", "arguments"), SAME)
async def test_a_request_is_the_one_that_the_sdk_sends(
    server: Any, context: Context, given: Any, options: Any, arguments: Any
) -> None:
    own = await sent_by(server, context, given, **options)
    theirs = await sent_by_the_sdk(server, **arguments)
    assert own["body"] == theirs["body"]
    assert json.dumps(own["body"].get("output_config")) == json.dumps(
        theirs["body"].get("output_config")
    )  # the order of a schema's fields is heeded
    assert own["path"] == theirs["path"] == "/v1/messages"
    for name in ("authorization", "anthropic-version", "content-type"):
        (mine,) = [value for known, value in own["headers"].items() if known.lower() == name]
        (its,) = [value for known, value in theirs["headers"].items() if known.lower() == name]
        assert mine == its


async def test_an_address_may_name_the_version(server: Any, context: Context) -> None:
    server.says(ANSWER)
    generator = anthropic("claude-x", base_url=server.url, api_key="k", sampling=CAP)
    await generator.generate(CASE, context())
    await generator.aclose()
    assert server.requests[0]["path"] == "/v1/messages"


async def test_what_was_said_and_used_is_read(server: Any, context: Context) -> None:
    server.says(ANSWER, request_id="req-1", anthropic_ratelimit_requests_remaining="49")
    generator = made(server, instructions="Only the word.")
    result = await generator.generate(CASE, context(prompt_spec=PromptSpec(prefix="Q:")))
    await generator.aclose()
    assert result.final_output == "four"
    assert result.token_usage == {
        "prompt_tokens": 15,
        "completion_tokens": 7,
        "cached_tokens": 4,
        "reasoning_tokens": 5,
    }
    artifacts = result.artifacts or {}
    assert artifacts["reasoning"] == "Two and two."
    assert artifacts["finish_reason"] == "stop"
    assert artifacts["provider_request_id"] == "req-1"
    assert artifacts["rate_limit"] == {"remaining_requests": "49"}
    assert [one.role for one in result.conversation or []] == ["system", "user", "assistant"]
    assert "k-1" not in str(result.model_dump())
    check_json(artifacts)


def streamed(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], reason: str) -> list[Any]:
    start = {**ANSWER, "content": [], "stop_reason": None, "usage": {"input_tokens": 9}}
    events: list[Any] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": reason, "stop_sequence": None}
    return [
        *events,
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


THOUGHT = (
    {"type": "thinking", "thinking": ""},
    [
        {"type": "thinking_delta", "thinking": "Two "},
        {"type": "thinking_delta", "thinking": "and two."},
        {"type": "signature_delta", "signature": "s"},
    ],
)
TEXT = (
    {"type": "text", "text": ""},
    [{"type": "text_delta", "text": "fo"}, {"type": "text_delta", "text": "ur"}],
)
CALL = (
    {"type": "tool_use", "id": "t1", "name": "add", "input": {}},
    [
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ": 1}"},
    ],
)


async def test_pieces_are_what_they_would_be_had_they_come_whole(
    server: Any, context: Context
) -> None:
    server.streams(*streamed(THOUGHT, TEXT, reason="end_turn"), done=False)
    generator = made(server, stream=True)
    result = await generator.generate(CASE, context())
    assert result.final_output == "four"
    artifacts = result.artifacts or {}
    assert artifacts["raw_response"]["content"] == [
        {"type": "thinking", "thinking": "Two and two.", "signature": "s"},
        {"type": "text", "text": "four"},
    ]
    assert result.token_usage == {"prompt_tokens": 9, "completion_tokens": 7}
    assert artifacts["first_token_ms"] > 0
    assert server.requests[0]["body"]["stream"] is True

    server.streams(*streamed(CALL, reason="tool_use"), done=False)
    result = await generator.generate(CASE, context())
    assert result.final_output == [{"name": "add", "arguments": {"a": 1}}]
    assert (result.artifacts or {})["finish_reason"] == "tool_calls"
    assert (result.artifacts or {})["tool_calls"][0]["id"] == "t1"

    server.streams(*streamed(TEXT, reason="end_turn")[:-2], done=False)
    with pytest.raises(ProviderError, match="before the answer's end") as caught:
        await generator.generate(CASE, context())
    assert caught.value.retryable

    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.streams(*streamed(TEXT, reason="end_turn")[:4], said, done=False)
    with pytest.raises(ProviderError, match="Overloaded") as caught:
        await generator.generate(CASE, context())
    assert caught.value.retryable
    await generator.aclose()


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
async def test_how_an_answer_ended_is_told(
    server: Any, context: Context, reason: str, finish: str
) -> None:
    server.says({**ANSWER, "stop_reason": reason})
    generator = made(server)
    result = await generator.generate(CASE, context())
    await generator.aclose()
    assert (result.artifacts or {})["finish_reason"] == finish
    assert ("note" in (result.artifacts or {})) == (reason == "pause_turn")


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}


@pytest.mark.parametrize(
    ("status", "data", "headers", "expected"),
    [
        (429, error("rate_limit_error", "slow"), {"retry_after": "3"}, (True, False, 3.0)),
        (529, error("overloaded_error", "Overloaded"), {}, (True, False, None)),
        (500, error("api_error", "Internal server error"), {}, (True, False, None)),
        (401, error("authentication_error", "invalid x-api-key"), {}, (False, True, None)),
        (403, error("permission_error", "no"), {}, (False, True, None)),
        (404, error("not_found_error", "model: claude-y"), {}, (False, True, None)),
        (400, error("invalid_request_error", "Your credit balance is too low to access"), {},
         (False, True, None)),
        (400, error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), {},
         (False, False, None)),
        (413, error("request_too_large", "Request exceeds the maximum size"), {},
         (False, False, None)),
    ],
)  # fmt: skip
async def test_an_error_says_what_it_means_for_the_run(
    server: Any, context: Context, status: int, data: Any, headers: Any, expected: Any
) -> None:
    server.says(data, status=status, **headers)
    generator = made(server)
    with pytest.raises(ProviderError) as caught:
        await generator.generate(CASE, context())
    await generator.aclose()
    error = caught.value
    assert (error.retryable, error.fatal, error.retry_after) == expected
    assert data["error"]["message"][:20] in str(error)


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({}, "wants a limit of output tokens"),
        ({**CAP, "seed": 3}, "takes no seed"),
        ({**CAP, "response_format": {"type": "json_object"}}, "takes no response_format but"),
    ],
)
def test_what_the_api_has_no_place_for_is_refused_at_once(sampling: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        anthropic("claude-x", sampling=sampling)


async def test_a_system_message_later_on_is_refused(server: Any, context: Context) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
    with pytest.raises(DefinitionError, match="no place for a system message in the midst"):
        await made(server).generate(Case(case_id="c", input=messages), context())
    assert server.requests == []


async def test_a_missing_key_is_named(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    with pytest.raises(ProviderError, match="set ANTHROPIC_API_KEY, or give api_key="):
        await anthropic("claude-x", sampling=CAP).generate(CASE, context())


async def test_a_judge_asks_for_a_verdict_in_the_form_of_a_schema(server: Any) -> None:
    server.says(ANSWER)
    base_url = server.url.removesuffix("/v1")
    judge = anthropic_judge("claude-x", base_url=base_url, api_key="k", sampling=CAP)
    response = await judge.judge(
        RenderedJudgePrompt(text="Right?", instructions="Be fair.", response_schema=SCHEMA)
    )
    await judge.aclose()
    assert response.text == "four"
    body = server.requests[0]["body"]
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["system"] == "Be fair."


def test_a_run_is_kept_under_a_budget_of_tokens(server: Any) -> None:
    server.says(ANSWER)
    result = evaluate(
        model=made(server),
        data=[{"input": f"{n}", "expected_output": "four"} for n in range(4)],
        metric="builtin/exact_match",
        runtime=RuntimeConfig(budget={"tokens": 100_000}),
    )
    assert result.metrics["builtin/exact_match"].value == 1.0
    assert len(server.requests) == 4
