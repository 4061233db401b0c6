"""Chat histories with tools in them, for both APIs; and what is sent by itself, left out.

Covers: themis.adapters.model_apis.prompt_tokens,
themis.adapters.model_apis.sampling, themis.adapters.prompting
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from themis import PromptSpec
from themis.adapters import openai, vllm
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.models import Case
from themis.core.prompts import is_messages

UNASKED: Any = SimpleNamespace(
    responses=SimpleNamespace(create=print),
    chat=SimpleNamespace(completions=SimpleNamespace(create=print)),
)
ADD = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALLED = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
USER = {"role": "user", "content": "1+3?"}


def context(**more: Any) -> GenerateContext:
    ids = {"run_id": "r", "case_id": "c", "dataset_id": "d", "case_key": "k", "seed": 7}
    return GenerateContext(**{**ids, **more})


def sent(talk: Any, mode: str = "responses", **more: Any) -> Any:
    body = openai("m", client=UNASKED, api_mode=mode).request(
        Case(case_id="c", input=talk), context(**more)
    )
    return body["input" if mode == "responses" else "messages"]


@pytest.mark.parametrize("given", [{"content": None}, {}, {"content": ""}, {"content": []}])
def test_calls_and_results_are_items_of_the_responses_api(given: Any) -> None:
    talk = [USER, {"role": "assistant", **given, "tool_calls": [ADD]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"}]  # fmt: skip
    assert sent(talk) == [
        USER, CALLED, {"type": "function_call_output", "call_id": "c1", "output": "4"},
    ]  # fmt: skip
    assert [one["role"] for one in sent(talk, "chat_completions")] == ["user", "assistant", "tool"]


def test_a_text_beside_a_call_goes_before_it_and_parallel_calls_keep_their_order() -> None:
    second = {**ADD, "id": "c2"}
    talk = [USER, {"role": "assistant", "content": "Let me see.", "tool_calls": [ADD, second]},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "5"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"}]  # fmt: skip
    assert sent(talk)[1:] == [
        {"role": "assistant", "content": "Let me see."},
        CALLED,
        {**CALLED, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c2", "output": "5"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
    ]


def test_functions_of_the_old_form_are_told_by_their_names() -> None:
    call = {"name": "add", "arguments": {"a": 1}}
    talk = [USER, {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "add", "content": "4"}]  # fmt: skip
    assert sent(talk)[1:] == [
        {"type": "function_call", "call_id": "call_add", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "call_add", "output": "4"},
    ]


def test_custom_tools_and_images_of_tools_have_forms_of_their_own() -> None:
    custom = {"id": "c3", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    image = {"type": "image_url", "image_url": {"url": "https://h/c.png"}}
    talk = [USER, {"role": "assistant", "tool_calls": [custom]},
            {"role": "tool", "tool_call_id": "c3", "content": [image]}]  # fmt: skip
    assert sent(talk)[1:] == [
        {"type": "custom_tool_call", "call_id": "c3", "name": "sh", "input": "ls"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c3",
            "output": [{"type": "input_image", "image_url": "https://h/c.png"}],
        },
    ]


def test_a_history_in_items_is_the_same_for_both_apis() -> None:
    result = {"type": "function_call_output", "call_id": "c1", "output": "4"}
    custom = {"type": "custom_tool_call", "call_id": "c3", "name": "sh", "input": "ls"}
    items = [USER, {"type": "reasoning", "summary": []}, CALLED, custom, result]
    assert sent(items) == [USER, CALLED, custom, result]
    assert sent(items, "chat_completions") == [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                ADD,
                {"id": "c3", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]
    said = {"type": "message", "id": "m", "role": "assistant", "content": "See:"}
    found = sent([USER, said, CALLED, result], "chat_completions")[1]
    assert (found["content"], found["tool_calls"]) == ("See:", [ADD])
    # What merely looks like it is sent as the JSON that it is.
    assert isinstance(sent([{"type": "function_call"}, {"question": 1}]), str)


def test_an_assistants_message_as_an_sdk_dumps_it_is_sent_without_what_is_chats_own() -> None:
    dumped = {"role": "assistant", "content": "4", "refusal": None, "annotations": [],
              "audio": None, "function_call": None, "tool_calls": None}  # fmt: skip
    said = {"role": "assistant", "content": "4"}
    assert sent([USER, dumped, USER]) == [USER, said, USER]
    refused = {**dumped, "content": None, "refusal": "No."}
    assert sent([USER, refused, USER])[1]["content"] == "No."


@pytest.mark.parametrize("role", ["system", "developer", "user"])
@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
def test_other_roles_stay_what_they_are(role: str, mode: str) -> None:
    talk = [{"role": role, "content": "Be brief."}, USER]
    assert sent(talk, mode) == talk


def test_what_is_no_message_is_none() -> None:
    for value in ([{"role": "user"}], [{"role": "user", "tool_calls": [ADD]}],
                  [{"role": "assistant"}], [{"role": "assistant", "tool_calls": []}]):  # fmt: skip
        assert not is_messages(value)
    for name in ("tool_calls", "function_call", "refusal", "audio"):
        assert is_messages([{"role": "assistant", name: [ADD]}])


def test_prompt_material_finds_the_last_users_message_among_tools() -> None:
    talk = [USER, {"role": "assistant", "tool_calls": [ADD]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"}]  # fmt: skip
    spec = PromptSpec(instructions="Be brief.", suffix="Go on.")
    found = sent(talk, "chat_completions", prompt_spec=spec)
    assert [one["role"] for one in found] == ["system", "user", "assistant", "tool"]
    assert found[1]["content"] == "1+3?\nGo on."
    first = [{"role": "assistant", "tool_calls": [ADD]}, *talk[2:]]
    assert sent(first, "chat_completions")[0] == first[0]


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
def test_calls_count_in_estimates_and_bounds(mode: str) -> None:
    long = {**ADD, "function": {"name": "add", "arguments": '{"a": "' + "x" * 4000 + '"}'}}
    tool = {"role": "tool", "tool_call_id": "c1", "content": "4"}
    case = Case(case_id="c", input=[USER, {"role": "assistant", "tool_calls": [long]}, tool])
    model = openai("m", client=UNASKED, api_mode=mode)
    assert 1000 < model.estimate_tokens(case, context()) < 1200
    assert model.max_prompt_tokens(case, context()) > 4000


@pytest.mark.parametrize("mode", ["responses", "chat_completions"])
@pytest.mark.parametrize("seed", [None, 5])
def test_a_seed_of_none_sends_none(mode: str, seed: int | None) -> None:
    for make in (openai, vllm):
        model = make("m", base_url="http://h/v1", api_mode=mode, sampling={"seed": seed})
        body = model.request(Case(case_id="c", input="?"), context())
        assert body.get("seed", None) == seed
        assert ("seed" in body) is (seed is not None)


def test_stream_options_of_none_sends_none_and_others_are_not_ones_own() -> None:
    def body(**sampling: Any) -> Any:
        model = openai("m", client=UNASKED, api_mode="chat_completions", stream=True,
                       sampling=sampling)  # fmt: skip
        return model.request(Case(case_id="c", input="?"), context())

    assert body()["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(stream_options=None)
    assert body(stream_options=None)["stream"] is True
    with pytest.raises(DefinitionError, match="stream_options is not yours"):
        body(stream_options={"include_usage": False})
    with pytest.raises(DefinitionError, match="or None to send none"):
        body(seed="7")
