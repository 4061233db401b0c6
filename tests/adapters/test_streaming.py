"""Answers that come in pieces are what they would be had they come whole, or are none."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.conftest import CHAT_ANSWER, RESPONSES_ANSWER
from themis.adapters import openai, openai_judge, vllm
from themis.adapters.streaming import read_stream
from themis.core.contexts import GenerateContext
from themis.core.errors import ProviderError
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")
CALL = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "system_fingerprint": "fp",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": {"content": [{"token": "fo"}, {"token": "ur"}]},
            "message": {
                "role": "assistant",
                "content": "four\u2028!",
                "reasoning_content": "2 and 2",
                "tool_calls": [CALL, {**CALL, "id": "call-2"}],
            },
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 5},
}


def chunk(delta: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    piece = {"index": 0, "delta": delta or {}, "finish_reason": None, **choice}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [piece]}


def call(index: int, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more}]}


PIECES = [
    {**chunk({"role": "assistant", "content": None}), "system_fingerprint": "fp"},
    chunk({"reasoning_content": "2 "}),
    chunk({"reasoning_content": "and 2"}),
    chunk({"content": "fo"}, logprobs={"content": [{"token": "fo"}]}),
    chunk({"content": "ur\u2028!"}, logprobs={"content": [{"token": "ur"}]}),
    chunk(call(0, id="call-1", type="function", function={"name": "add", "arguments": '{"a'})),
    chunk(call(0, function={"arguments": '": 2}'})),
    chunk(call(1, id="call-2", type="function", function={"name": "add", "arguments": ""})),
    chunk(call(1, function={"arguments": '{"a": 2}'})),
    chunk(finish_reason="tool_calls"),
    {**chunk(), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
]
DELTAS = [
    {"type": "response.created", "response": {"status": "in_progress"}},
    {"type": "response.output_text.delta", "delta": "four"},
    {"type": "response.completed", "response": RESPONSES_ANSWER},
]


@pytest.mark.network
async def test_a_chat_answer_in_pieces_is_the_whole_one(server: Any, context: Context) -> None:
    server.streams(*PIECES)
    generator = vllm("m", base_url=server.url, api_mode="chat_completions", stream=True)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    artifacts = result.artifacts or {}
    assert artifacts["raw_response"] == WHOLE
    assert result.final_output == "four\u2028!"
    assert result.token_usage == {"prompt_tokens": 9, "completion_tokens": 5}
    assert artifacts["reasoning"] == "2 and 2"
    assert [one["arguments"] for one in artifacts["tool_calls"]] == [{"a": 2}, {"a": 2}]
    assert 0 < artifacts["first_token_ms"] <= result.latency_ms
    server.content_type = "application/json"
    server.says(WHOLE)
    whole = vllm("m", base_url=server.url, api_mode="chat_completions")
    unstreamed = await whole.generate(TEXT, context())
    await whole.aclose()
    kept = {"finish_reason", "raw_response", "reasoning", "tool_calls"}
    assert {name: (unstreamed.artifacts or {})[name] for name in kept} == {
        name: artifacts[name] for name in kept
    }
    assert "first_token_ms" not in (unstreamed.artifacts or {})


@pytest.mark.network
async def test_a_response_in_pieces_is_the_whole_one(server: Any, context: Context) -> None:
    server.streams(*DELTAS, done=False)
    generator = openai("m", base_url=server.url, api_key="k", stream=True)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    artifacts = result.artifacts or {}
    assert artifacts["raw_response"] == RESPONSES_ANSWER
    assert artifacts["request"] == server.requests[0]["body"]
    assert result.final_output == "four"
    assert artifacts["first_token_ms"] > 0


async def test_items_that_the_last_event_leaves_out_are_those_that_came_before() -> None:
    item = RESPONSES_ANSWER["output"][1]  # type: ignore[index]
    whole = await _read(
        [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {**RESPONSES_ANSWER, "output": []}},
        ],
        "responses",
    )
    assert whole["output"] == [item]


@pytest.mark.network
async def test_a_judge_may_be_read_in_pieces(server: Any) -> None:
    server.streams(*DELTAS, done=False)
    judge = openai_judge("m", base_url=server.url, api_key="k", stream=True)
    response = await judge.judge(RenderedJudgePrompt(text="?"))
    await judge.aclose()
    assert response.text == "four"
    assert (response.artifacts or {})["first_token_ms"] > 0


@pytest.mark.network
async def test_an_endpoint_that_does_not_stream_is_read_as_it_answers(
    server: Any, context: Context
) -> None:
    server.says(CHAT_ANSWER)
    generator = vllm("m", base_url=server.url, api_mode="chat_completions", stream=True)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert result.final_output == "four"
    assert "first_token_ms" not in (result.artifacts or {})


@pytest.mark.network
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
@pytest.mark.parametrize("missing", [0, 100])
@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_a_stream_that_ends_early_may_be_asked_for_again(
    server: Any, context: Context, mode: str, missing: int, kept: int
) -> None:
    events = DELTAS if mode == "responses" else PIECES
    server.streams(*events[:kept], done=False)
    server.missing = missing
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode, stream=True)
    with pytest.raises(ProviderError) as caught:
        await generator.generate(TEXT, context())
    assert (caught.value.retryable, caught.value.unreachable) == (True, False)
    server.missing = 0
    server.streams(*events)
    assert "four" in str((await generator.generate(TEXT, context())).final_output)
    await generator.aclose()


@pytest.mark.network
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
async def test_a_connection_that_breaks_after_the_answers_end_takes_nothing_away(
    server: Any, context: Context, mode: str
) -> None:
    server.streams(*(DELTAS if mode == "responses" else PIECES))
    server.missing = 100
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode, stream=True)
    assert "four" in str((await generator.generate(TEXT, context())).final_output)
    await generator.aclose()


@pytest.mark.network
@pytest.mark.parametrize(
    ("mode", "event"),
    [
        ("chat_completions", {"error": {"message": "overloaded", "type": "server_error"}}),
        ("responses", {"type": "error", "code": "server_error", "message": "overloaded"}),
        ("responses", {"type": "response.failed", "response": {
            "status": "failed", "error": {"code": "server_error", "message": "overloaded"}}}),
    ],
)  # fmt: skip
async def test_an_error_in_a_stream_may_be_asked_for_again(
    server: Any, context: Context, mode: str, event: Any
) -> None:
    server.streams((DELTAS if mode == "responses" else PIECES)[1], event)
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode, stream=True)
    with pytest.raises(ProviderError, match="overloaded") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert (caught.value.retryable, caught.value.fatal) == (True, False)


@pytest.mark.network
async def test_a_refused_stream_says_why(server: Any, context: Context) -> None:
    server.says({"error": {"message": "slow down"}}, status=429, retry_after="3")
    generator = openai("m", base_url=server.url, api_key="k", stream=True)
    with pytest.raises(ProviderError, match="slow down") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.retry_after == 3


async def test_something_that_is_not_json_in_a_stream_may_be_asked_for_again() -> None:
    with pytest.raises(ProviderError, match="not JSON") as caught:
        await _read([], "responses", raw=b"data: {oops\n\n")
    assert caught.value.retryable


@given(cuts=st.lists(st.integers(0, 4000), max_size=40), ending=st.sampled_from(["\n", "\r\n"]))
async def test_where_the_network_cuts_a_stream_changes_nothing(
    cuts: list[int], ending: str
) -> None:
    raw = _events(PIECES).replace(b"\n", ending.encode()) + b": a comment\n\ndata: [DONE]\n\n"
    assert await _read([], "chat_completions", raw=raw, cuts=cuts) == WHOLE


def _events(events: list[Any]) -> bytes:
    # Not escaped, so that a line separator of Unicode stands in a line.
    told = [f"event: x\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events]
    return "".join(told).encode()


async def _read(
    events: list[Any], mode: Any, *, raw: bytes = b"", cuts: list[int] | None = None
) -> dict[str, Any]:
    body = _events(events) + raw
    edges = sorted({0, len(body), *(cut for cut in cuts or [] if cut < len(body))})

    async def pieces() -> AsyncIterator[bytes]:
        for start, stop in itertools.pairwise(edges):
            yield body[start:stop]

    whole, _ = await read_stream(pieces(), api_mode=mode, endpoint="here", hide=lambda one: one)
    return whole
