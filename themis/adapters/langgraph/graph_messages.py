"""What LangChain's messages say: an answer's text, tool calls, how it ended, tokens.

Messages are known by their attributes, so that no library is needed to read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from themis.adapters.transport.jsonable import is_message, jsonable, message_data
from themis.adapters.transport.meanings import Reason, reason_of
from themis.core.base import JSONObject, JSONValue
from themis.core.models import Message
from themis.core.prompts import is_messages

_TEXTS = ("text", "output_text")
_WORDLESS = (
    "function_call", "invalid_tool_call", "reasoning", "redacted_thinking", "thinking", "tool_call",
    "tool_use",
)  # fmt: skip
"""Parts of a message that are no part of the answer's text."""
_CALLS = ("function_call", "tool_call", "tool_use")
"""Parts that are tool calls."""
_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
"""Where a provider's integration puts why an answer ended, in ``response_metadata``."""
_USAGE = {
    "prompt_tokens": ("input_tokens", "prompt_tokens"),
    "completion_tokens": ("output_tokens", "completion_tokens"),
}
_DETAILS = {
    "cached_tokens": ("input_token_details", "cache_read"),
    "reasoning_tokens": ("output_token_details", "reasoning"),
}
_DEEPEST = 4


def content_of(value: Any) -> JSONValue:
    """Return a message's text, or the list of its tool calls if it has none.

    Anything else is returned in its JSON form.
    """
    if not is_message(value):
        return jsonable(value)
    said = text_of(value.content)
    if said == "" and (calls := calls_of(value)):
        return [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return said


def text_of(content: Any) -> JSONValue:
    """Return the text of a message in parts; the parts, where one is neither text nor wordless."""
    if not isinstance(content, list):
        return jsonable(content)
    said = ""
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            said += part
        elif kind in _TEXTS and isinstance(part.get("text"), str):
            said += part["text"]
        elif kind not in _WORDLESS:
            return jsonable(content)
    return said


def calls_of(message: Any) -> list[JSONObject]:
    """Return a message's tool calls; arguments that are no JSON stay the text they are."""
    made = [
        call
        for name in ("tool_calls", "invalid_tool_calls")
        for call in getattr(message, name, None) or ()
    ]
    return [
        {"id": call.get("id"), "name": call.get("name"), "arguments": jsonable(call.get("args"))}
        for call in made
    ]


def ended_by(message: Any) -> Reason | None:
    """Return why a model's message ended, as far as it says."""
    told = getattr(message, "response_metadata", None) or {}
    refusal = (getattr(message, "additional_kwargs", None) or {}).get("refusal")
    parts = message.content if isinstance(message.content, list) else ()
    if refusal or any(isinstance(one, Mapping) and one.get("type") == "refusal" for one in parts):
        return reason_of("refusal")
    said = next((told[name] for name in _REASONS if told.get(name)), None)
    if said is None and isinstance(cut := told.get("incomplete_details"), Mapping):
        said = cut.get("reason")
    return reason_of(said)


def usage_of(message: Any, told: Any = None) -> dict[str, int]:
    """Return the tokens of a message, under the names that candidates have.

    Args:
        message: a model's message; None where there is none.
        told: what the model's integration told beside it (``llm_output``).
    """
    beside = getattr(message, "response_metadata", None) or {}
    places = [getattr(message, "usage_metadata", None)]
    for place in (beside, told):
        if isinstance(place, Mapping):
            places += [place.get("token_usage"), place.get("usage")]
    usage = next((one for one in places if isinstance(one, Mapping) and one), {})
    counts = {
        name: next((usage[key] for key in keys if key in usage), None)
        for name, keys in _USAGE.items()
    }
    for name, (part, key) in _DETAILS.items():
        details = usage.get(part)
        counts[name] = details.get(key) if isinstance(details, Mapping) else None
    return {name: count for name, count in counts.items() if type(count) is int}


def is_from_model(message: Any) -> bool:
    """Return whether a message is an answer, whole or in pieces."""
    return is_message(message) and message.type in ("ai", "AIMessageChunk")


def messages_in(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the messages in what a node was given or gave: a state, a part of one, a command."""
    if is_message(value):
        yield value
        return
    if depth > _DEEPEST:
        return
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    elif hasattr(value, "goto") and hasattr(value, "update"):  # a Command
        inner = (value.update,)
    elif hasattr(value, "model_fields_set") or hasattr(value, "__dataclass_fields__"):
        inner = vars(value).values() if hasattr(value, "__dict__") else ()
    for one in inner:
        yield from messages_in(one, depth + 1)


def messages_of(state: Any) -> list[Any] | None:
    """Return the messages of a state; None where it has none."""
    if isinstance(state, Mapping):
        messages = state.get("messages")
    else:
        messages = getattr(state, "messages", None)
    return list(messages) if isinstance(messages, (list, tuple)) else None


def conversation_of(messages: list[Any] | None) -> list[Message] | None:
    """Return a state's messages as a conversation, tool calls and failed results in it."""
    said: list[JSONObject] = [
        _told(one) if is_message(one) else one
        for one in messages or ()
        if is_message(one) or is_messages([one])
    ]
    return [Message(role=str(one["role"]), content=jsonable(_turn(one))) for one in said] or None


def _told(message: Any) -> JSONObject:
    failed = {"status": "error"} if getattr(message, "status", None) == "error" else {}
    return {**message_data(message), **failed}


def _turn(said: JSONObject) -> JSONValue:
    """Return a message's content, with the tool calls beside it where it has any."""
    content = said.get("content")
    if calls := said.get("tool_calls"):
        parts = content if isinstance(content, list) else ()
        if any(isinstance(one, Mapping) and one.get("type") in _CALLS for one in parts):
            return content  # they stand in it already
        return {"content": content, "tool_calls": calls}
    if said.get("status") == "error":
        told = {name: said[name] for name in ("status", "tool_call_id") if name in said}
        return {"content": content, **told}
    return content
