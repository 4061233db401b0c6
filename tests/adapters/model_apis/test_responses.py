"""What is kept of an answer: text, tool calls, reasoning, usage, and how it ended.

Covers: themis.adapters.model_apis.answers, themis.adapters.transport.jsonable,
themis.adapters.transport.lenient_json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.adapters import openai, openai_judge, vllm
from themis.adapters.transport.lenient_json import read_json
from themis.core.contexts import GenerateContext
from themis.core.errors import ProviderError
from themis.core.hashing import check_json
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")
ADD = {"name": "add", "arguments": {"a": 2}}
CUSTOM = {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"}


def chat(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"finish_reason": finish, "message": message}], **more}


def response(*items: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "x", "status": status, "output": list(items), **more}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}}
CALL_ITEM = {
    "type": "function_call", "id": "fc", "call_id": "c1", "name": "add", "arguments": '{"a":2}',
}  # fmt: skip
THINKING = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "2 and"}],
    "content": [{"type": "reasoning_text", "text": "2"}],
}


async def ask(
    server: Any, context: Context, data: Any, make: Any = openai, **arguments: Any
) -> tuple[Any, dict[str, Any]]:
    server.says(data)
    mode = "chat_completions" if "choices" in data else "responses"
    generator = make("m", base_url=server.url, api_key="k", api_mode=mode, **arguments)
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    return result, result.artifacts or {}


@pytest.mark.network
@pytest.mark.parametrize(
    ("data", "output", "finish"),
    [
        (chat({"content": "4"}, "stop"), "4", "stop"),
        (chat({"content": "4"}, "length"), "4", "length"),
        (chat({"content": "4"}, "max_tokens"), "4", "length"),
        (chat({"content": "4"}, "MAX_TOKENS"), "4", "length"),
        (chat({"content": "4"}, "model_length"), "4", "length"),
        (chat({"content": "4"}, "end_turn"), "4", "stop"),
        (chat({"content": "4"}, "STOP"), "4", "stop"),
        (chat({"content": ""}, "SAFETY"), "", "content_filter"),
        (chat({"content": ""}, "safety"), "", "content_filter"),
        (chat({"content": [{"type": "refusal", "refusal": "No."}]}), "No.", "refusal"),
        (chat({"content": ["4"]}), "4", "stop"),
        (chat({"content": "", "refusal": "No."}, "stop"), "No.", "refusal"),
        (chat({"content": None}, "content_filter"), "", "content_filter"),
        (chat({"content": ""}, "stop"), "", "stop"),
        (chat({"content": [{"type": "text", "text": "4"}]}), "4", "stop"),
        (chat({"content": "4"}, "abort"), "4", "abort"),
        (chat({"content": None, "tool_calls": [CHAT_CALL]}, "tool_calls"), [ADD], "tool_calls"),
        (chat({"content": None, "tool_calls": [CHAT_CALL]}, "stop"), [ADD], "tool_calls"),
        (chat({"content": None, "tool_calls": [CHAT_CALL]}, "length"), [ADD], "length"),
        (chat({"content": None, "function_call": CHAT_CALL["function"]}, "function_call"),
         [ADD], "tool_calls"),
        (chat({"content": "See:", "tool_calls": [CHAT_CALL]}, "tool_calls"), "See:", "tool_calls"),
        (response(message("4")), "4", "stop"),
        (response({"type": "message", "content": "4"}), "4", "stop"),
        (response(message("")), "", "stop"),
        (response({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}),
         "No.", "refusal"),
        (response(message("4"), status="incomplete", incomplete_details={
            "reason": "max_output_tokens"}), "4", "length"),
        (response(status="incomplete", incomplete_details={"reason": "content_filter"}),
         "", "content_filter"),
        (response(CALL_ITEM), [ADD], "tool_calls"),
        (response(THINKING, CALL_ITEM, CUSTOM), [ADD, {"name": "shell", "arguments": "ls"}],
         "tool_calls"),
        (response(message("See:"), CALL_ITEM), "See:", "stop"),
    ],
)  # fmt: skip
async def test_how_an_answer_ended_goes_by_one_name_in_both_apis(
    server: Any, context: Context, data: Any, output: Any, finish: str
) -> None:
    result, artifacts = await ask(server, context, data)
    assert (result.final_output, artifacts["finish_reason"]) == (output, finish)
    if calls := artifacts.get("tool_calls"):  # where metrics and judges of conversations look
        told = [{"name": one["name"], "arguments": one["arguments"]} for one in calls]
        text = output if isinstance(output, str) else None
        assert result.conversation[-1].content == {"content": text, "tool_calls": told}
    else:
        assert result.conversation[-1].content == output


@pytest.mark.network
@pytest.mark.parametrize(("used", "finish"), [(9, "stop"), (10, "length"), (None, "stop")])
async def test_an_answer_that_used_all_its_tokens_is_cut_off_whatever_the_server_says(
    server: Any, context: Context, used: int | None, finish: str
) -> None:
    usage = {} if used is None else {"usage": {"input_tokens": 3, "output_tokens": used}}
    data = response(message("and so"), **usage)
    _, artifacts = await ask(server, context, data, sampling={"max_output_tokens": 10})
    assert artifacts["finish_reason"] == finish


@pytest.mark.network
@pytest.mark.parametrize(
    "data",
    [
        chat({"content": None, "tool_calls": [CHAT_CALL]}, "tool_calls"),
        response(CALL_ITEM),
    ],
)
async def test_tool_calls_are_kept_with_their_ids(server: Any, context: Context, data: Any) -> None:
    _, artifacts = await ask(server, context, data)
    assert artifacts["tool_calls"] == [{"id": "c1", "name": "add", "arguments": {"a": 2}}]


@pytest.mark.network
async def test_arguments_that_are_no_json_stay_text(server: Any, context: Context) -> None:
    data = response({**CALL_ITEM, "arguments": '{"a":'})
    result, artifacts = await ask(server, context, data)
    assert artifacts["tool_calls"][0]["arguments"] == '{"a":'
    assert result.final_output == [{"name": "add", "arguments": '{"a":'}]


@pytest.mark.network
async def test_a_judges_tool_calls_are_its_text(server: Any) -> None:
    server.says(response(CALL_ITEM))
    judge = openai_judge("m", base_url=server.url, api_key="k")
    answer = await judge.judge(RenderedJudgePrompt(text="?"))
    await judge.aclose()
    assert json.loads(answer.text) == [ADD]


@pytest.mark.network
@pytest.mark.parametrize(
    ("data", "reasoning"),
    [
        (chat({"content": "4", "reasoning_content": "2 and 2"}), "2 and 2"),
        (chat({"content": "4", "reasoning": "2 and 2"}), "2 and 2"),
        (response(THINKING, message("4")), "2 and\n\n2"),
        (chat({"content": "4", "reasoning": None}), None),
        (response({"type": "reasoning", "summary": []}, message("4")), None),
    ],
)
async def test_reasoning_is_kept_apart_from_the_answer(
    server: Any, context: Context, data: Any, reasoning: str | None
) -> None:
    result, artifacts = await ask(server, context, data, make=vllm)
    assert (result.final_output, artifacts.get("reasoning")) == ("4", reasoning)


@pytest.mark.network
@pytest.mark.parametrize(
    "data",
    [
        chat({"content": "4"}, usage={
            "prompt_tokens": 9, "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3}}),
        response(message("4"), usage={
            "input_tokens": 9, "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 3}}),
    ],
)  # fmt: skip
async def test_cached_and_reasoning_tokens_are_counted(
    server: Any, context: Context, data: Any
) -> None:
    result, _ = await ask(server, context, data)
    assert result.token_usage == {
        "prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 3,
    }  # fmt: skip


@pytest.mark.network
@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_response_that_failed_may_be_asked_for_again(
    server: Any, context: Context, status: str
) -> None:
    with pytest.raises(ProviderError, match=f"status '{status}'") as caught:
        await ask(server, context, response(status=status))
    assert caught.value.retryable


@pytest.mark.network
@pytest.mark.parametrize(
    "data",
    [
        {"choices": [{"message": None, "finish_reason": "stop"}]},
        {"choices": [{"message": "4", "finish_reason": "stop"}]},
        {"choices": [{"text": "4", "finish_reason": "stop"}]},
        chat({"content": 4}),
        chat({"content": {"answer": 4}}),
        response({"type": "message", "content": {"answer": 4}}),
        {"id": "x", "status": "completed", "output": "4"},
    ],
)
async def test_what_is_no_answer_is_asked_for_again_and_not_taken_for_an_empty_one(
    server: Any, context: Context, data: Any
) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(server, context, data)
    assert (caught.value.retryable, caught.value.fatal) == (True, False)


@pytest.mark.network
async def test_of_several_choices_the_first_by_index_is_the_answer(
    server: Any, context: Context
) -> None:
    choices = [
        {"index": index, "message": {"content": said}, "finish_reason": "stop"}
        for index, said in ((1, "second"), (0, "first"))
    ]
    result, _ = await ask(server, context, {"id": "x", "choices": choices})
    assert result.final_output == "first"


@pytest.mark.network
@pytest.mark.parametrize("nothing", [None, {}, "", False])
async def test_an_error_that_says_nothing_is_none(
    server: Any, context: Context, nothing: Any
) -> None:
    result, _ = await ask(server, context, chat({"content": "4"}, error=nothing))
    assert result.final_output == "4"


@pytest.mark.network
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (3, 3), (3.0, 3), ("3", 3), (0, 0),
        (-3, None), (3.5, None), ("-3", None), ("free", None), (True, None), (10**30, None),
    ],
)  # fmt: skip
async def test_a_count_of_tokens_is_a_whole_number_from_zero_up(
    server: Any, context: Context, told: Any, kept: int | None
) -> None:
    usage = {"prompt_tokens": told, "completion_tokens": 1}
    result, _ = await ask(server, context, chat({"content": "4"}, usage=usage))
    wanted = {} if kept is None else {"prompt_tokens": kept}
    assert result.token_usage == {**wanted, "completion_tokens": 1}


CUT = json.dumps(chat({"content": "HERE"}))


@pytest.mark.network
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (CUT.replace("HERE", "half \\ud83d").encode(), "half \ufffd"),
        (CUT.replace("HERE", "\\ud83d\\ude00").encode(), "\U0001f600"),
        (CUT.encode().replace(b"HERE", b"a\xff"), "a\ufffd"),
        (b"\xef\xbb\xbf" + CUT.encode(), "HERE"),
        (
            CUT.replace('"id": "x"', '"cost": NaN, "rate": 1e999, "odd": [-Infinity]').encode(),
            "HERE",
        ),
    ],
)
async def test_a_paid_answer_is_not_lost_for_json_that_is_nearly_right(
    server: Any, context: Context, raw: bytes, text: str
) -> None:
    server.says(raw)
    generator = vllm("m", base_url=server.url, api_mode="chat_completions")
    result = await generator.generate(TEXT, context())
    await generator.aclose()
    assert result.final_output == text
    check_json({**(result.artifacts or {}), "raw_response": text})
    json.dumps(result.artifacts, allow_nan=False).encode()
    assert len(server.requests) == 1


@given(st.recursive(
    st.text(st.characters(), max_size=5) | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
))  # fmt: skip
def test_reading_leniently_reads_what_is_right_as_it_is(value: Any) -> None:
    raw = json.dumps(value).encode()
    read = read_json(b"\xef\xbb\xbf" + raw)
    json.dumps(read, ensure_ascii=False).encode()
    if not any(0xD800 <= ord(letter) < 0xE000 for letter in json.dumps(value, ensure_ascii=False)):
        assert read == read_json(raw) == value
