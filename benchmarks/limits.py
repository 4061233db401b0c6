"""Limits and pauses by the wall clock: what a real endpoint on loopback sees of a run.

Every figure is the endpoint's own: when requests arrived there, how many were open at once. The
runs go through ``openai(...)`` and a whole experiment with its default retries.

    python -m benchmarks.limits
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.support.endpoint import Asked, Endpoint, Reply, busy, hang
from themis import Experiment
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset

_FORMS = ("seconds", "date", "milliseconds", "x-ratelimit", "ratelimit")
_CALLS, _SECONDS, _CAPACITY = 400, 0.1, 12


class Finding(NamedTuple):
    """A figure, the bar it is held to, and whether it keeps to it."""

    what: str
    figure: str
    bar: str
    is_kept: bool

    def __str__(self) -> str:
        return f"{self.what}: {self.figure} (bar: {self.bar}) {'ok' if self.is_kept else 'NOT OK'}"


def made(endpoint: Endpoint, cases: int, **runtime: Any) -> Experiment:
    """Return the experiment that asks the endpoint once a case.

    Limits given by the name "endpoint" are those of the endpoint.
    """
    generator = openai(
        "scripted", base_url=endpoint.url, api_key="key", api_mode="chat_completions"
    )
    for name in ("provider_concurrency", "provider_rate_limits"):
        if name in runtime:
            runtime[name] = {generator.provider_key: runtime[name]["endpoint"]}
    data = [
        Case(case_id=f"c{n}", input=f"question {n}", expected_output=f"question {n}")
        for n in range(cases)
    ]
    return Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(metrics=["builtin/exact_match"]),
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(**runtime),
        datasets=[Dataset(dataset_id="questions", cases=data)],
    )


def run(endpoint: Endpoint, cases: int, **runtime: Any) -> float:
    """Ask the endpoint once a case, and return the seconds from its first request to the end."""
    result = made(endpoint, cases, **runtime).run(progress=False)
    ended = time.monotonic()
    assert result.metrics["builtin/exact_match"].n_scored == cases, result.status
    return ended - endpoint.requests[0].at


def warm_up() -> None:
    """Load the SDK and the engine, so that no figure holds their import."""
    with Endpoint() as endpoint:
        run(endpoint, 5)


def requests_a_minute() -> Iterator[Finding]:
    """40 calls under a limit of 120 requests a minute."""
    with Endpoint(delay=0.05) as endpoint:
        wall = run(endpoint, 40, provider_rate_limits={"endpoint": 120})
        starts = endpoint.starts()
    most = max(sum(at <= other < at + 1.0 for other in starts) for at in starts)
    yield Finding("120 a minute, starts in any second", str(most), "at most 3", most <= 3)
    kept = len(starts) == 40 and 18 <= wall <= 25
    yield Finding("120 a minute, 40 calls", f"{wall:.2f} s", "18 to 25 s", kept)


def configured_concurrency() -> Iterator[Finding]:
    """Ten calls for each that is allowed at once: enough to grow to it."""
    for cap in (1, 5, 24):
        with Endpoint(delay=0.2) as endpoint:
            run(endpoint, 10 * cap, provider_concurrency={"endpoint": cap})
        what = f"provider_concurrency {cap}, open at once"
        yield Finding(what, str(endpoint.peak), str(cap), endpoint.peak == cap)


def asked_to_wait() -> Iterator[Finding]:
    """One 429 that asks for two seconds, in each of the forms, with others in flight."""
    for form in _FORMS:

        def script(asked: Asked, form: str = form) -> Reply | None:
            return busy(2.0, form=form) if asked.number == 1 else None

        with Endpoint(script, delay=0.3) as endpoint:
            run(endpoint, 30)
            refused = endpoint.requests[0].done_at or 0.0
            # Those that were on their way before the answer arrived are no disobedience.
            later = [one.at - refused for one in endpoint.requests if one.at > refused + 0.2]
        waited = min(later)
        what = f"Retry-After of 2 s as {form}, next request after"
        yield Finding(what, f"{waited:.3f} s", "2 s or more", waited >= 2.0)


def hanging() -> Iterator[Finding]:
    """100 calls of which three hang, under a timeout of one second and a single try."""

    def script(asked: Asked) -> Reply | None:
        return hang() if asked.number in (7, 50, 99) else None

    with Endpoint(script) as endpoint:
        result = made(
            endpoint, 100, generation_timeout=1.0, generation_retry_attempts=1,
            max_concurrent_tasks=8,
        ).run(progress=False)  # fmt: skip
    errors = Counter(row.error_category for row in result.score_rows() if row.outcome == "error")
    scored = result.metrics["builtin/exact_match"].n_scored
    figure = f"{scored} scored, {errors['timeout']} timeouts, {result.status.value}"
    is_kept = (scored, errors) == (97, {"timeout": 3})
    yield Finding("3 of 100 hang, timeout 1 s", figure, "97 scored, 3 timeouts", is_kept)


def adaptive() -> Iterator[Finding]:
    """400 calls of 100 ms at an endpoint that answers 429 beyond 12 at once.

    The quickest of three runs is the least disturbed one.
    """
    wall, requests = min((_adaptive() for _ in range(3)), key=lambda run: run[0])
    ideal = _CALLS / _CAPACITY * _SECONDS
    low, high = _open_after_settling(requests)
    what = f"adaptive, {_CALLS} calls of {_SECONDS * 1000:.0f} ms, {_CAPACITY} borne"
    settled = low >= 9 and high <= 14
    yield Finding(f"{what}: open at once, settled", f"{low:.1f} to {high:.1f}", "9 to 14", settled)
    bare = asyncio.run(_bare_loop())
    took = f"{wall:.2f} s, {wall / ideal:.3f}x; bare SDK loop of 12: {bare:.2f} s"
    yield Finding(f"{what}: wall", took, "1.25x", wall <= 1.25 * ideal)
    refused = sum(one.reply.status == 429 for one in requests) / len(requests)
    yield Finding(f"{what}: answered 429", f"{refused:.1%}", "under 5 %", refused < 0.05)


def _adaptive() -> tuple[float, list[Asked]]:
    with Endpoint(delay=_SECONDS, capacity=_CAPACITY) as endpoint:
        wall = run(endpoint, _CALLS, max_concurrent_tasks=128)
    return wall, endpoint.requests


async def _bare_loop() -> float:
    """Return the seconds that the same calls take without Themis: how quiet the machine is."""
    import openai as sdk

    with Endpoint(delay=_SECONDS) as endpoint:
        client = sdk.AsyncOpenAI(base_url=endpoint.url, api_key="key", max_retries=0)
        gate = asyncio.Semaphore(_CAPACITY)

        async def call(number: int) -> None:
            messages: Any = [{"role": "user", "content": f"question {number}"}]
            async with gate:
                await client.chat.completions.create(model="scripted", messages=messages)

        await asyncio.gather(*(call(number) for number in range(_CALLS)))
        ended = time.monotonic()
        await client.close()
        return ended - endpoint.requests[0].at


def _open_after_settling(requests: list[Asked]) -> tuple[float, float]:
    """Return the least and the most requests open, averaged over each tenth of a second.

    The first quarter of the calls is learning; the last is when fewer are left than are borne.
    """
    begin = requests[len(requests) // 4].at
    end = requests[-_CAPACITY].at
    means, at = [], begin
    while at + _SECONDS <= end:
        spans = (min(one.done_at or end, at + _SECONDS) - max(one.at, at) for one in requests)
        means.append(sum(span for span in spans if span > 0) / _SECONDS)
        at += _SECONDS
    return min(means), max(means)


PROGRAMS: tuple[Callable[[], Iterator[Finding]], ...] = (
    requests_a_minute,
    configured_concurrency,
    asked_to_wait,
    hanging,
    adaptive,
)


def report() -> bool:
    """Run every program, print its findings, and return whether all keep to their bars."""
    warm_up()
    all_kept = True
    for program in PROGRAMS:
        for finding in program():
            print(finding, flush=True)
            all_kept = all_kept and finding.is_kept
    return all_kept


if __name__ == "__main__":
    sys.exit(not report())
