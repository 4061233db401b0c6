"""An answer that comes in pieces, put together as if it had come whole.

The pieces are read as bytes, a line at a time: server-sent events with JSON in them, up to the
event that ends the answer; what a server sends after it is nobody's. A stream that ends before its
answer does is a failure worth another try, never an answer cut short. A server that was asked for a
stream and answers whole, whatever type it says that has, is read as it answers.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from themis.adapters.failures import error_in_body
from themis.adapters.lenient_json import mended, read_piece
from themis.adapters.requests import ApiMode
from themis.adapters.responses import decoded_answer
from themis.core.errors import ProviderError

_TEXTS = ("arguments", "content", "input", "reasoning", "reasoning_content", "refusal", "text")
"""Fields of a piece of a message that go on where the last piece ended; others are said once."""
_LAST_EVENTS = (
    "response.cancelled",
    "response.completed",
    "response.failed",
    "response.incomplete",
)
_BOM = b"\xef\xbb\xbf"
_BLANK = _BOM + b" \t\r\n"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
"""How a line of server-sent events may begin."""
_SIGNS_OF_LIFE = (b"heartbeat", b"keep-alive", b"keepalive", b"ping")


async def read_stream(
    pieces: AsyncIterator[bytes],
    *,
    api_mode: ApiMode,
    endpoint: str,
    hide: Callable[[bytes], bytes],
) -> tuple[dict[str, Any], float | None]:
    """Return the whole answer as JSON data, and when its first token came.

    Args:
        pieces: the body's bytes as they come; read no further than the answer's end.
        api_mode: the API that was called.
        endpoint: its name, for messages.
        hide: hides secrets in an event's bytes.

    Returns:
        The data that the same answer has when it is not streamed, and ``time.perf_counter()`` at
        its first piece of text, reasoning or arguments; None where it had none.

    Raises:
        ProviderError: the stream ended early, told of an error, or was no such answer.
    """
    begun = await _beginning(pieces)
    head = begun.lstrip(_BLANK)
    if head and not any(field.startswith(head[: len(field)]) for field in _FIELDS):
        rest = [piece async for piece in pieces]
        return decoded_answer(hide(b"".join([begun, *rest])), endpoint=endpoint, status=200), None
    answer: _ChatAnswer | _ResponsesAnswer = (
        _ChatAnswer() if api_mode == "chat_completions" else _ResponsesAnswer()
    )
    first: float | None = None
    cut = False
    async with aclosing(_events(begun.removeprefix(_BOM), pieces)) as events:
        async for name, raw in events:
            if raw == b"[DONE]":
                answer.done = True
                break
            event = _event(name, hide(raw), endpoint)
            if event is None:
                continue
            cut = cut or b"\\u" in raw
            if _added(answer, event, endpoint) and first is None:
                first = time.perf_counter()
            if answer.done:
                break
    whole = answer.whole()
    if whole is None:
        raise ProviderError(f"{endpoint} ended its stream before the answer's end", retryable=True)
    # A character may be cut in half between two pieces.
    return (mended(whole) if cut else whole), first


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Return the bytes up to the first piece that is not blank."""
    begun = b""
    async for piece in pieces:
        begun += piece
        if begun.strip(_BLANK):
            break
    return begun


def _event(name: bytes, raw: bytes, endpoint: str) -> dict[str, Any] | None:
    """Return an event's data; None for a sign of life."""
    if name in _SIGNS_OF_LIFE or not raw.strip():
        return None
    try:
        event = read_piece(raw)
    except ValueError:
        event = None
    if name == b"error" and not isinstance(event, dict):
        event = {"error": raw.decode("utf-8", "replace")}
    if not isinstance(event, dict):
        raise ProviderError(f"{endpoint} streamed something that is not JSON", retryable=True)
    if name == b"error" or event.get("type") == "error" or event.get("error"):
        raise error_in_body(mended(event.get("error") or event), endpoint=endpoint, streamed=True)
    return None if event.get("type") == "ping" else event


def _added(answer: _ChatAnswer | _ResponsesAnswer, event: dict[str, Any], endpoint: str) -> bool:
    try:
        return answer.add(event)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ProviderError(
            f"{endpoint} streamed something that is no piece of an answer", retryable=True
        ) from None


async def _events(
    begun: bytes, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[tuple[bytes, bytes], None]:
    """Yield the name and data of each server-sent event; comments and events without are not.

    A line ends with LF, CR or both.
    """
    rest = name = b""
    data: list[bytes] = []
    after_cr = False
    piece: bytes | None = begun
    while piece is not None:
        if after_cr:
            piece = piece.removeprefix(b"\n")
        after_cr = piece.endswith(b"\r") or (after_cr and not piece)
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"event:"):
                name = line[6:].strip()
            elif not line:
                if data:
                    yield name, b"\n".join(data)
                name, data = b"", []
        piece = await anext(pieces, None)
    if rest.startswith(b"data:"):
        data.append(rest[5:].strip())
    if data:
        yield name, b"\n".join(data)


class _ResponsesAnswer:
    """The Responses API sends the whole answer once more with its last event, or most of it."""

    def __init__(self) -> None:
        self.done = False
        self._whole: dict[str, Any] | None = None
        self._items: dict[int, Any] = {}
        self._texts: dict[int, dict[tuple[int, str], list[str]]] = {}

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        kind = str(event.get("type", ""))
        if kind in _LAST_EVENTS and isinstance(event.get("response"), dict):
            self._whole = event["response"]
            self.done = True
        elif kind == "response.output_item.done":
            self._items[int(event.get("output_index") or 0)] = event.get("item")
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            part = int(event.get("content_index") or 0), kind.split(".")[1]
            texts = self._texts.setdefault(int(event.get("output_index") or 0), {})
            texts.setdefault(part, []).append(str(event.get("delta") or ""))
        return kind.endswith(".delta") and bool(event.get("delta"))

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before it."""
        if self._whole is None or self._whole.get("output", []) != []:
            return self._whole
        items = {index: _message(texts) for index, texts in self._texts.items()} | self._items
        if not items:
            return self._whole
        return {**self._whole, "output": [items[index] for index in sorted(items)]}


def _message(texts: dict[tuple[int, str], list[str]]) -> dict[str, Any]:
    """Return the message of which only the pieces came."""
    parts = [
        {"type": kind, "refusal" if kind == "refusal" else "text": "".join(texts[index, kind])}
        for index, kind in sorted(texts)
    ]
    return {"type": "message", "role": "assistant", "content": parts}


class _ChatAnswer:
    """Chat Completions send pieces of a message, of which the first says whose it is."""

    def __init__(self) -> None:
        self.done = False
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}

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
            self._choices[index]["message"][name] = "".join(texts)
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
            elif value is not None:
                _merge(choice["message"], {name: value})
                found = found or (name in ("content", "tool_calls") and bool(value))
        return found


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
