"""Reading an endpoint's answer, of either API, given as an SDK object, a stand-in or plain data.

It keeps what came as evidence and decides nothing about its worth: an empty or cut-off answer is
an answer. Only one without any place for an answer is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from themis.adapters.failures import error_in_body, rate_limit
from themis.adapters.jsonable import jsonable
from themis.adapters.requests import ApiMode
from themis.core.base import JSONObject
from themis.core.errors import ProviderError
from themis.core.redaction import redact


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an endpoint."""

    text: str
    token_usage: dict[str, int] | None
    latency_ms: float
    artifacts: JSONObject


def read_answer(
    source: Any,
    *,
    api_mode: ApiMode,
    headers: Mapping[str, str],
    request: JSONObject,
    latency_ms: float,
    endpoint: str,
) -> Answer:
    """Return what an endpoint answered.

    Args:
        source: the answer: JSON data, or an object with the SDK's attributes.
        api_mode: the API that was called.
        headers: of the answer.
        request: the body as sent.
        latency_ms: milliseconds from request to the whole answer.
        endpoint: its name, for messages.

    Raises:
        ProviderError: the answer tells of an error, or has no place for an answer.
    """
    if (error := _field(source, "error")) is not None:
        raise error_in_body(jsonable(error), endpoint=endpoint)
    read = _read_responses if api_mode == "responses" else _read_chat
    text, finish_reason = read(source, endpoint)
    known = {str(name).lower(): str(value) for name, value in headers.items()}
    request_id = known.get("x-request-id") or _field(source, "id")
    artifacts: JSONObject = {
        "request": request,
        "raw_response": source if type(source) is dict else jsonable(source),
    }
    optional: JSONObject = {
        "provider_request_id": None if request_id is None else str(request_id),
        "response_headers": redact(jsonable(known)),
        "rate_limit": rate_limit(known),
        "finish_reason": finish_reason,
    }
    artifacts.update({name: value for name, value in optional.items() if value})
    return Answer(text, _token_usage(source), latency_ms, artifacts)


def _read_responses(source: Any, endpoint: str) -> tuple[str, str | None]:
    parts = [
        part
        for item in _items(source, "output")
        if _field(item, "type") == "message"
        for part in _items(item, "content")
    ]
    text = _field(source, "output_text")
    if not isinstance(text, str):
        if _field(source, "output") is None:
            raise _shapeless(endpoint, "output")
        text = "".join(_text(part, "text") for part in parts)
    refusal = "".join(_text(part, "refusal") for part in parts)
    if refusal:
        return text or refusal, "refusal"
    reason = _field(_field(source, "incomplete_details"), "reason")
    if reason is not None:
        return text, "length" if reason == "max_output_tokens" else str(reason)
    return text, "stop" if _field(source, "status") == "completed" else None


def _read_chat(source: Any, endpoint: str) -> tuple[str, str | None]:
    choices = _items(source, "choices")
    if not choices:
        raise _shapeless(endpoint, "choices")
    message = _field(choices[0], "message")
    content = _field(message, "content")
    if isinstance(content, list):
        content = "".join(_text(part, "text") for part in content)
    refusal = _field(message, "refusal")
    if isinstance(refusal, str) and refusal:
        return content or refusal, "refusal"
    reason = _field(choices[0], "finish_reason")
    return content or "", reason if isinstance(reason, str) else None


def _token_usage(source: Any) -> dict[str, int] | None:
    usage = _field(source, "usage")
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
    found = _first_any(source, *names)
    return found if type(found) is int else None
