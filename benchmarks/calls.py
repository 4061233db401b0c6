"""Calls through ``openai(...)`` to an endpoint on loopback, against bare loops that keep the same.

    python -m benchmarks.calls bare|sdk|themis CALLS PATH [responses|chat_completions] [stream]

The bare loop is on the HTTP library that Themis uses too, "sdk" on OpenAI's own client. Both ask so
many at once, and keep the same bytes: request, raw answer and headers of each call, with the rows
that the floor keeps. The endpoint runs in a process of its own and takes its time over each answer,
so that both are busy.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from benchmarks.floor import Sink, bytes_written, size_of
from benchmarks.trivial import warm_up
from tests.support.endpoint import Endpoint
from themis import Experiment
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset

_IN_FLIGHT = 64
_DELAY = 0.02
"""Seconds an answer takes."""
_PATHS = {"responses": "/responses", "chat_completions": "/chat/completions"}

Asking = Callable[[dict[str, Any]], Awaitable[tuple[Any, dict[str, str], str]]]
"""Sends a body; returns the raw answer, its headers and what it says."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Start the endpoint in a process of its own and return its address."""
    served = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.calls", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
    finally:
        served.communicate()  # it ends with its standard input


def serve() -> None:
    """Serve until standard input ends."""
    with Endpoint(delay=_DELAY) as served:
        print(served.url, flush=True)
        sys.stdin.read()


def body_of(question: str, api_mode: str, stream: bool) -> dict[str, Any]:
    """Return the request that Themis sends for a question."""
    body: dict[str, Any] = {"model": "scripted"}
    if api_mode == "responses":
        body["input"] = question
    else:
        body["messages"] = [{"role": "user", "content": question}]
    if stream:
        body["stream"] = True
        if api_mode == "chat_completions":
            body["stream_options"] = {"include_usage": True}
    return body


@asynccontextmanager
async def over_http(url: str, api_mode: str, stream: bool) -> AsyncIterator[Asking]:
    """Ask with the HTTP library alone."""
    import aiohttp

    address = url + _PATHS[api_mode]
    headers = {"authorization": "Bearer key", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(body: dict[str, Any]) -> tuple[Any, dict[str, str], str]:
            async with session.post(address, data=orjson.dumps(body)) as response:
                content = await response.read()
            if stream:
                events = [
                    orjson.loads(line[6:])
                    for line in content.split(b"\n")
                    if line.startswith(b"data: {")
                ]
                return (
                    events,
                    {str(name): value for name, value in response.headers.items()},
                    streamed_text(events, api_mode),
                )
            answer = orjson.loads(content)
            return (
                answer,
                {str(name): value for name, value in response.headers.items()},
                whole_text(answer, api_mode),
            )

        yield ask


@asynccontextmanager
async def over_the_sdk(url: str, api_mode: str, stream: bool) -> AsyncIterator[Asking]:
    """Ask with OpenAI's client, whole answers only."""
    from openai import AsyncOpenAI

    assert not stream
    async with AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:
        resource: Any = client.responses if api_mode == "responses" else client.chat.completions

        async def ask(body: dict[str, Any]) -> tuple[Any, dict[str, str], str]:
            got = await resource.with_raw_response.create(**body)
            parsed = got.parse()
            said = (
                parsed.output_text if api_mode == "responses" else parsed.choices[0].message.content
            )
            return json.loads(got.content), dict(got.headers), said

        yield ask


def whole_text(answer: Any, api_mode: str) -> str:
    """Return what a whole answer says."""
    if api_mode == "responses":
        return str(answer["output"][-1]["content"][0]["text"])
    return str(answer["choices"][0]["message"]["content"])


def streamed_text(events: list[Any], api_mode: str) -> str:
    """Return what a streamed answer says."""
    if api_mode == "responses":
        pieces = [one["delta"] for one in events if one["type"] == "response.output_text.delta"]
    else:
        deltas = [one["choices"][0]["delta"] for one in events if one["choices"]]
        pieces = [delta.get("content") or "" for delta in deltas]
    return "".join(pieces)


async def bare(url: str, calls: int, path: str, asking: Any, api_mode: str, stream: bool) -> None:
    """Ask so often, and keep what was sent and what came back."""
    sink = Sink(path)
    gate = asyncio.Semaphore(_IN_FLIGHT)
    async with asking(url, api_mode, stream) as ask:

        async def one(index: int) -> None:
            question = f"question {index}"
            body = body_of(question, api_mode, stream)
            async with gate:
                began = time.perf_counter()
                raw, headers, answer = await ask(body)
                assert answer == question
                artifacts = {
                    "request": body,
                    "raw_response": raw,
                    "response_headers": headers,
                    "provider_request_id": headers.get("x-request-id"),
                }
                sink.case(index, {"input": question, "expected_output": question})
                latency = (time.perf_counter() - began) * 1000
                sink.step(
                    index,
                    {
                        "candidate_id": f"c{index}",
                        "final_output": answer,
                        "artifacts": artifacts,
                        "latency_ms": latency,
                    },
                )
                sink.step(index, {"value": int(answer == question)})
                sink.end(index)

        await asyncio.gather(*(one(index) for index in range(calls)))
    sink.close()


def themis(url: str, calls: int, path: str, api_mode: str, stream: bool) -> None:
    """Run an experiment of so many cases."""
    generator = openai("scripted", base_url=url, api_key="key", api_mode=api_mode, stream=stream)
    data = [
        Case(case_id=f"c{n}", input=f"question {n}", expected_output=f"question {n}")
        for n in range(calls)
    ]
    made = Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(metrics=["builtin/exact_match"]),
        storage=StorageConfig(store="sqlite", parameters={"path": path}),
        runtime=RuntimeConfig(max_concurrent_tasks=_IN_FLIGHT),
        datasets=[Dataset(dataset_id="questions", cases=data)],
    )
    result = made.run(progress=False)
    assert result.metrics["builtin/exact_match"].n_scored == calls
    made.store.close()


def main() -> None:
    """Run and print the figures as JSON."""
    kind, *rest = sys.argv[1:]
    if kind == "serve":
        serve()
        return
    calls, path, *options = rest
    api_mode = next((one for one in options if one in _PATHS), "chat_completions")
    stream = "stream" in options
    warm_up()
    with endpoint() as url:
        for n, target in ((80, f"{path}.warm-up"), (int(calls), path)):  # the first loads libraries
            written, cpu, wall = bytes_written(), time.process_time(), time.perf_counter()
            if kind == "themis":
                themis(url, n, target, api_mode, stream)
            else:
                asking = over_http if kind == "bare" else over_the_sdk
                asyncio.run(bare(url, n, target, asking, api_mode, stream))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            written = bytes_written() - written
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "written": written, "bytes": size_of(path)}))


if __name__ == "__main__":
    main()
