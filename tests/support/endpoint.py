"""A model endpoint on loopback that misbehaves on demand and remembers what it was asked.

It is a real HTTP server on a thread and an event loop of its own, so that tests and benchmarks see
what a client really does: which requests arrive, when, how many at once, what they cost. It speaks
Chat Completions and Responses, and knows no model: an answer is what a script says, the question
itself by default.

    with Endpoint(lambda asked: error(500) if asked.nth == 1 else None) as endpoint:
        generator = openai("m", base_url=endpoint.url)

It keeps nothing on disk, speaks no TLS, and does nothing that HTTP/1.1 does not need here.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal, Self

import orjson

HeaderValue = str | Callable[[], str]
Count = Callable[[str], int]
_LIMIT_NAMES = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_PIECES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the endpoint does with one request.

    Attributes:
        status: of the answer.
        headers: beside content type and length; a function is called when the answer is sent.
        text: what the model says; None for what the endpoint's ``answer`` makes of the question.
        body: the answer's bytes, or JSON, in place of one that holds ``text``.
        content_type: of the answer.
        finish_reason: as Chat Completions call it.
        refusal: what the model says in place of an answer.
        fields: what is added to a good answer, or replaces parts of it.
        output_tokens: what the answer is counted as; None for what the text comes to.
        delay: seconds from request to answer, beside the endpoint's own.
        spread: seconds over which the body's bytes are spread.
        drop: the connection ends "before" the headers, or in the "middle" of the body.
        hang: nothing is ever answered.
        charged: whether the request costs tokens; None for what the status says: good ones do,
            whether or not the answer arrives.
    """

    status: int = 200
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    text: str | None = None
    body: Any = None
    content_type: str = "application/json"
    finish_reason: str = "stop"
    refusal: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    output_tokens: int | None = None
    delay: float = 0.0
    spread: float = 0.0
    drop: Literal["before", "middle"] | None = None
    hang: bool = False
    charged: bool | None = None


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request, and what became of it.

    Attributes:
        number: from 1, in order of arrival.
        at: arrival, in seconds of the monotonic clock.
        path: such as "/v1/chat/completions".
        headers: by their names in lower case.
        raw: the body as it came.
        body: the same, as JSON.
        nth: which request with just this body it is, from 1.
        together: requests under way when it came, itself included.
        reply: what it was answered with.
        prompt_tokens: of the request, as the endpoint counts.
        charged: tokens it cost.
        delivered: whether the whole answer was handed to the network.
        done_at: when it was no longer under way; None while it is.
    """

    number: int
    at: float
    path: str
    headers: dict[str, str]
    raw: bytes
    body: Any
    nth: int
    together: int
    reply: Reply = Reply()
    prompt_tokens: int = 0
    charged: int = 0
    delivered: bool = False
    done_at: float | None = None

    @property
    def question(self) -> str:
        """The last message's text, or the input's."""
        content = self.body.get("input", "") if "input" in self.body else self.body.get("messages")
        if isinstance(content, list):
            content = content[-1]["content"] if content else ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        return content if isinstance(content, str) else ""

    @property
    def cap(self) -> int | None:
        """The most output tokens that were asked for."""
        return next((self.body[name] for name in _LIMIT_NAMES if name in self.body), None)

    @property
    def is_chat(self) -> bool:
        """Whether Chat Completions were called."""
        return self.path.endswith("/chat/completions")


Script = Callable[[Asked], Reply | None] | Sequence[Reply | None]


def about_a_quarter(text: str) -> int:
    """Return a token for every four characters, as English text has about."""
    return math.ceil(len(text) / 4)


def one_a_byte(text: str) -> int:
    """Return a token for every byte: the most that a byte-level tokenizer can make of a text."""
    return len(text.encode())


# ── what may go wrong ─────────────────────────────────────────────────────────────────────────────


def error(status: int, message: str = "", *, code: str | None = None, **headers: Any) -> Reply:
    """Return an error as OpenAI words it; ``retry_after="2"`` is the header Retry-After."""
    said = {"message": message or f"scripted {status}", "type": "scripted", "code": code}
    return Reply(status=status, body={"error": said}, headers=_named(headers))


def busy(seconds: float | None = None, *, form: str = "seconds", status: int = 429) -> Reply:
    """Return a refusal for being busy.

    Args:
        seconds: that it asks to wait; None to say nothing of it.
        form: in which header: "seconds", "date" or "milliseconds" of Retry-After; or the reset of
            a spent limit in "x-ratelimit" or "ratelimit" headers.
        status: 429 or 503.
    """
    refusal = error(status, "too many requests", code="rate_limit_exceeded")
    return refusal if seconds is None else replace(refusal, headers=wait_headers(seconds, form))


def wait_headers(seconds: float, form: str) -> dict[str, HeaderValue]:
    """Return the headers that ask for a wait, in the form named."""
    forms: dict[str, dict[str, HeaderValue]] = {
        "seconds": {"retry-after": f"{seconds:g}"},
        # A date has whole seconds: rounded up, so that waiting until then is waiting enough.
        "date": {"retry-after": lambda: formatdate(math.ceil(time.time() + seconds), usegmt=True)},
        "milliseconds": {"retry-after-ms": f"{seconds * 1000:g}"},
        "x-ratelimit": {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": f"{seconds * 1000:g}ms",
        },
        "ratelimit": {
            "ratelimit-limit": "60",
            "ratelimit-remaining": "0",
            "ratelimit-reset": f"{seconds:g}",
        },
    }
    return forms[form]


def dropped(where: Literal["before", "middle"]) -> Reply:
    """Return a connection that ends before the headers, or in the middle of the body."""
    return Reply(drop=where)


def malformed() -> Reply:
    """Return a good answer's beginning, and no more."""
    return Reply(body=b'{"id": "cut", "choices": [{"index": 0, "mess')


