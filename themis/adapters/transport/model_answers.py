"""What a model said, read out of an answer of either API: an SDK's object, a stand-in or data.

Text, tool calls, reasoning and refusals are told apart: what a model thinks, and what it says on
the way to its answer, is no part of the answer. Why it ended is the table's to say (``meanings``);
an answer that its endpoint calls failed raises, and so does one that has no place for an answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from themis.adapters.transport.endpoint_errors import broken_off
from themis.adapters.transport.jsonable import jsonable
from themis.adapters.transport.lenient_json import stored_as_it_is
from themis.adapters.transport.meanings import (
    Meaning,
    Reason,
    meaning_of_state,
    reason_of,
    told_reason,
)
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import ProviderError

_TEXT_PARTS = (None, "text", "output_text", "input_text")
_THOUGHT_PARTS = ("reasoning", "reasoning_text", "thinking", "summary_text")
_FINAL = "final_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A model's answer, in a form that is the same for both APIs."""

    text: str
    reason: Reason | None = None
    """Why it ended, where it says so."""
    reasoning: str = ""
    commentary: str = ""
    """What it said on the way, where it told that from its answer."""
    tool_calls: tuple[JSONObject, ...] = ()
    """Id, name and arguments of each."""

    @property
    def is_refusal(self) -> bool:
        """Whether the model refused, or a filter withheld the answer."""
        return self.reason is not None and self.reason.meaning is Meaning.REFUSED

    @property
    def output(self) -> JSONValue:
        """The text or, of an answer that is tool calls only, their names and arguments."""
        return self.text if self.text or not self.tool_calls else self._calls()

    @property
    def turn(self) -> JSONValue:
        """What stands in a conversation: the text, with the tool calls where it has any."""
        if not self.tool_calls:
            return self.text
        return {"content": self.text or None, "tool_calls": self._calls()}

    def _calls(self) -> JSONValue:
        """Return the calls without their ids, which differ where all else is equal."""
        return [{"name": one["name"], "arguments": one["arguments"]} for one in self.tool_calls]

    def evidence(self) -> JSONObject:
        """Return what is kept of it in artifacts, beside what came."""
        found: JSONObject = {
            "finish_reason": None if self.reason is None else self.reason.word,
            "tool_calls": list(self.tool_calls),
            "reasoning": self.reasoning,
            "commentary": self.commentary,
            "note": told_reason(self.reason),
        }
        return {name: value for name, value in found.items() if value}


def read_responses(source: Any, endpoint: str) -> Said:
    """Return what was said in an answer of the Responses API.

    Raises:
        ProviderError: it failed, or has no place for an answer.
    """
    state = field(source, "status")
    meaning = meaning_of_state(state)
    if meaning is Meaning.PASSING:
        raise ProviderError(f"{endpoint} answered with status '{state}'", retryable=True)
    whole = field(source, "output_text")
    if not isinstance(field(source, "output"), (list, tuple)) and not isinstance(whole, str):
        raise shapeless(endpoint, "output")
    listed = items(source, "output")
    messages = [item for item in listed if field(item, "type") == "message"]
    answering = _answering(messages)
    parts = [part for item in answering for part in _parts(field(item, "content"), endpoint)]
    # A stand-in may have the text alone; of messages that are told apart it joins too many.
    joined = len(answering) == len(messages) and isinstance(whole, str)
    text = whole if joined and isinstance(whole, str) else _texts(parts)
    calls = tuple(
        _tool_call(first_of(item, "call_id", "id"), item)
        for item in listed
        if field(item, "type") in ("function_call", "custom_tool_call")
    )
    thoughts = [
        _text(part, "text")
        for item in listed
        if field(item, "type") == "reasoning"
        for part in (*items(item, "summary"), *items(item, "content"))
    ]
    said = {
        "reasoning": joined_thoughts([*thoughts, *_thought_parts(parts)]),
        "commentary": "\n\n".join(
            _texts(_parts(field(item, "content"), endpoint))
            for item in messages
            if not any(item is one for one in answering)
        ),
    }
    if refusal := "".join(_text(part, "refusal") for part in parts):
        reason = reason_of("refusal")
        return Said(text=text or refusal, reason=reason, tool_calls=calls, **said)
    why = reason_of(field(field(source, "incomplete_details"), "reason"))
    if why is None and meaning is Meaning.ANSWER:
        why = reason_of("tool_calls" if calls and not text else "stop")
    elif why is None and meaning is Meaning.UNKNOWN:
        if not text and not calls and state != "incomplete":
            raise ProviderError(
                f"{endpoint} answered with status '{state}' and no answer", retryable=True
            )
        why = reason_of(state)
    check_ended(why, None, endpoint)
    return Said(text=text, reason=why, tool_calls=calls, **said)


