"""Through ``openai(...)`` to an endpoint on loopback, against a bare loop over the same SDK.

    python -m benchmarks.sdk bare|themis CALLS PATH

The bare loop asks with the SDK's own client, so many at once, and keeps the same bytes: request,
raw response and headers of each call, with the rows that the floor keeps. The endpoint runs in a
process of its own and takes its time over each answer, so that both are busy and neither saturates.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.floor import Sink, bytes_written, size_of
from benchmarks.trivial import warm_up
from tests.support.endpoint import Endpoint
from themis import Experiment
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset

_IN_FLIGHT = 32
_DELAY = 0.25
"""Seconds an answer takes: 128 calls a second in all, which one core bears."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Start the endpoint in a process of its own and return its address."""
    served = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sdk", "serve"],
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


async def bare(url: str, calls: int, path: str) -> None:
    """Ask so often, and keep what was sent and what came back."""
    from openai import AsyncOpenAI

    sink = Sink(path)
    gate = asyncio.Semaphore(_IN_FLIGHT)
    async with AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:

        async def one(index: int) -> None:
            question = f"question {index}"
            body: Any = {"model": "scripted", "messages": [{"role": "user", "content": question}]}
            async with gate:
                began = time.perf_counter()
                got = await client.chat.completions.with_raw_response.create(**body)
                answer = got.parse().choices[0].message.content
                artifacts = {
                    "request": body,
                    "raw_response": json.loads(got.content),
                    "response_headers": dict(got.headers),
                    "provider_request_id": got.headers.get("x-request-id"),
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


def themis(url: str, calls: int, path: str) -> None:
    """Run an experiment of so many cases."""
    generator = openai("scripted", base_url=url, api_key="key", api_mode="chat_completions")
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
    if sys.argv[1] == "serve":
        serve()
        return
    calls, path = int(sys.argv[2]), sys.argv[3]
    warm_up()
    with endpoint() as url:
        for n, target in ((40, f"{path}.warm-up"), (calls, path)):  # the first loads the SDK
            written, cpu, wall = bytes_written(), time.process_time(), time.perf_counter()
            if sys.argv[1] == "bare":
                asyncio.run(bare(url, n, target))
            else:
                themis(url, n, target)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            written = bytes_written() - written
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "written": written, "bytes": size_of(path)}))


if __name__ == "__main__":
    main()
