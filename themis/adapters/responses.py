"""Reading an endpoint's answer, of either API, given as an SDK object, a stand-in or plain data.

It keeps what came as evidence and decides nothing about its worth: an empty or cut-off answer is
an answer. One that has no place for an answer, or something there that no answer is, is refused.

How an answer ended is told in one set of words, whatever the API: "stop", "length", "refusal",
"content_filter", "tool_calls", or else the endpoint's own. Some servers of the Responses API report
no truncation; there an answer that used all of the request's ``max_output_tokens`` is "length".
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from themis.adapters.failures import error_in_body
from themis.adapters.finish_reasons import finish_reason_of
from themis.adapters.jsonable import jsonable
from themis.adapters.lenient_json import read_json
from themis.adapters.requests import OUTPUT_CAP, ApiMode
from themis.adapters.waiting import limits_told
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import ProviderError
from themis.core.redaction import redact

_MOST_TOKENS = 2**53  # what is above it is no count
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an endpoint."""

    text: str
    calls: list[JSONObject]
    """Name and arguments of each tool that the model calls."""
    token_usage: dict[str, int] | None
    latency_ms: float
    artifacts: JSONObject

    @property
    def output(self) -> JSONValue:
        """The text or, of an answer that is tool calls only, the list of the calls."""
        return self.text if self.text or not self.calls else self.calls


@dataclass(frozen=True, slots=True)
class _Said:
    """What a model said, in the words of neither API."""

    text: str
    finish_reason: str | None
    reasoning: str = ""
    tool_calls: tuple[JSONObject, ...] = ()


def decoded_answer(content: bytes, *, endpoint: str, status: int | None) -> dict[str, Any]:
    """Return the JSON object in an answer's bytes.

    Raises:
        ProviderError: there is none.
    """
    try:
        data = read_json(content)
    except ValueError:
        start = content[:80].decode("utf-8", "replace")
        raise ProviderError(
            f"{endpoint} answered with something that is not JSON: {start!r}",
            status=status,
            retryable=True,
        ) from None
    if not isinstance(data, dict):
        raise ProviderError(
            f"{endpoint} answered with a JSON {type(data).__name__}, not an object", retryable=True
        )
    return data


def read_answer(
    source: Any,
    *,
    api_mode: ApiMode,
    headers: Mapping[str, str],
    request: JSONObject,
    latency_ms: float,
    endpoint: str,
    first_token_ms: float | None = None,
) -> Answer:
    """Return what an endpoint answered.

    Args:
        source: the answer: JSON data, or an object with the SDK's attributes.
        api_mode: the API that was called.
        headers: of the answer, by their names in lower case.
        request: the body as sent.
        latency_ms: milliseconds from request to the whole answer.
        endpoint: its name, for messages.
        first_token_ms: milliseconds from request to the first token, where it was streamed.

    Raises:
        ProviderError: the answer tells of an error, or has no place for an answer.
    """
    if error := _field(source, "error"):
        raise error_in_body(jsonable(error), endpoint=endpoint)
    usage = _token_usage(source)
    if api_mode == "responses":
        said = _read_responses(source, endpoint)
        if said.finish_reason == "stop" and _is_used_up(request, usage):
            said = _Said(said.text, "length", said.reasoning, said.tool_calls)
    else:
        said = _read_chat(source, endpoint)
    request_id = headers.get("x-request-id") or _field(source, "id")
    artifacts: JSONObject = {
        "request": request,
        "raw_response": source if type(source) is dict else jsonable(source),
    }
    optional: JSONObject = {
        "provider_request_id": None if request_id is None else str(request_id),
        "response_headers": redact(jsonable(headers)),
        "rate_limit": limits_told(headers),
        "finish_reason": said.finish_reason,
        "tool_calls": list(said.tool_calls),
        "reasoning": said.reasoning,
        "first_token_ms": first_token_ms,
    }
    artifacts.update({name: value for name, value in optional.items() if value})
    calls = [{"name": one["name"], "arguments": one["arguments"]} for one in said.tool_calls]
    return Answer(said.text, calls, usage, latency_ms, artifacts)


def _read_responses(source: Any, endpoint: str) -> _Said:
    status = _field(source, "status")
    if status in ("failed", "cancelled"):
        raise ProviderError(f"{endpoint} answered with status '{status}'", retryable=True)
    given = _field(source, "output")
    text = _field(source, "output_text")
    if not isinstance(given, (list, tuple)) and not isinstance(text, str):
        raise _shapeless(endpoint, "output")
    items = _items(source, "output")
    parts = [
        part
        for item in items
        if _field(item, "type") == "message"
        for part in _parts(_field(item, "content"), endpoint)
    ]
    if not isinstance(text, str):
        text = "".join(_text(part, "text") for part in parts)
    calls = tuple(
        _tool_call(_first_any(item, "call_id", "id"), item)
        for item in items
        if _field(item, "type") in ("function_call", "custom_tool_call")
    )
    thoughts = [
        _text(part, "text")
        for item in items
        if _field(item, "type") == "reasoning"
        for part in (*_items(item, "summary"), *_items(item, "content"))
    ]
    reasoning = "\n\n".join(thought for thought in thoughts if thought)
    if refusal := "".join(_text(part, "refusal") for part in parts):
        return _Said(text or refusal, "refusal", reasoning, calls)
    reason = _field(_field(source, "incomplete_details"), "reason")
    if reason is None and status == "completed":
        reason = "tool_calls" if calls and not text else "stop"
    return _Said(text, finish_reason_of(reason), reasoning, calls)


