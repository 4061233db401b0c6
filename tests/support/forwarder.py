"""A forwarder between a client and a real model server, which remembers what passed through.

The server behind it is real, and so are its answers; what the forwarder adds is knowledge that no
client can falsify: which requests were made, what came back, and whether it was handed over whole.
One connection carries one request, so a client that dies takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import orjson

from themis.core.base import JSONObject

_PIECE = 65_536


@dataclass(slots=True)
class Passage:
    """One request and what became of it.

    Attributes:
        path: of the request.
        body: of the request, read as JSON.
        status: of the answer; None where none came.
        answer: the answer's bytes, headers included, as far as they came.
        whole: the server's answer came to its end, and the client was there for all of it.
    """

    path: str
    body: JSONObject
    status: int | None = None
    answer: bytes = b""
    whole: bool = False

    def streamed(self) -> list[JSONObject]:
        """Return the server-sent events of the answer, in order, each read as JSON."""
        head, _, rest = self.answer.partition(b"\r\n\r\n")
        body = _unchunked(rest) if b"chunked" in head.lower() else rest
        lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
        return [orjson.loads(line) for line in lines if line != b"[DONE]"]


@dataclass
class Forwarder:
    """Forwards from an address of its own to ``upstream``, a base URL.

    Attributes:
        upstream: where requests go on to.
        patience: seconds for which a server that does not listen yet is tried.
        on_answer: called, on the forwarder's thread, after each answer that was handed over whole.
        passages: every request, in order of arrival.
    """

    upstream: str
    patience: float = 0.0
    on_answer: Callable[[int], None] | None = None
    passages: list[Passage] = field(default_factory=list)
    url: str = ""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop
        ).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{urlsplit(self.upstream).path}"
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def answered(self) -> list[Passage]:
        """The requests that were answered whole and well."""
        return [one for one in self.passages if one.whole and one.status == 200]

    async def _close(self) -> None:
        self._server.close()
        for task in (open_now := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that leaves takes the only other reference to the task with it.
        task = asyncio.get_running_loop().create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
            headers = [line for line in lines if not line.lower().startswith("connection:")]
            lengths = [line for line in lines if line.lower().startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
            passage = Passage(path=first.split()[1], body=orjson.loads(body or b"{}"))
            self.passages.append(passage)
            again = "\r\n".join([first, *headers, "Connection: close", "", ""]).encode("latin-1")
            await self._pass_on(again + body, passage, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client or the server has gone; the passage says how far it came
        finally:
            writer.close()

    async def _pass_on(
        self,
        request: bytes,
        passage: Passage,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        source, target = await self._connected()
        try:
            target.write(request)
            await target.drain()
            while piece := await source.read(_PIECE):
                passage.answer += piece
                passage.status = int(passage.answer.split(maxsplit=2)[1])
                if reader.at_eof():
                    return  # the client left before it had this
                writer.write(piece)
                await writer.drain()
        finally:
            target.close()
        passage.whole = passage.status is not None
        if passage.whole and self.on_answer is not None:
            self.on_answer(len(self.answered))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = urlsplit(self.upstream)
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return await asyncio.open_connection(place.hostname, place.port)
            except OSError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.005)


def _unchunked(body: bytes) -> bytes:
    """Return a body without the framing of chunks (RFC 9112, section 7.1)."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        whole += body[:length]
        body = body[length + 2 :]
    return whole
