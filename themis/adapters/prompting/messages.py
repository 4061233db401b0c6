"""Chat messages: what a case and its prompt material become for a model that takes turns."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import orjson

from themis.adapters.prompting.content import calls_of, chat_content
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.models import Message
from themis.core.prompts import PromptSpec, as_text, is_messages

_SYSTEM = ("system", "developer")
_BESIDE = ("tool_calls", "function_call")
"""What a message may have beside its content."""


def joined_instructions(*parts: str | None) -> str | None:
    """Return instructions of several sources as one text, each said once; None for none."""
    said = list(dict.fromkeys(part for part in parts if part))
    return "\n\n".join(said) or None


def chat_messages(content: JSONValue, instructions: str | None) -> list[JSONObject]:
    """Return chat messages, the instructions first: in the input's own system message if any."""
    messages: list[JSONObject] = (
        chat_content(content)
        if is_messages(content)
        else [{"role": "user", "content": as_text(content)}]
    )
    if instructions is None:
        return messages
    if messages[0]["role"] not in _SYSTEM:
        return [{"role": "system", "content": instructions}, *messages]
    own = messages[0].get("content")
    if isinstance(own, list):
        merged: JSONValue = [{"type": "text", "text": instructions}, *own]
    else:
        merged = joined_instructions(instructions, as_text(own))
    return [{**messages[0], "content": merged}, *messages[1:]]


class CallOfHistory(NamedTuple):
    """A tool call in a history."""

    number: str
    """Its id."""
    name: str
    arguments: JSONObject
    signature: JSONObject
    """What a model wants back with it, as it gave it."""


def tool_calls_of(message: JSONObject) -> list[CallOfHistory]:
    """Return the tool calls of a chat message."""
    if message["role"] != "assistant":
        return []
    signatures = [_signature(one) for one in message.get("tool_calls") or ()]
    found = []
    for call, signature in zip_longest(calls_of(message), signatures, fillvalue=None):
        if call is not None:
            given = call.get("arguments", call.get("input"))
            made = CallOfHistory(call["call_id"], call["name"], _object(given), signature or {})
            found.append(made)
    return found


def _signature(call: JSONValue) -> JSONObject:
    """Return the signature of a thought of Gemini's, where OpenAI's form of its API has it."""
    more = call.get("extra_content") if isinstance(call, dict) else None
    google = more.get("google") if isinstance(more, dict) else None
    given = google.get("thought_signature") if isinstance(google, dict) else None
    return {"thoughtSignature": given} if isinstance(given, str) else {}


def _object(arguments: JSONValue) -> JSONObject:
    """Return a call's arguments as the object that they are in text."""
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            arguments = {"input": arguments}
    return arguments if isinstance(arguments, dict) else {"input": arguments}


def instructions_apart(
    messages: list[JSONObject], *, where: str
) -> tuple[str | None, list[JSONObject]]:
    """Return the system messages with which a conversation begins, as one text, and the rest.

    Args:
        messages: chat messages.
        where: what has no place for a system message later on, for messages.

    Raises:
        DefinitionError: there is one later on, or nothing beside them.
    """
    first = next((n for n, one in enumerate(messages) if one["role"] not in _SYSTEM), None)
    if first is None:
        raise DefinitionError(f"{where} wants a message beside the system message", field="input")
    rest = messages[first:]
    if any(one["role"] in _SYSTEM for one in rest):
        raise DefinitionError(
            f"{where} has no place for a system message in the midst of a conversation",
            field="input",
        )
    said = [_text_of(one.get("content")) for one in messages[:first]]
    return joined_instructions(*said), rest


def _text_of(content: JSONValue) -> str:
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(as_text(one) for one in texts if one)


def merged_turns(turns: list[tuple[str, JSONValue]]) -> list[JSONObject]:
    """Return messages of roles and contents, those of one role that follow each other as one."""
    found: list[JSONObject] = []
    for role, content in turns:
        if found and found[-1]["role"] == role:
            found[-1]["content"] = [*_as_parts(found[-1]["content"]), *_as_parts(content)]
        else:
            found.append({"role": role, "content": content})
    return found


def _as_parts(content: JSONValue) -> list[JSONValue]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def conversation(content: JSONValue, instructions: str | None, answer: JSONValue) -> list[Message]:
    """Return the exchange as messages, the answer last.

    Args:
        content: what was asked: text, or chat messages.
        instructions: the system message, where there is one.
        answer: the answer, as it stands in a conversation.
    """
    said = [as_turn(one) for one in chat_messages(content, instructions)]
    return [*said, Message.unchecked(role="assistant", content=answer)]


def as_turn(message: JSONObject) -> Message:
    """Return a chat message as a turn of a conversation.

    Tool calls stand beside the text.
    """
    content = message.get("content")
    more = {name: message[name] for name in _BESIDE if message.get(name)}
    if more:
        content = {"content": content, **more}
    return Message.unchecked(role=str(message["role"]), content=content)


def one_input(given: JSONValue, spec: PromptSpec | None, metadata: JSONObject) -> JSONValue:
    """Return the whole prompt as one value, for what has no place for instructions beside it.

    Messages begin with the instructions; before anything else they stand as text, a blank line
    between. Without instructions, it is the input as the spec renders it.
    """
    spec = spec or PromptSpec()
    content = spec.render_input(given, metadata=metadata)
    if spec.instructions is None:
        return content
    if is_messages(content):
        messages: JSONValue = chat_messages(content, spec.instructions)
        return messages
    return f"{spec.instructions}\n\n{as_text(content)}"
