"""The exact body that reaches the endpoint, written out, for each API and each way to ask.

Covers: themis.adapters.model_apis.sampling, themis.adapters.prompting.content,
themis.adapters.prompting.messages
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from themis.adapters import openai, vllm
from themis.core.contexts import GenerateContext
from themis.core.models import Case
from themis.core.prompts import Example, PromptSpec

Context = Callable[..., GenerateContext]
DOT = "data:image/png;base64,iVBORw0KGgo="
WEB = "https://images.example/cat.png"


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def input_text(said: str) -> dict[str, Any]:
    return {"type": "input_text", "text": said}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def input_image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


CHAT = [system("You add."), user("1+1"), assistant("2"), user("2+2")]
SHOTS = [Example(input="1+1", output="2"), Example(input={"sum": "1+2"}, output={"answer": 3})]
BLOCKS: list[Any] = [{"title": "Rules", "text": "No words."}, {"unit": "m"}]
ALL = PromptSpec(
    instructions="Be brief.",
    prefix="Q:",
    blocks=[{"text": "No words."}],
    examples=[Example(input="1+1", output="2")],
    examples_as="text",
    suffix="A:",
    template="{{ input }} in {{ metadata.unit }}",
)

# An input, the prompt material, the Responses API's own fields, the messages of Chat Completions.
ASKED: dict[str, tuple[Any, PromptSpec | None, dict[str, Any], list[Any]]] = {
    "text": ("2+2", None, {"input": "2+2"}, [user("2+2")]),
    "number": (4, None, {"input": "4"}, [user("4")]),
    "messages": (CHAT, None, {"input": CHAT}, CHAT),
    "object": (
        {"question": "2+2", "of": [2, None]},
        None,
        {"input": '{"of":[2,null],"question":"2+2"}'},
        [user('{"of":[2,null],"question":"2+2"}')],
    ),
    "object with text only": (
        {"text": "2+2"}, None, {"input": '{"text":"2+2"}'}, [user('{"text":"2+2"}')],
    ),
    "image": (
        {"text": "What is it?", "image": DOT},
        None,
        {"input": [user([input_text("What is it?"), input_image(DOT)])]},
        [user([text("What is it?"), image(DOT)])],
    ),
    "images": (
        {"text": "Alike?", "images": [WEB, DOT]},
        None,
        {"input": [user([input_text("Alike?"), input_image(WEB), input_image(DOT)])]},
        [user([text("Alike?"), image(WEB), image(DOT)])],
    ),
    "image with prompt material": (
        {"text": "What is it?", "image": WEB},
        PromptSpec(
            instructions="Be brief.", prefix="Q:", blocks=BLOCKS, examples=SHOTS[:1], suffix="A:"
        ),
        {
            "input": [
                user("1+1"),
                assistant("2"),
                user([
                    input_text(
                        'Q:\n## Rules\nNo words.\n\n{"unit":"m"}\n\nWhat is it?\nA:'
                    ),
                    input_image(WEB),
                ]),
            ],
            "instructions": "Be brief.",
        },
        [
            system("Be brief."),
            user("1+1"),
            assistant("2"),
            user([
                text('Q:\n## Rules\nNo words.\n\n{"unit":"m"}\n\nWhat is it?\nA:'),
                image(WEB),
            ]),
        ],
    ),
    "image with template": (
        {"text": "What is it?", "image": WEB},
        PromptSpec(template="Look. {{ text }}"),
        {"input": [user([input_text("Look. What is it?"), input_image(WEB)])]},
        [user([text("Look. What is it?"), image(WEB)])],
    ),
    "parts": (
        [text("Look:"), image(WEB), {**input_image(DOT), "detail": "low"}],
        PromptSpec(prefix="Q:", suffix="A:"),
        {
            "input": [
                user([
                    input_text("Q:"),
                    input_text("Look:"),
                    input_image(WEB),
                    {"type": "input_image", "image_url": DOT, "detail": "low"},
                    input_text("A:"),
                ])
            ]
        },
        [
            user([
                text("Q:"),
                text("Look:"),
                image(WEB),
                {"type": "image_url", "image_url": {"url": DOT, "detail": "low"}},
                text("A:"),
            ])
        ],
    ),
    "instructions": (
        "2+2",
        PromptSpec(instructions="Be brief."),
        {"input": "2+2", "instructions": "Be brief."},
        [system("Be brief."), user("2+2")],
    ),
    "instructions with messages": (
        CHAT,
        PromptSpec(instructions="Be brief."),
        {"input": CHAT, "instructions": "Be brief."},
        [system("Be brief.\n\nYou add."), *CHAT[1:]],
    ),
    "prefix": ("2+2", PromptSpec(prefix="Q:"), {"input": "Q:\n2+2"}, [user("Q:\n2+2")]),
    "suffix": ("2+2", PromptSpec(suffix=" ="), {"input": "2+2 ="}, [user("2+2 =")]),
    "prefix and suffix with messages": (
        CHAT,
        PromptSpec(prefix="Q:", suffix="A:"),
        {"input": [*CHAT[:3], user("Q:\n2+2\nA:")]},
        [*CHAT[:3], user("Q:\n2+2\nA:")],
    ),
    "blocks": (
        "2+2",
        PromptSpec(blocks=BLOCKS),
        {"input": '## Rules\nNo words.\n\n{"unit":"m"}\n\n2+2'},
        [user('## Rules\nNo words.\n\n{"unit":"m"}\n\n2+2')],
    ),
    "examples as turns": (
        "2+2",
        PromptSpec(examples=SHOTS),
        {
            "input": [
                user("1+1"), assistant("2"),
                user('{"sum":"1+2"}'), assistant('{"answer":3}'),
                user("2+2"),
            ]
        },
        [
            user("1+1"), assistant("2"),
            user('{"sum":"1+2"}'), assistant('{"answer":3}'),
            user("2+2"),
        ],
    ),
    "examples as text": (
        "2+2",
        PromptSpec(examples=SHOTS, examples_as="text"),
        {"input": '1+1\n2\n\n{"sum":"1+2"}\n{"answer":3}\n\n2+2'},
        [user('1+1\n2\n\n{"sum":"1+2"}\n{"answer":3}\n\n2+2')],
    ),
    "an example that is the case itself": (
        "1+1", PromptSpec(examples=SHOTS[:1]), {"input": "1+1"}, [user("1+1")],
    ),
    "template": (
        {"question": "2+2"},
        PromptSpec(template="{{ question }} in {{ metadata.unit }}?"),
        {"input": "2+2 in metres?"},
        [user("2+2 in metres?")],
    ),
    "all": (
        "2+2",
        ALL,
        {
            "input": "Q:\nNo words.\n\n1+1 in metres\n2\n\n2+2 in metres\nA:",
            "instructions": "Be brief.",
        },
        [
            system("Be brief."),
            user("Q:\nNo words.\n\n1+1 in metres\n2\n\n2+2 in metres\nA:"),
        ],
    ),
}  # fmt: skip


@pytest.mark.network
@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("api", ["responses", "chat", "vLLM responses", "vLLM chat"])
async def test_what_is_asked_arrives_as_written_here(
    server: Any, context: Context, api: str, name: str
) -> None:
    given, spec, asked, messages = ASKED[name]
    mode = "responses" if api.endswith("responses") else "chat_completions"
    make: Any = vllm if api.startswith("vLLM") else openai
    wanted = {
        "responses": {"model": "m", **asked},
        "chat": {"model": "m", "messages": messages, "seed": 7},
        "vLLM responses": {"model": "m", "seed": 7, **asked},
        "vLLM chat": {"model": "m", "messages": messages, "seed": 7},
    }
    generator = make("m", base_url=server.url, api_key="k", api_mode=mode)
    case = Case(case_id="case-1", input=given, metadata={"unit": "metres"})
    result = await generator.generate(case, context(prompt_spec=spec))
    await generator.aclose()
    (request,) = server.requests
    assert request["path"] == ("/v1/responses" if mode == "responses" else "/v1/chat/completions")
    assert request["body"] == wanted[api]
    assert result.artifacts["request"] == wanted[api]


SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}}
SAMPLING: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 20,
    "seed": 11,
    "stop": ["\n"],
    "top_k": 3,
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    },
}
SET: dict[str, dict[str, Any]] = {
    "responses": {
        "model": "m", "input": "2+2", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 20,
        "seed": 11, "stop": ["\n"], "top_k": 3, "reasoning": {"effort": "low"},
        "text": {"format": {
            "type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
    },
    "chat": {
        "model": "m", "messages": [user("2+2")], "temperature": 0.5, "top_p": 0.9,
        "max_completion_tokens": 20, "seed": 11, "stop": ["\n"], "top_k": 3,
        "reasoning_effort": "low", "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    },
    "vLLM chat": {
        "model": "m", "messages": [user("2+2")], "temperature": 0.5, "top_p": 0.9,
        "max_tokens": 20, "seed": 11, "stop": ["\n"], "top_k": 3,
        "reasoning_effort": "low", "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    },
}  # fmt: skip


@pytest.mark.network
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", SET)
async def test_sampling_and_schema_arrive_as_written_here(
    server: Any, context: Context, api: str, stream: bool
) -> None:
    mode = "responses" if api == "responses" else "chat_completions"
    make: Any = vllm if api.startswith("vLLM") else openai
    generator = make(
        "m", base_url=server.url, api_key="k", api_mode=mode, sampling=SAMPLING, stream=stream
    )
    await generator.generate(Case(case_id="case-1", input="2+2"), context())
    await generator.aclose()
    wanted = dict(SET[api])
    if stream:
        wanted["stream"] = True
        if api != "responses":
            wanted["stream_options"] = {"include_usage": True}
    assert [request["body"] for request in server.requests] == [wanted]