def read_chat(source: Any, endpoint: str) -> Said:
    """Return what was said in an answer of Chat Completions.

    Raises:
        ProviderError: it failed, or has no place for an answer.
    """
    choices = items(source, "choices")
    if not choices:
        raise shapeless(endpoint, "choices")
    choice = next((one for one in choices if field(one, "index") in (0, None)), choices[0])
    return read_choice(choice, endpoint)


def read_choice(choice: Any, endpoint: str) -> Said:
    """Return what was said in one choice of Chat Completions.

    Raises:
        ProviderError: it failed, or has no message.
    """
    reason = reason_of(field(choice, "finish_reason"))
    check_ended(reason, jsonable(field(choice, "error")), endpoint)
    message = field(choice, "message")
    if message is None or isinstance(message, (str, int, float, list, tuple)):
        raise shapeless(endpoint, "choices[0].message")
    content = field(message, "content")
    parts = [] if isinstance(content, str) else _parts(content, endpoint)
    text = content if isinstance(content, str) else _texts(parts)
    calls = [_tool_call(field(one, "id"), _called(one)) for one in items(message, "tool_calls")]
    if not calls and (old := field(message, "function_call")) is not None:
        calls = [_tool_call(None, old)]
    thought = _first_text(message, "reasoning_content", "reasoning", "thinking")
    refusal = _text(message, "refusal") or "".join(_text(part, "refusal") for part in parts)
    if refusal:
        text, reason = text or refusal, reason_of("refusal")
    elif calls and not text and (reason is None or reason.word == "stop"):
        reason = reason_of("tool_calls")
    return Said(
        text=text,
        reason=reason,
        reasoning=joined_thoughts([thought] if thought else _thought_parts(parts)),
        tool_calls=tuple(calls),
    )


def field(source: Any, name: str) -> Any:
    """Return a field of data or of an object; None where there is none."""
    if type(source) is dict or isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)


def items(source: Any, name: str) -> list[Any]:
    """Return a list in data or in an object; an empty one where there is none."""
    found = field(source, name)
    return list(found) if isinstance(found, (list, tuple)) else []


def check_ended(reason: Reason | None, error: Any, endpoint: str) -> None:
    """Refuse an answer that its endpoint says it broke off.

    Raises:
        ProviderError: it is one.
    """
    if error:
        raise broken_off(
            error if isinstance(error, dict) else {"message": error}, endpoint=endpoint
        )
    if reason is not None and reason.meaning is Meaning.PASSING:
        raise broken_off(reason.word, endpoint=endpoint)


def _answering(messages: list[Any]) -> list[Any]:
    """Return the messages that are the answer, where a model tells which are."""
    phases = [field(one, "phase") for one in messages]
    if _FINAL in phases:
        return [one for one, phase in zip(messages, phases, strict=True) if phase == _FINAL]
    return [one for one, phase in zip(messages, phases, strict=True) if phase != "commentary"]


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


def _texts(parts: list[Any]) -> str:
    return "".join(_text(part, "text") for part in parts if field(part, "type") in _TEXT_PARTS)


def _thought_parts(parts: list[Any]) -> list[str]:
    """Return the thoughts among a message's parts, each a text or parts of its own."""
    found = []
    for part in parts:
        if field(part, "type") in _THOUGHT_PARTS:
            inner = items(part, "thinking") or items(part, "reasoning")
            own = _first_text(part, "thinking", "reasoning", "text")
            found.append(own or "".join(_text(one, "text") for one in inner))
    return found


def joined_thoughts(said: list[str]) -> str:
    """Return thoughts as one text."""
    return "\n\n".join(one for one in said if one)


def _called(call: Any) -> Any:
    """Return the part of a chat message's tool call that names the tool and its arguments."""
    return first_of(call, "function", "custom")


def _tool_call(call_id: Any, said: Any) -> JSONObject:
    arguments = jsonable(first_of(said, "arguments", "input"))
    if isinstance(arguments, str):
        with contextlib.suppress(orjson.JSONDecodeError):  # it stays text, as the model gave it
            arguments = stored_as_it_is(arguments.encode())
    name = field(said, "name")
    return {
        "id": None if call_id is None else str(call_id),
        "name": "" if name is None else str(name),
        "arguments": arguments,
    }


def shapeless(endpoint: str, wanted: str) -> ProviderError:
    """Return the error that an answer is without a place for an answer."""
    return ProviderError(f"{endpoint} answered without '{wanted}'", retryable=True)


def _text(source: Any, name: str) -> str:
    found = field(source, name)
    return found if isinstance(found, str) else ""


def _first_text(source: Any, *names: str) -> str:
    for name in names:
        if found := _text(source, name):
            return found
    return ""


def first_of(source: Any, *names: str) -> Any:
    """Return the first of these fields that there is; None where there is none."""
    for name in names:
        if (found := field(source, name)) is not None:
            return found
    return None
