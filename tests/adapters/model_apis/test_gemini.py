"""Gemini's generateContent: bodies beside those of Google's own SDK, answers over a socket.

Covers: themis.adapters.model_apis.gemini
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from themis import evaluate
from themis.adapters import gemini, gemini_judge
from themis.core.config import RuntimeConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, ProviderError
from themis.core.hashing import check_json
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case

Context = Callable[..., GenerateContext]
pytestmark = pytest.mark.network
CASE = Case(case_id="case-1", input="What is 2+2?")
DOT = "data:image/png;base64,iVBORw0KGgo="
WEB = "https://images.example/cat.png"
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
}
HISTORY = [
    {"role": "system", "content": "You add."},
    {"role": "user", "content": "1+1 and 2+2?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
            {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
    {"role": "tool", "tool_call_id": "c2", "content": '{"sum": 4}'},
    {"role": "assistant", "content": "2 and 4."},
    {"role": "user", "content": "And?"},
]
ANSWER = {
    "candidates": [
        {
            "index": 0,
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Two and two.", "thought": True},
                    {"text": "fo"},
                    {"text": "ur", "thoughtSignature": "c2ln"},
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 9,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 16,
    },
    "modelVersion": "gemini-x-001",
    "responseId": "r-1",
}


def made(server: Any, **options: Any) -> Any:
    base_url = server.url.removesuffix("/v1")
    return gemini("gemini-x", base_url=base_url, api_key="k-1", **options)


async def sent_by(server: Any, context: Context, given: Any, **options: Any) -> dict[str, Any]:
    server.says(ANSWER)
    generator = made(server, **options)
    await generator.generate(Case(case_id="c", input=given), context(seed=None))
    await generator.aclose()
    found: dict[str, Any] = server.requests.pop()
    return found


async def sent_by_the_sdk(server: Any, contents: Any, config: Any) -> dict[str, Any]:
    from google.genai import Client, types

    server.says(ANSWER)
    options = types.HttpOptions(base_url=server.url.removesuffix("/v1"))
    async with Client(api_key="k-1", http_options=options).aio as client:
        await client.models.generate_content(
            model="gemini-x", contents=contents, config=types.GenerateContentConfig(**config)
        )
    found: dict[str, Any] = server.requests.pop()
    return found


def plain(value: Any, *, within: str = "") -> Any:
    """Return a body with its own names in one spelling: the SDK mixes both, the API takes both."""
    if isinstance(value, list):
        return [plain(one, within=within) for one in value]
    if not isinstance(value, dict):
        return value
    if within in ("args", "response", "responseJsonSchema", "parametersJsonSchema"):
        return value
    named = {re.sub(r"_(\w)", lambda m: m[1].upper(), name): one for name, one in value.items()}
    return {name: plain(one, within=name) for name, one in named.items()}


def content(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


DECLARED = {"name": "add", "description": "Adds.", "parameters_json_schema": {"type": "object"}}
HELLO = [content("user", {"text": "2+2"})]
SAME: list[tuple[Any, dict[str, Any], Any, dict[str, Any]]] = [
    ("2+2", {}, HELLO, {}),
    (
        "2+2",
        {
            "instructions": "Be brief.",
            "sampling": {
                "temperature": 0.5,
                "top_p": 0.9,
                "top_k": 4,
                "max_output_tokens": 10,
                "stop": "x",
                "seed": 3,
                "presence_penalty": 0.1,
                "frequency_penalty": 0.2,
                "reasoning_effort": "low",
                "safety_settings": [
                    {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
                ],
            },
        },
        HELLO,
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 4,
            "max_output_tokens": 10,
            "stop_sequences": ["x"],
            "seed": 3,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "thinking_config": {"thinking_level": "LOW"},
            "safety_settings": [
                {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
            ],
        },
    ),
    (
        {"text": "What is it?", "images": [DOT, WEB]},
        {},
        [
            content(
                "user",
                {"text": "What is it?"},
                {"inline_data": {"mime_type": "image/png", "data": "iVBORw0KGgo="}},
                {"file_data": {"mime_type": "image/png", "file_uri": WEB}},
            )
        ],
        {},
    ),
    (
        HISTORY,
        {
            "sampling": {
                "tools": [TOOL, {"googleSearch": {}}],
                "tool_choice": {"type": "function", "function": {"name": "add"}},
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA},
                },
                "thinking_config": {"include_thoughts": True, "thinking_budget": 0},
            }
        },
        [
            content("user", {"text": "1+1 and 2+2?"}),
            content(
                "model",
                {"function_call": {"id": "c1", "name": "add", "args": {"a": 1}}},
                {"function_call": {"id": "c2", "name": "add", "args": {"a": 2}}},
            ),
            content(
                "user",
                {"function_response": {"id": "c1", "name": "add", "response": {"output": "2"}}},
                {"function_response": {"id": "c2", "name": "add", "response": {"sum": 4}}},
            ),
            content("model", {"text": "2 and 4."}),
            content("user", {"text": "And?"}),
        ],
        {
            "system_instruction": {"parts": [{"text": "You add."}]},
            "tools": [{"function_declarations": [DECLARED]}, {"google_search": {}}],
            "tool_config": {
                "function_calling_config": {"mode": "ANY", "allowed_function_names": ["add"]}
            },
            "response_mime_type": "application/json",
            "response_json_schema": SCHEMA,
            "thinking_config": {"include_thoughts": True, "thinking_budget": 0},
        },
    ),
]


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
@pytest.mark.parametrize(("given", "options", "contents", "config"), SAME)
async def test_a_request_is_the_one_that_the_sdk_sends(
    server: Any, context: Context, given: Any, options: Any, contents: Any, config: Any
) -> None:
    own = await sent_by(server, context, given, **options)
    theirs = await sent_by_the_sdk(server, contents, config)
    assert own["path"] == theirs["path"] == "/v1/models/gemini-x:generateContent"
    mine, its = plain(own["body"]), plain(theirs["body"])
    its.get("systemInstruction", {}).pop("role", None)  # which the API does not heed
    its = {name: value for name, value in its.items() if value != {}}
    assert mine == its
    key = {name.lower(): value for name, value in own["headers"].items()}["x-goog-api-key"]
    assert key == "k-1"


async def test_a_signature_of_a_thought_goes_back_with_its_call(
    server: Any, context: Context
) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "add", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "sig"}},
    }
    history = [{"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [call]}]
    sent = await sent_by(server, context, history)
    made = {"functionCall": {"id": "c1", "name": "add", "args": {}}, "thoughtSignature": "sig"}
    assert sent["body"]["contents"][1]["parts"] == [made]


async def test_what_was_said_and_used_is_read(server: Any, context: Context) -> None:
    server.says(ANSWER)
    generator = made(server)
    result = await generator.generate(CASE, context(seed=2**40 + 5))
    await generator.aclose()
    assert result.final_output == "four"
    assert result.token_usage == {
        "prompt_tokens": 9,
        "completion_tokens": 7,
        "cached_tokens": 4,
        "reasoning_tokens": 5,
    }
    artifacts = result.artifacts or {}
    assert artifacts["reasoning"] == "Two and two."
    assert artifacts["finish_reason"] == "stop"
    assert artifacts["request"]["model"] == "gemini-x"
    assert "model" not in server.requests[0]["body"]
    assert server.requests[0]["body"]["generationConfig"] == {"seed": 5}
    assert "k-1" not in str(result.model_dump())
    check_json(artifacts)


def piece(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": content("model", *parts), **more}]}


async def test_pieces_are_what_they_would_be_had_they_come_whole(
    server: Any, context: Context
) -> None:
    usage = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2}}
    server.streams(
        piece({"text": "Two ", "thought": True}),
        piece({"text": "and two.", "thought": True}),
        piece({"text": "fo"}),
        {**piece({"text": "ur"}, finishReason="STOP"), **usage},
        done=False,
    )
    generator = made(server, stream=True)
    result = await generator.generate(CASE, context())
    artifacts = result.artifacts or {}
    assert result.final_output == "four"
    assert artifacts["reasoning"] == "Two and two."
    assert artifacts["first_token_ms"] > 0
    assert result.token_usage == {"prompt_tokens": 9, "completion_tokens": 2}
    request = server.requests[0]
    assert request["path"] == "/v1/models/gemini-x:streamGenerateContent?alt=sse"
    assert set(request["body"]) == {"contents", "generationConfig"}

    call = {"functionCall": {"name": "add", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    server.streams(piece(call), piece({"text": ""}, finishReason="STOP"), done=False)
    result = await generator.generate(CASE, context())
    assert result.final_output == [{"name": "add", "arguments": {"a": 1}}]
    assert (result.artifacts or {})["finish_reason"] == "tool_calls"

    server.streams(piece({"text": "fo"}), done=False)
    with pytest.raises(ProviderError, match="before the answer's end") as caught:
        await generator.generate(CASE, context())
    assert caught.value.retryable
    await generator.aclose()


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("LANGUAGE", "language"),
        ("MALFORMED_FUNCTION_CALL", "malformed_function_call"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
async def test_how_an_answer_ended_is_told(
    server: Any, context: Context, reason: str, finish: str, whole: bool
) -> None:
    data = {"candidates": [{"finishReason": reason, "index": 0}]}
    if whole:
        server.says(data)
    else:
        server.streams(data, done=False)
    generator = made(server, stream=not whole)
    result = await generator.generate(CASE, context())
    await generator.aclose()
    assert (result.final_output, (result.artifacts or {})["finish_reason"]) == ("", finish)
    assert ("note" in (result.artifacts or {})) == (finish == reason.lower() != "stop")


@pytest.mark.parametrize("whole", [True, False])
async def test_a_prompt_that_is_blocked_is_a_refusal(
    server: Any, context: Context, whole: bool
) -> None:
    data = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    if whole:
        server.says(data)
    else:
        server.streams(data, done=False)
    generator = made(server, stream=not whole)
    result = await generator.generate(CASE, context())
    await generator.aclose()
    assert (result.artifacts or {})["finish_reason"] == "content_filter"


def error(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    said = {"code": code, "message": message, "status": status, "details": list(details)}
    return {"error": said}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}


@pytest.mark.parametrize(
    ("status", "data", "expected"),
    [
        (429, error(429, "RESOURCE_EXHAUSTED", "You exceeded your rate", RETRY),
         (True, False, 34.5)),
        (503, error(503, "UNAVAILABLE", "The model is overloaded."), (True, False, None)),
        (500, error(500, "INTERNAL", "An internal error"), (True, False, None)),
        (400, error(400, "INVALID_ARGUMENT", "API key not valid. Please pass one."),
         (False, True, None)),
        (403, error(403, "PERMISSION_DENIED", "no"), (False, True, None)),
        (404, error(404, "NOT_FOUND", "models/gemini-y is not found for API version v1"),
         (False, True, None)),
        (400, error(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum context"),
         (False, False, None)),
    ],
)  # fmt: skip
async def test_an_error_says_what_it_means_for_the_run(
    server: Any, context: Context, status: int, data: Any, expected: Any
) -> None:
    server.says(data, status=status)
    generator = made(server)
    with pytest.raises(ProviderError) as caught:
        await generator.generate(CASE, context())
    await generator.aclose()
    error = caught.value
    assert (error.retryable, error.fatal, error.retry_after) == expected
    assert data["error"]["message"][:20] in str(error)


async def test_an_image_in_text_is_refused(context: Context) -> None:
    given = {"text": "What is it?", "image": "data:image/svg+xml,<svg/>"}
    with pytest.raises(DefinitionError, match="must hold its data as base64"):
        await gemini("gemini-x", api_key="k").generate(Case(case_id="c", input=given), context())


async def test_a_judge_asks_for_a_verdict_in_the_form_of_a_schema(server: Any) -> None:
    server.says(ANSWER)
    judge = gemini_judge("gemini-x", base_url=server.url, api_key="k", structured_output=True)
    response = await judge.judge(RenderedJudgePrompt(text="Right?", response_schema=SCHEMA))
    await judge.aclose()
    assert response.text == "four"
    config = server.requests[0]["body"]["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}


def test_a_run_is_kept_under_a_budget_of_tokens(server: Any) -> None:
    server.says(ANSWER)
    result = evaluate(
        model=made(server, sampling={"max_output_tokens": 8}),
        data=[{"input": f"{n}", "expected_output": "four"} for n in range(4)],
        metric="builtin/exact_match",
        runtime=RuntimeConfig(budget={"tokens": 100_000}),
    )
    assert result.metrics["builtin/exact_match"].value == 1.0
    assert len(server.requests) == 4
