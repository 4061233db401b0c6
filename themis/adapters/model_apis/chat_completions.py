"""Chat Completions: their requests, and their answers in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from themis.adapters.model_apis.api import Api, Parts
from themis.adapters.model_apis.sampling import OUTPUT_CAP, split_sampling
from themis.adapters.prompting.messages import chat_messages
from themis.adapters.transport.lenient_json import read_piece
from themis.adapters.transport.model_answers import Said, read_chat
from themis.core.base import JSONObject

_TEXTS = ("arguments", "content", "input", "reasoning", "reasoning_content", "refusal", "text")
"""Fields of a piece of a message that go on where the last piece ended; others are said once."""


@dataclass(frozen=True)
class ChatCompletionsApi(Api):
    """Chat Completions.

    Args:
        cap: what the limit of output tokens is called.
    """

    cap: str
    mode = "chat_completions"

    def body(self, parts: Parts) -> JSONObject:
        """Return the request."""
        sampling, left_out = split_sampling(parts.sampling)
        messages = chat_messages(parts.content, parts.instructions)
        body: JSONObject = {"model": parts.model, "messages": messages}
        if parts.seed is not None and "seed" not in left_out:
            body["seed"] = parts.seed
        for name, value in sampling.items():
            body[self.cap if name == OUTPUT_CAP else name] = value
        if parts.stream:
            body["stream"] = True
            if "stream_options" not in left_out:
                body["stream_options"] = {"include_usage": True}
        return body

    def target(self, body: JSONObject) -> tuple[str, JSONObject]:
        """Return the path of a call, and the body."""
        return "/chat/completions", body

    def read(self, source: Any, endpoint: str) -> Said:
        """Return what was said in an answer."""
        return read_chat(source, endpoint)

    def pieces(self) -> PiecedChat:
        """Return an answer of which nothing has come."""
        return PiecedChat()


def counted_body(parts: Parts) -> JSONObject:
    """Return the body in which the tokens of a request to another API are counted."""
    return ChatCompletionsApi(cap=OUTPUT_CAP).body(parts)


class PiecedChat:
    """Chat Completions send pieces of a message, of which the first says whose it is."""

    def __init__(self) -> None:
        self.done = False
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._calls: dict[int, list[_Call]] = {}

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        for name, value in event.items():
            if name != "choices" and (value is not None or name not in self._head):
                self._head[name] = value
        added = [self._add_choice(choice) for choice in event.get("choices") or ()]
        return any(added)

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before each choice said how it ended."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not choices or not all(choice.get("finish_reason") for choice in choices):
            return None
        for (index, name), texts in self._texts.items():
            message, text = self._choices[index]["message"], "".join(texts)
            if isinstance(message.get(name), list):  # after thoughts that came as parts
                message[name] = [*message[name], {"type": "text", "text": text}]
            else:
                message[name] = text
        for index, calls in self._calls.items():
            by_place = sorted(calls, key=lambda call: call.index)
            self._choices[index]["message"]["tool_calls"] = [call.data for call in by_place]
        return {**self._head, "object": "chat.completion", "choices": _listed(choices)}

    def _add_choice(self, piece: dict[str, Any]) -> bool:
        index = int(piece.get("index") or 0)
        choice = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}}
        )
        for name, value in piece.items():
            if name == "logprobs" and isinstance(value, dict):
                _merge(choice.setdefault("logprobs", {}), value)
            elif name not in ("delta", "index") and (value is not None or name not in choice):
                choice[name] = value
        found = False
        for name, value in (piece.get("delta") or {}).items():
            if name in _TEXTS and isinstance(value, str):
                # Kept apart and joined once: a long answer comes in thousands of pieces.
                self._texts.setdefault((index, name), []).append(value)
                found = found or bool(value)
            elif name == "tool_calls" and isinstance(value, list):
                calls = self._calls.setdefault(index, [])
                for one in value:
                    _add_call(calls, one)
                found = found or bool(value)
            elif value is not None:
                _merge(choice["message"], {name: value})
                found = found or (name == "content" and bool(value))
        return found


class _Call:
    """A tool call, while it is put together."""

    __slots__ = ("data", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.data: dict[str, Any] = {}


def _add_call(calls: list[_Call], piece: dict[str, Any]) -> None:
    """Add a piece of a tool call: to the last of its index, or to a new one.

    Some servers give each parallel call the index 0, or none, and an id of its own; some repeat id
    and name in every piece, or name a new id in each: a call begins where a piece has another id
    and a name, or a name where the arguments so far are whole.
    """
    index = piece.get("index")
    given = index if type(index) is int else None
    known = next((one for one in reversed(calls) if given is None or one.index == given), None)
    if known is None or _begins(known.data, piece):
        last = max((one.index for one in calls), default=-1)
        known = _Call(last + 1 if given is None else given)
        calls.append(known)
    _merge(known.data, {name: value for name, value in piece.items() if name != "index"})


def _begins(known: dict[str, Any], piece: dict[str, Any]) -> bool:
    named = _inner(piece).get("name")
    if not named:
        return False
    old, new = known.get("id"), piece.get("id")
    if old and new:
        return bool(old != new)
    arguments = _inner(known).get("arguments")
    return isinstance(arguments, str) and _is_whole(arguments)


def _inner(call: dict[str, Any]) -> dict[str, Any]:
    found = call.get("function") or call.get("custom")
    return found if isinstance(found, dict) else {}


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(read_piece(arguments.encode()), dict)
    except ValueError:
        return False


class _Indexed(dict[int, Any]):
    """A list whose pieces say where they belong, while it is put together."""


def _listed(value: Any) -> Any:
    """Return data with its lists put together, each in the order of its indices."""
    if isinstance(value, _Indexed):
        return [_listed(value[index]) for index in sorted(value)]
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return value


def _merge(whole: dict[Any, Any], piece: dict[Any, Any]) -> None:
    """Add a piece of a message to what came of it so far."""
    for name, value in piece.items():
        known = whole.get(name)
        if isinstance(value, list):
            whole[name] = _merged_items(known, value)
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif name in _TEXTS and isinstance(value, str) and isinstance(known, str):
            whole[name] = known + value
        elif isinstance(value, dict):
            whole[name] = {}
            _merge(whole[name], value)
        elif value is not None:
            whole[name] = value


def _merged_items(known: Any, pieces: list[Any]) -> Any:
    """Return a list with further pieces: by their index where they have one, else at its end."""
    if not isinstance(known, (_Indexed, list)):
        known = []
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, dict) else None
        if type(index) is not int:
            if isinstance(known, _Indexed):
                known[max(known, default=-1) + 1] = piece
            else:
                known.append(piece)
            continue
        if not isinstance(known, _Indexed):
            known = _Indexed(enumerate(known))
        rest = {name: value for name, value in piece.items() if name != "index"}
        _merge(known.setdefault(index, {}), rest)
    return known
