"""Pacing, concurrency and pauses over minutes and hours, on a clock that jumps.

What is looked at is when calls began, as an endpoint would see it: not what the limits think.

Covers: themis.execution.failures, themis.execution.limits, themis.execution.limits.concurrency,
themis.execution.limits.endpoints, themis.execution.limits.rate
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_time import run_virtually
from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.execution.failures import WorkStoppedError
from themis.execution.limits.endpoints import RunLimits, call_ending

HERE = "scripted:here"
MINUTE = 60.0


@dataclass
class Start:
    """A call that began: when, as the how manieth that asked, and the tokens known of it."""

    at: float
    order: int
    tokens: float


@dataclass
class Calls:
    """Calls through the limits of one run.

    Attributes:
        starts: in the order in which they began.
        crowded: the most tokens that were known of any sixty seconds when a call began that was
            not alone in them.
        peak: most calls under way.
    """

    limits: RunLimits
    starts: list[Start] = field(default_factory=list)
    crowded: float = 0.0
    peak: int = 0
    under_way: int = 0

    async def one(self, order: int, *, tokens: float, used: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        permit = await self.limits.acquire(Stage.GENERATE, HERE, tokens)
        start = Start(loop.time(), order, tokens)
        lately = [one.tokens for one in self.starts if one.at > start.at - MINUTE]
        if lately:
            self.crowded = max(self.crowded, sum(lately) + tokens)
        self.starts.append(start)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(seconds)
            self.limits.settle(permit, used)
            start.tokens = used
        finally:
            self.under_way -= 1
            self.limits.release(permit, "answered")

    def most(self, seconds: float, weigh: Callable[[Start], float] = lambda _: 1) -> float:
        """Return the most that began in any span of so many seconds, its end left out."""
        most = total = 0.0
        first = 0
        for start in self.starts:
            total += weigh(start)
            while self.starts[first].at <= start.at - seconds:
                total -= weigh(self.starts[first])
                first += 1
            most = max(most, total)
        return most


def _go(
    sizes: Sequence[tuple[float, float, float]], *, concurrency: int = 1000, **runtime: Any
) -> tuple[Calls, float]:
    """Make calls of (tokens expected, tokens used, seconds), all asked for at once."""

    async def work() -> tuple[Calls, float]:
        calls = Calls(RunLimits(RuntimeConfig(max_concurrent_tasks=concurrency, **runtime)))
        async with asyncio.TaskGroup() as tasks:
            for order, (tokens, used, seconds) in enumerate(sizes):
                tasks.create_task(calls.one(order, tokens=tokens, used=used, seconds=seconds))
        return calls, asyncio.get_running_loop().time()

    return run_virtually(work())


def test_no_sixty_seconds_of_a_thousand_calls_hold_more_than_a_hundred_and_twenty() -> None:
    draw = random.Random(1)
    sizes = [(0.0, 0.0, draw.uniform(0.01, 20.0)) for _ in range(1000)]
    calls, _ = _go(sizes, provider_rate_limits={HERE: 120})
    assert len(calls.starts) == 1000
    assert calls.most(MINUTE) <= 120
    assert calls.most(1.0) <= 3
    assert 999 * 0.5 - 1 <= calls.starts[-1].at <= 999 * 0.5 + 10


def test_no_sixty_seconds_of_a_thousand_uneven_calls_cost_more_tokens_than_allowed() -> None:
    draw = random.Random(2)
    sizes = []
    for _ in range(1000):
        expected = draw.choice([10, 200, 3000, 11_000])
        sizes.append((expected, draw.uniform(0.1, 1.0) * expected, draw.uniform(0.01, 30.0)))
    calls, ended = _go(
        sizes, provider_rate_limits={HERE: {"tokens_per_minute": 30_000}}, concurrency=64
    )
    assert len(calls.starts) == 1000
    assert calls.most(MINUTE, lambda start: start.tokens) <= 30_000
    assert calls.crowded <= 30_000 + 0.1
    ideal = sum(start.tokens for start in calls.starts) / 30_000 * MINUTE
    assert ended <= 2 * ideal


def test_a_call_larger_than_a_minutes_tokens_goes_alone_and_does_not_wait_for_ever() -> None:
    sizes = [(100.0, 100.0, 1.0), (5000.0, 5000.0, 1.0), (100.0, 100.0, 1.0)]
    calls, ended = _go(sizes, provider_rate_limits={HERE: {"tokens_per_minute": 1000}})
    large = next(start for start in calls.starts if start.tokens == 5000)
    others = [start for start in calls.starts if start is not large]
    assert all(abs(start.at - large.at) >= MINUTE for start in others)
    assert ended <= 3 * MINUTE


_CALL = st.tuples(
    st.integers(0, 3000).map(float), st.floats(0.0, 2.5), st.floats(0.0, 90.0, allow_nan=False)
)


@settings(max_examples=80, deadline=None)
@given(
    calls=st.lists(_CALL, min_size=1, max_size=60),
    requests=st.none() | st.integers(1, 200),
    tokens=st.none() | st.integers(500, 20_000),
    concurrency=st.integers(1, 40),
    cap=st.none() | st.integers(1, 12),
)
def test_whatever_the_limits_no_window_is_exceeded_nobody_is_overtaken_and_all_ends(
    calls: list[tuple[float, float, float]],
    requests: int | None,
    tokens: int | None,
    concurrency: int,
    cap: int | None,
) -> None:
    limits: dict[str, int] = {}
    if requests is not None:
        limits["requests_per_minute"] = requests
    if tokens is not None:
        limits["tokens_per_minute"] = tokens
    sizes = [(expected, expected * factor, seconds) for expected, factor, seconds in calls]
    made, _ = _go(
        sizes,
        concurrency=concurrency,
        provider_rate_limits={HERE: limits} if limits else {},
        provider_concurrency={HERE: cap} if cap is not None else {},
    )
    assert [start.order for start in made.starts] == list(range(len(calls)))
    assert made.peak <= min(concurrency, cap or concurrency)
    if requests is not None:
        assert made.most(MINUTE) <= requests
    if tokens is not None:
        assert made.crowded <= tokens + 0.1 or _one_is_too_large(sizes, tokens)


def _one_is_too_large(sizes: Sequence[tuple[float, float, float]], tokens: int) -> bool:
    """Whether a single call may exceed the window by itself, or turned out to have."""
    return any(max(expected, used) > tokens for expected, used, _ in sizes)


@settings(max_examples=60, deadline=None)
@given(
    # Whole seconds are when others give their places back; a few turns of the loop later is when
    # a place was given and not yet taken.
    leaves=st.lists(
        st.none() | st.tuples(st.integers(0, 8) | st.floats(0.0, 30.0), st.integers(0, 4)),
        min_size=4,
        max_size=40,
    ),
    concurrency=st.integers(1, 6),
    requests=st.none() | st.integers(10, 200),
)
def test_those_who_stop_waiting_take_no_place_with_them(
    leaves: list[tuple[float, int] | None], concurrency: int, requests: int | None
) -> None:
    async def work() -> tuple[int, Calls]:
        limits: Any = {HERE: requests} if requests is not None else {}
        runtime = RuntimeConfig(
            max_concurrent_tasks=concurrency,
            provider_rate_limits=limits,
            stage_concurrency={"generate": concurrency + 1},
        )
        calls = Calls(RunLimits(runtime))
        tasks = [
            asyncio.create_task(calls.one(order, tokens=0, used=0, seconds=1.0))
            for order in range(len(leaves))
        ]
        for task, leave in zip(tasks, leaves, strict=True):
            if leave is not None:
                asyncio.get_running_loop().call_later(leave[0], _cancel_soon, task, leave[1])
        await asyncio.gather(*tasks, return_exceptions=True)
        stayed = [task for task, leave in zip(tasks, leaves, strict=True) if leave is None]
        assert not any(task.cancelled() for task in stayed)
        again = len(calls.starts)
        async with asyncio.TaskGroup() as group:  # as many at once as ever, with nobody left over
            calls.peak = 0
            for order in range(concurrency):
                group.create_task(calls.one(order, tokens=0, used=0, seconds=600.0))
        return len(calls.starts) - again, calls

    made, calls = run_virtually(work())
    assert made == concurrency
    assert calls.peak == concurrency


def _cancel_soon(task: asyncio.Task[None], turns: int) -> None:
    """Cancel after so many turns of the loop."""
    if turns:
        asyncio.get_running_loop().call_soon(_cancel_soon, task, turns - 1)
    else:
        task.cancel()


@pytest.mark.parametrize("rates", [{}, {HERE: 600}])
def test_an_endpoint_that_asks_for_a_pause_gets_one_from_every_call(rates: Any) -> None:
    async def work() -> list[float]:
        loop = asyncio.get_running_loop()
        limits = RunLimits(RuntimeConfig(provider_rate_limits=rates))
        starts: list[float] = []

        async def call(order: int) -> None:
            permit = await limits.acquire(Stage.GENERATE, HERE)
            starts.append(loop.time())
            await asyncio.sleep(0.1)
            if order == 0:
                error = ProviderError("too many", status=429, retry_after=47.0)
                limits.failed(permit, error)
                limits.release(permit, call_ending(error))
            else:
                limits.release(permit, "answered")

        await asyncio.gather(*(call(order) for order in range(60)))
        elsewhere = await limits.acquire(Stage.GENERATE, "scripted:there")
        limits.release(elsewhere, "answered")
        return starts

    starts = run_virtually(work())
    assert len(starts) == 60
    before = [at for at in starts if at <= 0.1]
    assert 0 < len(before) < 60
    assert min(at for at in starts if at > 0.1) >= 47.1


def test_a_pause_of_one_endpoint_holds_no_place_that_another_needs() -> None:
    async def work() -> float:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=2))
        permit = await limits.acquire(Stage.GENERATE, HERE)
        error = ProviderError("too many", status=503, retry_after=1000.0)
        limits.failed(permit, error)
        limits.release(permit, call_ending(error))
        waiting = [asyncio.create_task(limits.acquire(Stage.GENERATE, HERE)) for _ in range(4)]
        await asyncio.sleep(1)
        other = await limits.acquire(Stage.JUDGE, "scripted:there")
        began = asyncio.get_running_loop().time()
        limits.release(other, "answered")
        for task in waiting:
            limits.release(await task, "answered")
        assert asyncio.get_running_loop().time() >= 1000.0
        return began

    assert run_virtually(work()) == pytest.approx(1.0)


@dataclass
class Server:
    """A server that bears so many calls at once and refuses more, on the clock that jumps."""

    capacity: int
    seconds: float = 0.1
    under_way: int = 0
    seen: list[int] = field(default_factory=list)
    refusals: int = 0
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    async def call(self) -> None:
        self.seen.append(self.under_way + 1)
        if self.under_way >= self.capacity:
            self.refusals += 1
            await asyncio.sleep(0.002)
            raise ProviderError("too many", status=429)
        self.under_way += 1
        try:
            # Uneven: calls that all end together would begin together again.
            await asyncio.sleep(self.seconds * self.draw.uniform(0.8, 1.2))
        finally:
            self.under_way -= 1


def _drive(server: Server, calls: int, **runtime: Any) -> tuple[float, RunLimits]:
    async def work() -> tuple[float, RunLimits]:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=256, **runtime))

        async def one() -> None:
            while True:
                permit = await limits.acquire(Stage.GENERATE, HERE)
                try:
                    await server.call()
                except ProviderError as error:
                    limits.failed(permit, error)
                    limits.release(permit, call_ending(error))
                    await asyncio.sleep(1.0)
                else:
                    limits.release(permit, "answered")
                    return

        await asyncio.gather(*(one() for _ in range(calls)))
        return asyncio.get_running_loop().time(), limits

    return run_virtually(work())


@pytest.mark.parametrize("capacity", [1, 2, 3, 5, 8, 9, 12, 13, 31, 64, 100])
def test_concurrency_settles_near_what_the_endpoint_bears(capacity: int) -> None:
    server = Server(capacity)
    calls = 100 * capacity + 400
    wall, _ = _drive(server, calls)
    settled = server.seen[len(server.seen) // 3 : -2 * capacity]
    assert max(settled) <= capacity + max(2, capacity // 6)
    assert sum(settled) / len(settled) >= 0.75 * capacity
    assert server.refusals < 0.05 * len(server.seen)
    assert wall <= 1.25 * calls / capacity * server.seconds + 2.0


def test_an_endpoint_that_comes_to_bear_more_is_given_more_and_less_is_given_less() -> None:
    async def work() -> tuple[float, float]:
        server = Server(12)
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=256))
        loop = asyncio.get_running_loop()

        async def worker() -> None:
            while loop.time() < 400.0:
                permit = await limits.acquire(Stage.GENERATE, HERE)
                try:
                    await server.call()
                except ProviderError as error:
                    limits.release(permit, call_ending(error))
                    await asyncio.sleep(1.0)
                else:
                    limits.release(permit, "answered")

        async def change() -> None:
            await asyncio.sleep(50.0)
            server.capacity = 4
            await asyncio.sleep(100.0)
            marks.append(len(server.seen))
            await asyncio.sleep(10.0)
            marks.append(len(server.seen))
            server.capacity = 40

        marks: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(change())
            for _ in range(128):
                tasks.create_task(worker())
        few = server.seen[marks[0] : marks[1]]
        many = server.seen[-500:]
        return sum(few) / len(few), sum(many) / len(many)

    few, many = run_virtually(work())
    assert few <= 5
    assert many >= 24


def test_a_call_that_waited_for_a_slot_does_not_begin_in_a_pause_that_came_meanwhile() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=2))
        first = await limits.acquire(Stage.GENERATE, HERE)
        other = await limits.acquire(Stage.GENERATE, "scripted:there")
        waiting = asyncio.create_task(limits.acquire(Stage.GENERATE, HERE))
        await asyncio.sleep(1.0)
        error = ProviderError("too many", status=429, retry_after=60.0)
        limits.failed(first, error)
        limits.release(first, call_ending(error))
        limits.release(other, "answered")
        limits.release(await waiting, "answered")
        return loop.time()

    assert run_virtually(work()) >= 61.0


def test_nobody_waits_for_a_turn_in_limits_that_were_closed() -> None:
    async def work() -> float:
        limits = RunLimits(RuntimeConfig(provider_rate_limits={HERE: 1}))
        limits.release(await limits.acquire(Stage.GENERATE, HERE), "answered")
        waiting = [asyncio.create_task(limits.acquire(Stage.GENERATE, HERE)) for _ in range(20)]
        await asyncio.sleep(1.0)
        limits.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in ended} == {WorkStoppedError}
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(1.0)
