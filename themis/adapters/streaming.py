"""An answer that comes in pieces, put together as if it had come whole.

The pieces are read as bytes, a line at a time: server-sent events with JSON in them. A stream that
ends before its answer does is a failure worth another try, never an answer cut short.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from themis.adapters.failures import error_in_body
from themis.adapters.requests import ApiMode
from themis.core.errors import ProviderError

_TEXTS = ("arguments", "content", "input", "reasoning", "reasoning_content", "refusal", "text")
"""Fields of a piece of a message that go on where the last piece ended; others are said once."""
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")


async def read_stream(
    pieces: AsyncIterator[bytes],
    *,
    api_mode: ApiMode,
    endpoint: str,
    hide: Callable[[bytes], bytes],
) -> tuple[dict[str, Any], float | None]:
    """Return the whole answer as JSON data, and when its first token came.

    Args:
        pieces: the body's bytes as they come.
        api_mode: the API that was called.
        endpoint: its name, for messages.
        hide: hides secrets in an event's bytes.

    Returns:
        The data that the same answer has when it is not streamed, and ``time.perf_counter()`` at
        its first piece of text, reasoning or arguments; None where it had none.

    Raises:
        ProviderError: the stream ended early or told of an error.
    """
    answer: _ChatAnswer | _ResponsesAnswer = (
        _ChatAnswer() if api_mode == "chat_completions" else _ResponsesAnswer()
    )
    first: float | None = None
    try:
        async for raw in _events(pieces):
            if raw == b"[DONE]":
                answer.done = True
                continue
            if answer.add(_event(hide(raw), endpoint)) and first is None:
                first = time.perf_counter()
    except Exception:
        if not answer.done:  # a connection that breaks after the answer's end took nothing away
            raise
    whole = answer.whole()
    if whole is None:
        raise ProviderError(f"{endpoint} ended its stream before the answer's end", retryable=True)
    return whole, first


def _event(raw: bytes, endpoint: str) -> dict[str, Any]:
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        raise ProviderError(f"{endpoint} streamed something that is not JSON", retryable=True)
    if event.get("type") == "error" or event.get("error"):
        raise error_in_body(event.get("error") or event, endpoint=endpoint, streamed=True)
    return event


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event; comments and empty events are passed over."""
    rest = b""
    data: list[bytes] = []
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest[5:].strip())
    if data:
        yield b"\n".join(data)


class _ResponsesAnswer:
    """The Responses API sends the whole answer once more with its last event."""

    def __init__(self) -> None:
        self.done = False
        self._whole: dict[str, Any] | None = None
        self._items: dict[int, Any] = {}

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        kind = str(event.get("type", ""))
        if kind in _LAST_EVENTS and isinstance(event.get("response"), dict):
            self._whole = event["response"]
            self.done = True
        elif kind == "response.output_item.done":
            self._items[int(event.get("output_index") or 0)] = event.get("item")
        return kind.endswith(".delta") and bool(event.get("delta"))

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before it."""
        if self._whole is None or self._whole.get("output") or not self._items:
            return self._whole
        return {**self._whole, "output": [self._items[index] for index in sorted(self._items)]}


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
        """Return the answer; None where the stream ended before it."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        ended = all(choice.get("finish_reason") for choice in choices)
        if not choices or not (ended or self.done):
            return None
        for (index, name), texts in self._texts.items():
            self._choices[index]["message"][name] = "".join(texts)
        return {**self._head, "object": "chat.completion", "choices": choices}

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
                found = found or name == "tool_calls"
        return found


def _merge(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a piece of a message to what came of it so far."""
    for name, value in piece.items():
        known = whole.get(name)
        if isinstance(value, list):
            if not isinstance(known, list):
                known = whole[name] = []
            _merge_items(known, value)
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif name in _TEXTS and isinstance(value, str) and isinstance(known, str):
            whole[name] = known + value
        elif value is not None:
            whole[name] = value


def _merge_items(whole: list[Any], pieces: list[Any]) -> None:
    """Add pieces of a list: by their index where they have one, else at its end."""
    for piece in pieces:
        if not isinstance(piece, dict) or type(piece.get("index")) is not int:
            whole.append(piece)
            continue
        rest = {name: value for name, value in piece.items() if name != "index"}
        while len(whole) <= piece["index"]:
            whole.append({})
        _merge(whole[piece["index"]], rest)
