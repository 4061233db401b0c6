"""Anthropic's models, by the Messages API.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from typing import Annotated, Any, Unpack

import orjson

from themis.adapters.model_apis.api import Api, Dialect, Parts, PiecedAnswer, bearer
from themis.adapters.model_apis.chat_completions import counted_body
from themis.adapters.model_apis.endpoint_generator import EndpointGenerator, ModelSettings
from themis.adapters.model_apis.endpoint_judge import EndpointJudge, PromptBuilder
from themis.adapters.model_apis.options import AskOptions, takes_options
from themis.adapters.model_apis.sampling import OUTPUT_CAP, function_of, schema_of, split_sampling
from themis.adapters.prompting.content import data_of, image_address
from themis.adapters.prompting.input_builder import InputBuilder
from themis.adapters.prompting.messages import (
    chat_messages,
    instructions_apart,
    merged_turns,
    tool_calls_of,
)
from themis.adapters.transport.meanings import reason_of
from themis.adapters.transport.model_answers import (
    Said,
    check_ended,
    field,
    items,
    joined_thoughts,
    shapeless,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.config_roles import OBJECT, SECRET
from themis.core.errors import DefinitionError
from themis.core.prompts import as_text

_VERSION = "2026-10-21"
_NAMES = {OUTPUT_CAP: "max_tokens", "stop": "stop_sequences"}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


class MessagesApi(Api):
    """The Messages API."""

    mode = "messages"
    version = "/v1"

    def check(self, sampling: JSONObject) -> None:
        """Refuse parameters that have no place here, or that lack the limit of output tokens."""
        if sampling.get(OUTPUT_CAP) is None:
            raise DefinitionError(
                "the Messages API wants a limit of output tokens: give "
                'sampling={"max_output_tokens": ...}',
                field="sampling",
            )
        if sampling.get("seed") is not None:
            raise DefinitionError("the Messages API takes no seed", field="seed")
        if "response_format" in sampling and schema_of(sampling["response_format"]) is None:
            raise DefinitionError(
                'the Messages API takes no response_format but of type "json_schema"',
                field="response_format",
            )

    def body(self, parts: Parts) -> JSONObject:
        """Return the request."""
        system, messages = instructions_apart(
            chat_messages(parts.content, parts.instructions), where="the Messages API"
        )
        body: JSONObject = {"model": parts.model, "messages": merged_turns(_turns(messages))}
        if system:
            body["system"] = system
        sampling, _ = split_sampling(parts.sampling)
        for name, value in sampling.items():
            _add(body, name, value)
        if parts.stream:
            body["stream"] = True
        return body

    def target(self, body: JSONObject) -> tuple[str, JSONObject]:
        """Return the path of a call, and the body."""
        return "/messages", body

    def read(self, source: Any, endpoint: str) -> Said:
        """Return what was said in an answer."""
        if not isinstance(field(source, "content"), list):
            raise shapeless(endpoint, "content")
        blocks = items(source, "content")
        reason = reason_of(field(source, "stop_reason"))
        check_ended(reason, None, endpoint)
        return Said(
            text="".join(str(one["text"]) for one in blocks if _is(one, "text")),
            reason=reason,
            reasoning=joined_thoughts([str(one["thinking"]) for one in _of(blocks, "thinking")]),
            tool_calls=tuple(
                {"id": one.get("id"), "name": one.get("name"), "arguments": one.get("input")}
                for one in _of(blocks, "tool_use")
            ),
        )

    def usage(self, source: Any) -> Any:
        """Return an answer's account of its tokens: what was cached is part of the prompt."""
        found = field(source, "usage")
        if not isinstance(found, dict):
            return None
        cached = found.get("cache_read_input_tokens")
        read = [found.get("input_tokens"), found.get("cache_creation_input_tokens"), cached]
        counts = [count for count in read if type(count) is int]
        thought = field(found.get("output_tokens_details"), "thinking_tokens")
        return {
            "prompt_tokens": sum(counts) if type(read[0]) is int else None,
            "completion_tokens": found.get("output_tokens"),
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    def pieces(self) -> PiecedAnswer:
        """Return an answer of which nothing has come."""
        return PiecedMessage()

    def countable(self, parts: Parts) -> JSONObject:
        """Return the same texts as Chat Completions have them."""
        return counted_body(parts)


def _add(body: JSONObject, name: str, value: JSONValue) -> None:
    """Add a sampling parameter to a body."""
    if name == "stop":
        body["stop_sequences"] = [value] if isinstance(value, str) else value
    elif name == "tools" and isinstance(value, list):
        body["tools"] = [_tool(one) for one in value]
    elif name == "tool_choice":
        body["tool_choice"] = {**_choice(value), **body.get("tool_choice", {})}
    elif name == "parallel_tool_calls":
        known = body.get("tool_choice", {"type": "auto"})
        body["tool_choice"] = {**known, "disable_parallel_tool_use": not value}
    elif name == "response_format":
        asked = {"type": "json_schema", "schema": schema_of(value)}
        body["output_config"] = {**body.get("output_config", {}), "format": asked}
    elif name == "reasoning_effort":
        body["output_config"] = {**body.get("output_config", {}), "effort": value}
    elif name == "output_config" and isinstance(value, dict):
        body["output_config"] = {**value, **body.get("output_config", {})}
    else:
        body[_NAMES.get(name, name)] = value


def _tool(tool: JSONValue) -> JSONValue:
    function = function_of(tool)
    if function is None:
        return tool
    known = {"parameters": "input_schema"}
    return {known.get(name, name): value for name, value in function.items()}


def _choice(value: JSONValue) -> JSONObject:
    if isinstance(value, str):
        return {"type": _CHOICES.get(value, value)}
    function = function_of(value)
    if function is not None:
        return {"type": "tool", "name": function.get("name")}
    return value if isinstance(value, dict) else {"type": value}


def _turns(messages: list[JSONObject]) -> list[tuple[str, JSONValue]]:
    """Return each message's role and content; a result of a tool is said by the user."""
    turns: list[tuple[str, JSONValue]] = []
    for message in messages:
        role, content = str(message["role"]), message.get("content")
        blocks = _blocks(content)
        if role in ("tool", "function"):
            result: JSONObject = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
            turns.append(("user", [{**result, "content": blocks or as_text(content)}]))
            continue
        calls: list[JSONValue] = [
            {"type": "tool_use", "id": call.number, "name": call.name, "input": call.arguments}
            for call in tool_calls_of(message)
        ]
        if calls:
            said = [{"type": "text", "text": content}] if isinstance(content, str) else blocks
            turns.append((role, [*(one for one in said or [] if one != _EMPTY), *calls]))
        else:
            turns.append((role, as_text(content) if blocks is None else blocks))
    return turns


_EMPTY = {"type": "text", "text": ""}


def _blocks(content: JSONValue) -> list[JSONValue] | None:
    """Return the blocks of a content in parts; None for one that is text."""
    return [_block(part) for part in content] if isinstance(content, list) else None


def _block(part: JSONValue) -> JSONValue:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    address = image_address(part)
    if address is None:
        return part
    if (inline := data_of(address)) is not None:
        kind, data = inline
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": address}}


def _is(block: Any, kind: str) -> bool:
    return (
        isinstance(block, dict)
        and block.get("type") == kind
        and isinstance(block.get(kind, ""), str)
    )


def _of(blocks: list[Any], kind: str) -> list[Any]:
    return [one for one in blocks if _is(one, kind)]


class PiecedMessage:
    """A message while its pieces come: blocks that begin, grow and end."""

    def __init__(self) -> None:
        self.done = False
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        kind = event.get("type")
        if kind == "message_start":
            self._message = dict(event["message"])
        elif kind == "content_block_start":
            self._blocks[int(event["index"])] = dict(event["content_block"])
        elif kind == "content_block_delta":
            return self._grow(int(event["index"]), event["delta"])
        elif kind == "message_delta":
            usage = {**(self._message.get("usage") or {}), **(event.get("usage") or {})}
            self._message = {**self._message, **event["delta"], "usage": usage}
        self.done = kind == "message_stop"
        return False

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before it said why it ended."""
        if not self._message.get("stop_reason"):
            return None
        for (index, name), pieces in self._texts.items():
            block = self._blocks.setdefault(index, {"type": name})
            text = "".join(pieces)
            if name == "partial_json":
                block["input"] = orjson.loads(text) if text.strip() else {}
            else:
                block[name] = str(block.get(name) or "") + text
        return {**self._message, "content": [self._blocks[at] for at in sorted(self._blocks)]}

    def _grow(self, index: int, delta: dict[str, Any]) -> bool:
        for name in ("text", "thinking", "signature", "partial_json"):
            if isinstance(piece := delta.get(name), str):
                self._texts.setdefault((index, name), []).append(piece)
                return bool(piece) and name != "signature"
        if (citation := delta.get("citation")) is not None:
            block = self._blocks.setdefault(index, {"type": "text", "text": ""})
            block["citations"] = [*(block.get("citations") or []), citation]
        return False


ANTHROPIC = Dialect(
    provider="anthropic",
    apis={"messages": MessagesApi()},
    headers=lambda key: {**bearer(key), "anthropic-version": _VERSION},
    address="https://api.anthropic.com",
    address_variable="ANTHROPIC_BASE_URL",
    key_variables=("ANTHROPIC_API_KEY",),
)


class AnthropicGenerator(EndpointGenerator):
    """Generates by asking one of Anthropic's models."""


@takes_options
def anthropic(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    **options: Unpack[AskOptions],
) -> AnthropicGenerator:
    """Return a generator that asks one of Anthropic's models.

    The Messages API takes no seed, and wants ``max_output_tokens`` in ``sampling``. Its version is
    sent as a header, which ``client_options`` may set: ``{"headers": {"anthropic-version": ...}}``.

    Args:
        model: name of the model, such as "claude-sonnet-4-5".
        base_url: address of the endpoint; ``ANTHROPIC_BASE_URL``, or Anthropic's own, by default.
        api_key: its key, or ``env:NAME``; ``ANTHROPIC_API_KEY`` by default. Never stored, never
            part of identity.
        input_builder: makes the input of a case, as with ``openai``.
        **options: those of ``AskOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    return AnthropicGenerator(
        ModelSettings(ANTHROPIC, model, base_url, api_key, input_builder, options)
    )


@takes_options
def anthropic_judge(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[PromptBuilder | None, OBJECT] = None,
    structured_output: bool = False,
    **options: Unpack[AskOptions],
) -> EndpointJudge:
    """Return a judge that asks one of Anthropic's models.

    Args:
        model: name of the model, such as "claude-sonnet-4-5".
        base_url: address of the endpoint, as with ``anthropic``.
        api_key: its key, as with ``anthropic``.
        input_builder: makes the input of a rendered judge prompt.
        structured_output: whether the endpoint enforces JSON schemas: metrics then ask for a
            verdict in the form of one, else for a last line.
        **options: those of ``AskOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    settings = ModelSettings(ANTHROPIC, model, base_url, api_key, input_builder, options)
    return EndpointJudge(settings, structured_output=structured_output)
