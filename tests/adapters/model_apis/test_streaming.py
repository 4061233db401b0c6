"""Answers that come in pieces are what they would be had they come whole, or are none.

Covers: themis.adapters.model_apis.chat_completions, themis.adapters.model_apis.responses_api,
themis.adapters.model_apis.streaming, themis.adapters.transport
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.conftest import CHAT_ANSWER, RESPONSES_ANSWER
from themis.adapters import openai, openai_judge, vllm
from themis.adapters.model_apis.openai_compatible import OPENAI
from themis.adapters.model_apis.streaming import read_stream
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


def _piece(arguments: str, **more: Any) -> dict[str, Any]:
    """Return a piece of a tool call, its name inside where one is given."""
    name = {"name": more.pop("name")} if "name" in more else {}
    return {**more, "function": {**name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        # Each call has index 0 and an id of its own, whole (Gemini) or in pieces.
        ([_piece('{"a":1}', index=0, id="x", name="f"),
          _piece('{"a":2}', index=0, id="y", name="f")],
         [("x", '{"a":1}'), ("y", '{"a":2}')]),
        ([_piece('{"a"', index=0, id="x", name="f"), _piece(":1}", index=0),
          _piece('{"a"', index=0, id="y", name="g"), _piece(":2}", index=0)],
         [("x", '{"a":1}'), ("y", '{"a":2}')]),
        # No index at all, with ids and without.
        ([_piece('{"a"', id="x", name="f"), _piece(":1}"), _piece("{}", id="y", name="g")],
         [("x", '{"a":1}'), ("y", "{}")]),
        ([_piece('{"a":1}', name="f"), _piece('{"a":2}', name="f")],
         [(None, '{"a":1}'), (None, '{"a":2}')]),
        # Id and name in every piece of one call; or another id in each, without a name.
        ([_piece('{"a"', index=0, id="x", name="f"), _piece(":1}", index=0, id="x", name="f")],
         [("x", '{"a":1}')]),
        ([_piece('{"a"', index=0, id="x", name="f"), _piece(":1}", index=0, id="y")],
         [("y", '{"a":1}')]),
        ([_piece('{"a"', index=0, name="f"), _piece(":1}", index=0, name="f")],
         [(None, '{"a":1}')]),
        # As OpenAI has it, the pieces of two calls in turns, and the second first.
        ([_piece('{"a"', index=1, id="y", name="f"), _piece('{"b"', index=0, id="x", name="f"),
          _piece(":1}", index=1), _piece(":2}", index=0)],
         [("x", '{"b":2}'), ("y", '{"a":1}')]),
    ],
)  # fmt: skip
async def test_calls_in_a_stream_are_told_apart_by_id_as_well_as_index(
    pieces: list[Any], told: list[Any]
) -> None:
    whole = await _read(
        [*(chunk({"tool_calls": [one]}) for one in pieces), chunk(finish_reason="tool_calls")],
        "chat_completions",
    )
    calls = whole["choices"][0]["message"]["tool_calls"]
    assert [(one.get("id"), one["function"]["arguments"]) for one in calls] == told


async def test_a_message_that_is_left_out_is_of_the_phase_in_which_it_began() -> None:
    begun = {"type": "message", "role": "assistant", "phase": "commentary", "content": []}
    whole = await _read(
        [
            {"type": "response.output_item.added", "output_index": 0, "item": begun},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hm."},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "4"},
            {"type": "response.completed", "response": {**RESPONSES_ANSWER, "output": []}},
        ],
        "responses",
    )
    assert [one.get("phase") for one in whole["output"]] == ["commentary", None]


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


async def _read_raw(mode: Any, *parts: bytes) -> dict[str, Any]:
    async def pieces() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    whole, _ = await read_stream(
        pieces(), api=OPENAI.api(mode), endpoint="here", hide=lambda one: one
    )
    return whole


def said(*deltas: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in deltas)


FOUR = said(chunk({"content": "four"}, finish_reason="stop"))
DONE = b"data: [DONE]\n\n"


def content(whole: dict[str, Any]) -> Any:
    return whole["choices"][0]["message"]["content"]


# ── where a stream ends ──


@pytest.mark.network
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
async def test_a_server_that_holds_the_connection_open_after_the_end_costs_no_answer(
    server: Any, context: Context, mode: str
) -> None:
    server.streams(*(DELTAS if mode == "responses" else PIECES), done=mode != "responses")
    server.missing, server.stays_open = 100, True
    generator = openai("m", base_url=server.url, api_key="k", api_mode=mode, stream=True)
    result = await asyncio.wait_for(generator.generate(TEXT, context()), 20)
    assert "four" in str(result.final_output)
    # The connection is given up, as nobody knows what would still come on it.
    assert await asyncio.to_thread(server.left.wait, 20)
    await generator.aclose()


@pytest.mark.network
async def test_a_stream_that_was_read_to_its_end_leaves_its_connection_to_the_next(
    server: Any, context: Context
) -> None:
    server.streams(*PIECES)
    generator = openai(
        "m", base_url=server.url, api_key="k", api_mode="chat_completions", stream=True
    )
    for _ in range(3):
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.network
async def test_a_stream_that_failed_midway_leaves_no_connection_behind(
    server: Any, context: Context
) -> None:
    server.streams(PIECES[3], {"error": {"message": "overloaded"}}, done=False)
    server.missing, server.stays_open = 100, True
    generator = openai(
        "m", base_url=server.url, api_key="k", api_mode="chat_completions", stream=True
    )
    with pytest.raises(ProviderError, match="overloaded"):
        await generator.generate(TEXT, context())
    assert await asyncio.to_thread(server.left.wait, 20)  # before anybody closes the client
    await generator.aclose()


async def test_an_answer_that_never_said_how_it_ended_is_none() -> None:
    with pytest.raises(ProviderError, match="before the answer's end") as caught:
        await _read_raw("chat_completions", said(chunk({"content": "The answer is"})), DONE)
    assert caught.value.retryable


async def test_what_comes_after_the_end_is_not_read() -> None:
    whole = await _read_raw("chat_completions", FOUR, DONE, b"data: {not json\n\n")
    assert content(whole) == "four"


# ── what stands between the pieces ──


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message": "overloaded"}\n\n',
        b"event: error\ndata: overloaded\n\n",
        b'event:error\r\ndata: {"error": {"message": "overloaded"}}\r\n\r\n',
    ],
)
async def test_an_error_told_by_the_events_name_is_one(event: bytes) -> None:
    with pytest.raises(ProviderError, match="overloaded") as caught:
        await _read_raw("chat_completions", FOUR, event, DONE)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "sign",
    [
        b"event: ping\ndata: ping\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b'data: {"type": "ping"}\n\n',
        b"data:\n\n",
        b"data: \n\n",
        b"event: keepalive\ndata: 1\n\n",
        b": still here\n\n",
        b"event: x\n\n",
    ],
)
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
async def test_a_sign_of_life_is_no_piece_of_an_answer(sign: bytes, mode: str) -> None:
    events = FOUR + DONE if mode == "chat_completions" else said(*DELTAS)
    plain = await _read_raw(mode, events)
    assert await _read_raw(mode, sign, events) == plain
    first, *rest = events.split(b"\n\n")
    assert await _read_raw(mode, first + b"\n\n", sign, b"\n\n".join(rest)) == plain


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n"])
@given(cuts=st.lists(st.integers(0, 4000), max_size=40))
async def test_every_way_to_end_a_line_is_read_wherever_it_is_cut(
    ending: bytes, cuts: list[int]
) -> None:
    body = b"\xef\xbb\xbf" + (_events(PIECES) + DONE).replace(b"\n", ending)
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    parts = [body[start:stop] for start, stop in itertools.pairwise(edges)]
    assert await _read_raw("chat_completions", *parts) == WHOLE


async def test_a_character_cut_between_two_pieces_is_one_again() -> None:
    halves = [chunk({"content": "\ud83d"}), chunk({"content": "\ude00"}, finish_reason="stop")]
    assert content(await _read_raw("chat_completions", said(*halves), DONE)) == "\U0001f600"
    lost = said(chunk({"content": "a\ud83d"}, finish_reason="length"))
    assert content(await _read_raw("chat_completions", lost, DONE)) == "a\ufffd"


@pytest.mark.parametrize(
    "event",
    [
        {"choices": ["x"]},
        {"choices": 3},
        {"choices": [{"index": "zero", "delta": {"content": "4"}}]},
        {"choices": [{"index": 0, "delta": "4"}]},
    ],
)
async def test_a_piece_of_another_shape_is_a_failure_of_the_endpoint(event: Any) -> None:
    with pytest.raises(ProviderError, match="here streamed something") as caught:
        await _read_raw("chat_completions", said(event), FOUR, DONE)
    assert caught.value.retryable


# ── tool calls ──


@pytest.mark.parametrize("index", [3, 3_000_000])
async def test_an_index_says_only_where_a_call_belongs(index: int) -> None:
    whole = await _read_raw(
        "chat_completions",
        said(
            chunk(call(index, id="b", function={"name": "f", "arguments": '{"a"'})),
            chunk(call(1, id="a", function={"name": "g", "arguments": "{}"})),
            chunk(call(index, function={"arguments": ":1}"}), finish_reason="tool_calls"),
        ),
        DONE,
    )
    assert whole["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "function": {"name": "g", "arguments": "{}"}},
        {"id": "b", "function": {"name": "f", "arguments": '{"a":1}'}},
    ]


async def test_calls_without_an_index_are_kept_in_their_order() -> None:
    calls = [{"id": one, "function": {"name": one, "arguments": "{}"}} for one in "abc"]
    events = [chunk({"tool_calls": [one]}) for one in calls]
    whole = await _read_raw("chat_completions", said(*events), said(chunk(finish_reason="stop")))
    assert whole["choices"][0]["message"]["tool_calls"] == calls


# ── the Responses API ──


async def test_an_answer_whose_last_event_leaves_it_out_is_put_together_from_its_pieces() -> None:
    whole = await _read(
        [
            {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning"}},
            *(
                {"type": "response.output_text.delta", "output_index": 1, "delta": delta}
                for delta in ("fo", "ur")
            ),
            {"type": "response.completed", "response": {**RESPONSES_ANSWER, "output": []}},
        ],
        "responses",
    )
    assert whole["output"] == [
        {"type": "reasoning"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "four"}],
        },
    ]


async def test_a_refusal_in_pieces_is_one() -> None:
    whole = await _read(
        [
            {"type": "response.refusal.delta", "delta": "No."},
            {"type": "response.completed", "response": {**RESPONSES_ANSWER, "output": []}},
        ],
        "responses",
    )
    assert whole["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


# ── endpoints that do not stream ──


@pytest.mark.network
@pytest.mark.parametrize(
    "kind", ["Application/JSON", "application/vnd.api+json", "", "text/event-stream", "text/plain"]
)
async def test_an_answer_that_comes_whole_is_read_whatever_type_it_is_said_to_have(
    server: Any, context: Context, kind: str
) -> None:
    server.says(b"\n " + json.dumps(CHAT_ANSWER, indent=1).encode())
    server.content_type = kind
    generator = vllm("m", base_url=server.url, api_mode="chat_completions", stream=True)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert result.final_output == "four"
    assert "first_token_ms" not in (result.artifacts or {})


@pytest.mark.network
@pytest.mark.parametrize("page", [b"<html>sign in</html>", b"\n<!DOCTYPE html>", b"internal"])
async def test_a_page_in_place_of_a_stream_is_quoted(
    server: Any, context: Context, page: bytes
) -> None:
    server.says(page)
    server.content_type = "text/html"
    generator = vllm("m", base_url=server.url, api_mode="chat_completions", stream=True)
    with pytest.raises(ProviderError, match="something that is not JSON: ") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert page.decode().strip() in str(caught.value)
    assert caught.value.retryable


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

    whole, _ = await read_stream(
        pieces(), api=OPENAI.api(mode), endpoint="here", hide=lambda one: one
    )
    return whole


async def _pieces(*said: bytes) -> AsyncIterator[bytes]:
    for one in said:
        yield one


def _in_pieces(*said: bytes) -> Any:
    reading = read_stream(
        _pieces(*said), api=OPENAI.api("chat_completions"), endpoint="it", hide=lambda raw: raw
    )
    return asyncio.run(reading)


def test_a_line_in_any_number_of_pieces_is_joined() -> None:
    event = json.dumps(chunk({"content": "x" * 5000}, finish_reason="stop")).encode()
    said = b"data: " + event + b"\n\ndata: [DONE]\n\n"
    data, _ = _in_pieces(*(said[i : i + 1] for i in range(len(said))))
    assert data["choices"][0]["message"]["content"] == "x" * 5000


def test_events_without_end_are_an_error_of_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("themis.adapters.model_apis.streaming.MOST_EVENTS", 100)
    event = b"data: " + json.dumps(chunk({"content": ""})).encode() + b"\n\n"
    with pytest.raises(ProviderError, match="more than 100 events") as caught:
        _in_pieces(event * 101)
    assert not caught.value.retryable
    assert not caught.value.fatal