def _read_chat(source: Any, endpoint: str) -> _Said:
    choices = _items(source, "choices")
    if not choices:
        raise _shapeless(endpoint, "choices")
    choice = next((one for one in choices if _field(one, "index") in (0, None)), choices[0])
    message = _field(choice, "message")
    if message is None or isinstance(message, (str, int, float, list, tuple)):
        raise _shapeless(endpoint, "choices[0].message")
    parts = _parts(_field(message, "content"), endpoint)
    text = "".join(_text(part, "text") for part in parts)
    given = _items(message, "tool_calls")
    calls = [_tool_call(_field(one, "id"), _called(one)) for one in given]
    if not calls and (old := _field(message, "function_call")) is not None:
        calls = [_tool_call(None, old)]
    reasoning = _text(message, "reasoning_content") or _text(message, "reasoning")
    refusal = _text(message, "refusal") or "".join(_text(part, "refusal") for part in parts)
    reason = finish_reason_of(_field(choice, "finish_reason"))
    if refusal:
        text, reason = text or refusal, "refusal"
    elif calls and not text and reason in (None, "stop"):
        reason = "tool_calls"
    return _Said(text, reason, reasoning, tuple(calls))


def _parts(content: Any, endpoint: str) -> list[Any]:
    """Return the parts of a message's content, of which a text is the only one.

    Raises:
        ProviderError: it is none of what a content may be; read as empty, it would be scored.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    if isinstance(content, (list, tuple)):
        return [{"text": part} if isinstance(part, str) else part for part in content]
    raise ProviderError(
        f"{endpoint} answered with a {type(content).__name__} where its text belongs",
        retryable=True,
    )


def _is_used_up(request: JSONObject, usage: dict[str, int] | None) -> bool:
    """Return whether an answer took all the output tokens that its request allowed."""
    cap = request.get(OUTPUT_CAP)
    return type(cap) is int and (usage or {}).get("completion_tokens", 0) >= cap


def _called(call: Any) -> Any:
    """Return the part of a chat message's tool call that says what is called."""
    return _first_any(call, "function", "custom")


def _tool_call(call_id: Any, said: Any) -> JSONObject:
    arguments = jsonable(_first_any(said, "arguments", "input"))
    if isinstance(arguments, str):
        with contextlib.suppress(orjson.JSONDecodeError):  # it stays text, as the model gave it
            arguments = orjson.loads(arguments)
    name = _field(said, "name")
    return {
        "id": None if call_id is None else str(call_id),
        "name": "" if name is None else str(name),
        "arguments": arguments,
    }


def _token_usage(source: Any) -> dict[str, int] | None:
    usage = _field(source, "usage")
    if usage is None:
        return None
    counts = {
        "prompt_tokens": _first(usage, "prompt_tokens", "input_tokens"),
        "completion_tokens": _first(usage, "completion_tokens", "output_tokens"),
        "cached_tokens": _first(
            _first_any(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens"
        ),
        "reasoning_tokens": _first(
            _first_any(usage, "completion_tokens_details", "output_tokens_details"),
            "reasoning_tokens",
        ),
    }
    return {name: count for name, count in counts.items() if count is not None} or None


def _shapeless(endpoint: str, wanted: str) -> ProviderError:
    return ProviderError(f"{endpoint} answered without '{wanted}'", retryable=True)


def _field(source: Any, name: str) -> Any:
    """Return a field of data or of an object; None where there is none."""
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)


def _items(source: Any, name: str) -> list[Any]:
    found = _field(source, name)
    return list(found) if isinstance(found, (list, tuple)) else []


def _text(source: Any, name: str) -> str:
    found = _field(source, name)
    return found if isinstance(found, str) else ""


def _first_any(source: Any, *names: str) -> Any:
    return next((found for name in names if (found := _field(source, name)) is not None), None)


def _first(source: Any, *names: str) -> int | None:
    """Return the first count: whole, if a float or digits, and not below zero."""
    found = _first_any(source, *names)
    whole = isinstance(found, float) and found.is_integer()
    if whole or (isinstance(found, str) and _DIGITS.fullmatch(found)):
        found = int(found)
    return found if type(found) is int and 0 <= found <= _MOST_TOKENS else None
