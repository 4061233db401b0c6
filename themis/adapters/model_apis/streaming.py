"""An answer that comes in pieces, put together as if it had come whole.

The pieces are read as bytes, a line at a time: server-sent events with JSON in them, up to the
event that ends the answer; what a server sends after it is nobody's. A stream that ends before its
answer does is a failure worth another try, never an answer cut short. A server that was asked for a
stream and answers whole, whatever type it says that has, is read as it answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

from themis.adapters.model_apis.answers import decoded_answer
from themis.adapters.model_apis.api import Api, PiecedAnswer
from themis.adapters.transport.endpoint_errors import error_in_body
from themis.adapters.transport.http_client import AnswerTooLargeError
from themis.adapters.transport.lenient_json import mended, read_piece
from themis.core.errors import ProviderError

_BOM = b"\xef\xbb\xbf"
_BLANK = _BOM + b" \t\r\n"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
"""How a line of server-sent events may begin."""
_SIGNS_OF_LIFE = (b"heartbeat", b"keep-alive", b"keepalive", b"ping")
MOST_EVENTS = 2**20
"""The most events of one answer: more than any model has tokens to say."""
_DRAIN_SECONDS = 0.25
"""How long the end of a stream is waited for after its last event, to use its connection again."""


async def read_pieces(
    pieces: AsyncIterator[bytes],
    *,
    api: Api,
    endpoint: str,
    hide: Callable[[bytes], bytes],
) -> tuple[dict[str, Any], float | None, float]:
    """Return what ``read_stream`` does, and when the answer was whole; then read to the end.

    A connection serves again only when all of its answer was read. Some servers hold it open after
    the last event: then it is given up.
    """
    data, first = await read_stream(pieces, api=api, endpoint=endpoint, hide=hide)
    ended = time.perf_counter()
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
    return data, first, ended


async def read_stream(
    pieces: AsyncIterator[bytes],
    *,
    api: Api,
    endpoint: str,
    hide: Callable[[bytes], bytes],
) -> tuple[dict[str, Any], float | None]:
    """Return the whole answer as JSON data, and when its first token came.

    Args:
        pieces: the body's bytes as they come; read no further than the answer's end.
        api: the API that was called.
        endpoint: its name, for messages.
        hide: hides secrets in an event's bytes.

    Returns:
        The data that the same answer has when it is not streamed, and ``time.perf_counter()`` at
        its first piece of text, reasoning or arguments; None where it had none.

    Raises:
        ProviderError: the stream ended early, told of an error, or was no such answer.
    """
    started = await _beginning(pieces)
    head = started.lstrip(_BLANK)
    if head and not any(field.startswith(head[: len(field)]) for field in _FIELDS):
        rest = [piece async for piece in pieces]
        return decoded_answer(hide(b"".join([started, *rest])), endpoint=endpoint, status=200), None
    answer = api.pieces()
    first: float | None = None
    cut = False
    async with aclosing(_events(started.removeprefix(_BOM), pieces)) as events:
        n_events = 0
        async for name, raw in events:
            n_events += 1
            if n_events > MOST_EVENTS:
                raise AnswerTooLargeError(
                    f"{endpoint} streamed more than {MOST_EVENTS:,} events", retryable=False
                )
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
    """Return the first piece that is not blank."""
    async for piece in pieces:
        if piece.strip(_BLANK):
            return piece
    return b""


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


def _added(answer: PiecedAnswer, event: dict[str, Any], endpoint: str) -> bool:
    try:
        return answer.add(event)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ProviderError(
            f"{endpoint} streamed something that is no piece of an answer", retryable=True
        ) from None


async def _events(
    started: bytes, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[tuple[bytes, bytes], None]:
    """Yield the name and data of each server-sent event; comments and events without are not.

    A line ends with LF, CR or both.
    """
    name = b""
    rest: list[bytes] = []  # of a line whose end has not come: it may come in any number of pieces
    data: list[bytes] = []
    after_cr = False
    piece: bytes | None = started
    while piece is not None:
        if after_cr:
            piece = piece.removeprefix(b"\n")
        after_cr = piece.endswith(b"\r") or (after_cr and not piece)
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, last = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*rest, lines[0]])
            rest = []
        rest.append(last)
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
    line = b"".join(rest)
    if line.startswith(b"data:"):
        data.append(line[5:].strip())
    if data:
        yield name, b"\n".join(data)
