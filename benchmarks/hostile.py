"""Endpoints that lie or stall, over a real socket: how each run ends, and the memory that it takes.

    python -m benchmarks.hostile

Each mode is a server on loopback that answers every request alike, asked for two cases. An answer
may have 4 MiB here. Printed are the outcome and by how much the process grew at its peak (Linux);
what fits into memory that the process had freed before is not seen in it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from themis import InMemoryRunStore, evaluate
from themis.adapters import openai
from themis.core.config import RuntimeConfig
from themis.core.errors import ThemisError
from themis.core.shown_text import shown_line

MOST = 4 * 2**20
_ZEROS = b"0" * (256 * 2**20)
_USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


def _chat(usage: object = _USAGE, **message: object) -> bytes:
    said = {"role": "assistant", "content": "4", **message}
    choices = [{"index": 0, "finish_reason": "stop", "message": said}]
    return json.dumps({"id": "x", "choices": choices, "usage": usage}).encode()


def _answer(body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def _with(place: bytes) -> bytes:
    return _answer(_chat()[:-1] + b', "odd": ' + place + b"}")


def _asked_to_wait(name: str, said: str) -> bytes:
    return _answer(b"{}", f"{name}: {said}", status="429 Too Many Requests")


def _used(prompt: object, output: object) -> bytes:
    return _answer(_chat({"prompt_tokens": prompt, "completion_tokens": output}))


_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
_STREAM = "Content-Type: text/event-stream"
MODES: dict[str, bytes] = {
    "retry-after 999999999": _asked_to_wait("Retry-After", "999999999"),
    "retry-after of 400 digits": _asked_to_wait("Retry-After", "9" * 400),
    "retry-after in 9999": _asked_to_wait("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
    "retry-after below zero": _asked_to_wait("Retry-After", "-5"),
    "retry-after NaN": _asked_to_wait("Retry-After", "NaN"),
    "reset in a good answer": _answer(
        _chat(), "x-ratelimit-remaining: 0", "x-ratelimit-reset: 99999999h"
    ),
    "usage of 0": _used(0, 0),
    "usage below zero": _used(-1, -1),
    "usage of 1e308": _used(1e308, 1),
    "usage of a bool": _used(True, True),
    "usage of text": _used("many", "2"),
    "usage of halves": _used(1.5, 2.5),
    "usage of 2**52": _used(2**52, 2),
    "cookies": _answer(_chat(), "Set-Cookie: a=b; Path=/", "Set-Cookie: c=d"),
    "body of 256 MiB": _answer(_ZEROS),
    "length of an exabyte": _answer(_chat(), "Content-Length: 1000000000000000000", length=False),
    "gzip bomb": _answer(gzip.compress(_ZEROS), "Content-Encoding: gzip"),
    "deflate bomb": _answer(zlib.compress(_ZEROS), "Content-Encoding: deflate"),
    "gzip within gzip": _answer(gzip.compress(gzip.compress(_ZEROS)), "Content-Encoding: gzip"),
    "gzip that is none": _answer(_chat(), "Content-Encoding: gzip"),
    "header of 1 MiB": _answer(_chat(), "x-long: " + "a" * 2**20),
    "headers, 100,000": _answer(_chat(), *(f"x-{n}: a" for n in range(100_000))),
    "rate limit header of 60 KB": _answer(_chat(), "ratelimit: " + "a" * 60_000),
    "status line without end": b"HTTP/1.1 200 " + b"a" * 2**22,
    "no HTTP": b"\x16\x03\x01" * 1000,
    "empty": _answer(b""),
    "surrogate": _with(b'"\\ud800"'),
    "integer of 100,000 digits": _with(b"9" * 100_000),
    "depth 900": _with(b"[" * 900 + b"]" * 900),
    "depth 100,000": _with(b"[" * 100_000 + b"]" * 100_000),
    "fields twice": _with(b'1, "odd": 2'),
    "NaN": _with(b"NaN"),
    "a million brackets, open": _answer(b"[" * 1_000_000),
    "page of scripts": _answer(b"<html>" + b"<script" * 300_000, status="502 Bad Gateway"),
    "escape sequences": _answer(
        b'{"error": {"message": "\\u001b]52;c;aa\\u0007"}}', status="400 No"
    ),
    "events without end": _answer(_EVENT * 200_000, _STREAM),
    "comments without end": _answer(b": ping\n\n" * 1_000_000, _STREAM),
    "one line without end": _answer(b"data: " + b"a" * 2**24, _STREAM),
    "blanks without end": _answer(b"\n" * 2**24, _STREAM),
    "redirect to itself": _answer(b"", "Location: /v1/chat/completions", status="307 Again"),
}
_STREAMED = ("events", "comments", "one line", "blanks")


@contextmanager
def serving(said: bytes, asked: list[bytes]) -> Iterator[str]:
    """Answer every request alike while the context lasts; its URL."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            for start in range(0, len(said), 2**16):
                writer.write(said[start : start + 2**16])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def peak_kib() -> int:
    """Return the peak of this process's memory since it was last reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def outcome(mode: str, url: str) -> str:
    """Return how a run of two cases ended, in one line."""
    generator = openai(
        "m",
        base_url=url,
        api_key="none",
        api_mode="chat_completions",
        sampling={"max_tokens": 16},
        stream=mode.startswith(_STREAMED),
        client_options={"max_bytes": MOST},
    )
    runtime = RuntimeConfig(
        max_concurrent_tasks=1,
        generation_timeout=20.0,
        generation_retry_attempts=1,
        budget={"tokens": 100_000},
    )
    data = [{"case_id": f"c{n}", "input": "2+2?", "expected_output": "4"} for n in range(2)]
    try:
        result = evaluate(
            model=generator,
            data=data,
            metric="builtin/exact_match",
            store=InMemoryRunStore(),
            runtime=runtime,
            progress=False,
        )
    except ThemisError as error:
        return f"stopped: {error}"
    failed = [one.message for case in result.cases for one in case.generation_failures]
    result.snapshot.model_dump_json()
    return f"{result.status.value}{': ' + failed[0] if failed else ''}"


def main() -> None:
    """Print a line for each mode."""
    logging.getLogger("themis").setLevel(logging.ERROR)
    with serving(_answer(_chat()), []) as url:
        outcome("warm up", url)
    for mode, said in MODES.items():
        asked: list[bytes] = []
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        before, began = peak_kib(), time.perf_counter()
        with serving(said, asked) as url:
            ended = outcome(mode, url)
        grown = (peak_kib() - before) / 1024
        carried = sum(b"\r\ncookie:" in one.lower() for one in asked)
        seconds = time.perf_counter() - began
        told = f"{mode:28} {grown:6.1f} MiB {seconds:5.1f} s {carried} cookies"
        print(f"{told}  {shown_line(ended)[:110]}", flush=True)


if __name__ == "__main__":
    main()
