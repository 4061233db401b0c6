"""A server that writes bytes as a script says, and breaks off as it says, on real sockets.

with serving(lambda raw: [answer(b"{}"), RESET]) as raw:
    openai("m", base_url=raw.url)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final


class Break:
    """A way to end a connection."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


END: Final = Break("END")
"""Ends it in order: what was written arrives, and then its end."""
RESET: Final = Break("RESET")
"""Ends it as a server does that crashes."""
HANG: Final = Break("HANG")
"""Says no more, and leaves it open until the client does not."""

_ENDS = (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError)

Step = bytes | float | Break
"""What is written, seconds that are waited, or an end."""


@dataclass
class Raw:
    """A running server, and what it saw."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    """Head and body of each."""


Script = Callable[[Raw], bytes | Sequence[Step]]
"""What is said to the request that came last; the connection is kept where nothing ends it."""


def answer(body: bytes = b"{}", *, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer with its length."""
    return head(status, content_length=str(len(body)), **headers) + body


def chunked(*pieces: bytes, **headers: str) -> list[bytes]:
    """Return an answer in chunks: its head, each chunk, and the end."""
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return [head(transfer_encoding="chunked", **headers), *chunks, b"0\r\n\r\n"]


def head(status: str = "200 OK", **headers: str) -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def serving(
    script: Script, *, idle: float | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Raw]:
    """Serve, in a thread of its own, until the block is left.

    Args:
        script: what is said to each request.
        idle: seconds after which a connection that asks nothing more is closed.
        tls: with which the connections are encrypted.
    """
    raw = Raw()
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        with contextlib.suppress(*_ENDS):
            while True:
                async with asyncio.timeout(idle):
                    asked = await reader.readuntil(b"\r\n\r\n")
                named = asked.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                raw.requests.append(asked + await reader.readexactly(int(named or 0)))
                said = script(raw)
                if not await _say([said] if isinstance(said, bytes) else said, reader, writer):
                    break
        writer.close()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server = asyncio.run_coroutine_threadsafe(started, loop).result(10)
    port = server.sockets[0].getsockname()[1]
    raw.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    try:
        yield raw
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _say(
    steps: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Do what a script says, and return whether the connection is kept."""
    for step in steps:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is HANG:
            await reader.read()
            return False
        else:
            if step is RESET:
                connected = writer.get_extra_info("socket")
                # What was written arrives before it: a reset overtakes what waits to be sent.
                await asyncio.sleep(0.01)
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif writer.get_extra_info("ssl_object") is not None:
                writer.close()
                await asyncio.sleep(0.01)
                writer.transport.abort()  # and does not wait for the other side's goodbye
            return False
    return True


async def _ended(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