def wrong_content_type() -> Reply:
    """Return a page such as a proxy shows, with status 200."""
    return Reply(body=b"<html><body>Sign in</body></html>", content_type="text/html")


def empty_choices() -> Reply:
    """Return an answer with no place for an answer, in either API."""
    return Reply(fields={"choices": [], "output": None})


def hang() -> Reply:
    """Return nothing, ever; the tokens are charged all the same."""
    return Reply(hang=True)


def _named(headers: Mapping[str, Any]) -> dict[str, HeaderValue]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# ── the endpoint ──────────────────────────────────────────────────────────────────────────────────


class Endpoint:
    """The server, from ``with`` to its end.

    Args:
        script: what it does: a function of the request, or a list with an entry a request; None,
            or the list's end, stands for a good answer.
        answer: the good answer's text; the question by default.
        delay: seconds that a good answer takes.
        capacity: good answers under way at once; beyond it ``full`` is answered, at once.
        full: what a request beyond the capacity gets.
        models: names of the models that it knows; None for any.
        key: the API key that it wants; None for any.
        count: counts the tokens of a text.
        headers: on every good answer.
        port: where it listens; 0 for any that is free.

    Attributes:
        url: base address, to be given as ``base_url``.
        requests: all that arrived, in order.
        peak: most requests that were under way at once.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        answer: Callable[[Asked], str] | None = None,
        delay: float = 0.0,
        capacity: int | None = None,
        full: Reply | None = None,
        models: Sequence[str] | None = None,
        key: str | None = None,
        count: Count = about_a_quarter,
        headers: Mapping[str, HeaderValue] | None = None,
        port: int = 0,
    ) -> None:
        self.script = script
        self.answer = answer or (lambda asked: asked.question)
        self.delay = delay
        self.capacity = capacity
        self.full = full or busy()
        self.models = models
        self.key = key
        self.count = count
        self.headers = dict(headers or {})
        self.port = port
        self.url = ""
        self.requests: list[Asked] = []
        self.peak = 0
        self.in_flight = 0
        self.served = 0
        """Good answers under way."""
        self._seen: Counter[bytes] = Counter()
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._on_loop(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and listen no more; what it saw stays to be read."""
        if self._loop.is_closed():
            return
        self._on_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_until_left(self) -> None:
        """Wait until every client has gone and all that it sent was read."""
        idle = 0
        while idle < 5:
            time.sleep(0.01)
            idle = 0 if self._connections else idle + 1

    # ── what it saw ───────────────────────────────────────────────────────────────────────────────

    @property
    def tokens(self) -> int:
        """Tokens charged so far, for answers that nobody waited for too."""
        return sum(asked.charged for asked in self.requests)

    def statuses(self) -> Counter[int]:
        """Return how many requests got which status; 0 where the connection ended or hung."""
        return Counter(
            0 if asked.reply.drop == "before" or asked.reply.hang else asked.reply.status
            for asked in self.requests
        )

    def by_question(self) -> Counter[str]:
        """Return how many requests each question came to."""
        return Counter(asked.question for asked in self.requests)

    def starts(self) -> list[float]:
        """Return the seconds from the first request to each."""
        return [asked.at - self.requests[0].at for asked in self.requests]

    # ── the server's own thread ───────────────────────────────────────────────────────────────────

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> Asked:
        """Note a request down and decide what becomes of it."""
        self._seen[raw] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            body = {}
        asked = Asked(
            number=len(self.requests) + 1,
            at=time.monotonic(),
            path=path,
            headers=headers,
            raw=raw,
            body=body if isinstance(body, dict) else {},
            nth=self._seen[raw],
            together=self.in_flight,
        )
        asked.prompt_tokens = self._prompt_tokens(asked)
        asked.reply = self._decide(asked)
        charged = asked.reply.charged
        if asked.reply.status == 200 if charged is None else charged:
            asked.charged = asked.prompt_tokens + self.output_tokens(asked)
        self.requests.append(asked)
        return asked

    def finish(self, asked: Asked) -> None:
        """Note that a request is no longer under way."""
        if asked.done_at is None:
            asked.done_at = time.monotonic()
            self.in_flight -= 1
            self.served -= asked.reply.status == 200

    def text_of(self, asked: Asked) -> str:
        """Return what the model says to a request, as long as it was allowed to be."""
        said = asked.reply.text if asked.reply.text is not None else self.answer(asked)
        if asked.cap is not None:
            while self.count(said) > asked.cap:
                said = said[: len(said) * 9 // 10]
        return said

    def output_tokens(self, asked: Asked) -> int:
        """Return the answer's tokens; a model never says more than it was allowed to."""
        reply = asked.reply
        found = reply.output_tokens
        if found is None:
            found = self.count(reply.refusal or self.text_of(asked))
        return found if asked.cap is None else min(found, asked.cap)

    def _prompt_tokens(self, asked: Asked) -> int:
        """Return the prompt's tokens: its texts, four for a message, three for the answer's start.

        These are the figures that OpenAI gives for its chat format.
        """
        content = asked.body.get("input", asked.body.get("messages", []))
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        if asked.body.get("instructions"):
            messages = [{"role": "system", "content": asked.body["instructions"]}, *messages]
        total = 3
        for message in messages:
            said = message.get("content") or ""
            if isinstance(said, list):
                said = "".join(str(part.get("text", "")) for part in said)
            total += 4 + self.count(said)
        return total

    def _decide(self, asked: Asked) -> Reply:
        if self.key is not None and asked.headers.get("authorization") != f"Bearer {self.key}":
            return error(401, "Incorrect API key provided", code="invalid_api_key")
        if self.models is not None and asked.body.get("model") not in self.models:
            said = f"The model '{asked.body.get('model')}' does not exist"
            return error(404, said, code="model_not_found")
        reply: Reply | None = None
        if callable(self.script):
            reply = self.script(asked)
        elif self.script is not None and len(self.requests) < len(self.script):
            reply = self.script[len(self.requests)]
        if reply is None:
            reply = Reply(delay=self.delay)
        if reply.status == 200:
            if self.capacity is not None and self.served >= self.capacity:
                return self.full
            self.served += 1
        return reply

    async def _open(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Connection(self, self._connections), "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [one.task for one in self._connections if one.task is not None]
        for connection in list(self._connections):
            connection.end()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


class _Connection(asyncio.Protocol):
    """One client's connection: one request after the other."""

    def __init__(self, endpoint: Endpoint, others: set[_Connection]) -> None:
        self._endpoint = endpoint
        self._others = others
        self._buffer = bytearray()
        self._transport: Any = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.task is None:
            self._next()

    def end(self) -> None:
        """End the connection, whatever is under way."""
        self._transport.abort()
        if self.task is not None:
            self.task.cancel()

    def _next(self) -> None:
        """Begin to answer a request, if there is a whole one."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        size = int(headers.get("content-length", 0))
        if len(self._buffer) < end + 4 + size:
            return
        raw = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        asked = self._endpoint.take(first.split(" ")[1], headers, raw)
        self.task = asyncio.get_running_loop().create_task(self._serve(asked))

    async def _serve(self, asked: Asked) -> None:
        endpoint = self._endpoint
        try:
            if asked.reply.delay:
                await asyncio.sleep(asked.reply.delay)
            if asked.reply.hang:
                await asyncio.Event().wait()
            if asked.reply.drop == "before":
                endpoint.finish(asked)
                self._transport.abort()
            else:
                await self._send(asked)
        except asyncio.CancelledError:
            return  # the client has gone, or the endpoint closes
        finally:
            endpoint.finish(asked)
            self.task = None
        if asked.headers.get("connection", "").lower() == "close":
            self._transport.close()
        elif self._buffer:
            self._next()

    async def _send(self, asked: Asked) -> None:
        reply, endpoint = asked.reply, self._endpoint
        body, content_type = _body(asked, endpoint), reply.content_type
        if asked.body.get("stream") and reply.status == 200 and reply.body is None:
            content_type = "text/event-stream"
        common = dict(endpoint.headers) if reply.status == 200 else {}
        if asked.headers.get("connection", "").lower() == "close":
            common["connection"] = "close"
        head = _head(reply, common, content_type, body)
        if reply.drop == "middle":
            self._transport.write(head + body[: len(body) // 2])
            endpoint.finish(asked)
            self._transport.abort()
            return
        if reply.spread:
            self._transport.write(head)
            size = max(1, math.ceil(len(body) / _PIECES))
            for start in range(0, len(body), size):
                await asyncio.sleep(reply.spread / _PIECES)
                self._transport.write(body[start : start + size])
            asked.delivered = not self._transport.is_closing()
            return
        # Before the bytes leave: the client may act on them before this thread goes on.
        asked.delivered = not self._transport.is_closing()
        endpoint.finish(asked)
        self._transport.write(head + body)


# ── answers as OpenAI shapes them ─────────────────────────────────────────────────────────────────


def _head(reply: Reply, common: Mapping[str, HeaderValue], content_type: str, body: bytes) -> bytes:
    known = reply.status in HTTPStatus.__members__.values()
    phrase = HTTPStatus(reply.status).phrase if known else "Unassigned"
    lines = [
        f"HTTP/1.1 {reply.status} {phrase}",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
    ]
    for name, value in {**common, **reply.headers}.items():
        lines.append(f"{name}: {value() if callable(value) else value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _body(asked: Asked, endpoint: Endpoint) -> bytes:
    reply = asked.reply
    if isinstance(reply.body, bytes):
        return reply.body
    if reply.body is not None:
        return orjson.dumps(reply.body)
    text = reply.refusal or endpoint.text_of(asked)
    whole = reply.text if reply.text is not None else endpoint.answer(asked)
    cut = reply.refusal is None and len(text) < len(whole)
    reason = "length" if cut else reply.finish_reason
    spent = (asked.prompt_tokens, endpoint.output_tokens(asked))
    shape = _chat if asked.is_chat else _responses
    data = {**shape(asked, text, reason, spent), **reply.fields}
    if not asked.body.get("stream"):
        return orjson.dumps(data)
    return (_chat_stream if asked.is_chat else _responses_stream)(asked, data, text)


def _chat(asked: Asked, text: str, reason: str, spent: tuple[int, int]) -> dict[str, Any]:
    refusal = asked.reply.refusal
    message = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
    return {
        "id": f"chatcmpl-{asked.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": spent[0],
            "completion_tokens": spent[1],
            "total_tokens": sum(spent),
        },
    }


def _responses(asked: Asked, text: str, reason: str, spent: tuple[int, int]) -> dict[str, Any]:
    part = (
        {"type": "refusal", "refusal": text}
        if asked.reply.refusal
        else {"type": "output_text", "text": text, "annotations": []}
    )
    short = reason == "length"
    return {
        "id": f"resp_{asked.number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if short else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if short else None,
        "model": asked.body.get("model"),
        "output": [
            {
                "id": f"msg_{asked.number}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        ],
        "usage": {
            "input_tokens": spent[0],
            "output_tokens": spent[1],
            "total_tokens": sum(spent),
        },
    }


def _chat_stream(asked: Asked, data: dict[str, Any], text: str) -> bytes:
    common = {
        **{name: data[name] for name in ("id", "created", "model")},
        "object": "chat.completion.chunk",
    }
    chunks: list[dict[str, Any]] = []
    if data["choices"]:
        word = "refusal" if asked.reply.refusal else "content"
        deltas = [{word: piece} for piece in _pieces(text)]
        deltas[0]["role"] = "assistant"
        reason = data["choices"][0]["finish_reason"]
        for delta, ended in [*((delta, None) for delta in deltas), ({}, reason)]:
            choice = {"index": 0, "delta": delta, "finish_reason": ended}
            chunks.append({**common, "choices": [choice]})
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**common, "choices": [], "usage": data["usage"]})
    said = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)
    return said + b"data: [DONE]\n\n"


def _responses_stream(asked: Asked, data: dict[str, Any], text: str) -> bytes:
    started = {**data, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": f"msg_{asked.number}", "output_index": 0, "content_index": 0}
    kind = "refusal" if asked.reply.refusal else "output_text"
    events: list[dict[str, Any]] = [{"type": "response.created", "response": started}]
    events += [
        {"type": f"response.{kind}.delta", **place, "delta": piece} for piece in _pieces(text)
    ]
    events.append({"type": f"response.{data['status']}", "response": data})
    lines = []
    for number, event in enumerate(events):
        said = orjson.dumps({**event, "sequence_number": number})
        lines.append(f"event: {event['type']}\ndata: ".encode() + said + b"\n\n")
    return b"".join(lines)


def _pieces(text: str) -> list[str]:
    size = max(1, math.ceil(len(text) / _PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]
