"""Concurrency that adapts, on a clock that jumps, to endpoints that refuse what is too much."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_time import run_virtually
from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.execution.adaptive import FIRST, AdaptiveConcurrency
from themis.execution.limits import Limits, ending_of

SECONDS = 0.1
"""What a call takes, give or take a third."""


class Seen(NamedTuple):
    """What an endpoint saw: calls refused, and by second the most at once."""

    refused: int
    seconds: float
    peaks: dict[int, int]


def ask(calls: int, capacity: Callable[[float], int], *, cap: int = 512, seed: int = 0) -> Seen:
    """Ask an endpoint that bears ``capacity(seconds since the start)`` calls at once."""
    draw = random.Random(seed)
    peaks: Counter[int] = Counter()
    live = refused = 0

    async def serve() -> None:
        nonlocal live, refused
        now = asyncio.get_running_loop().time()
        if live >= capacity(now):
            refused += 1
            raise ProviderError("too many", status=429)
        live += 1
        peaks[int(now)] = max(peaks[int(now)], live)
        try:
            await asyncio.sleep(SECONDS * draw.uniform(0.67, 1.33))
        finally:
            live -= 1

    async def call(limits: Limits) -> None:
        while True:
            permit = await limits.acquire(Stage.GENERATE, "endpoint")
            try:
                await serve()
            except ProviderError as error:
                limits.failed(permit, error)
                limits.release(permit, ending_of(error))
                await asyncio.sleep(draw.uniform(1.0, 1.5))
            else:
                limits.release(permit, "answered")
                return

    async def run() -> Seen:
        limits = Limits(RuntimeConfig(max_concurrent_tasks=cap))
        await asyncio.gather(*(call(limits) for _ in range(calls)))
        return Seen(refused, asyncio.get_running_loop().time(), dict(peaks))

    return run_virtually(run())


def test_it_begins_low_and_doubles_in_a_round_while_the_endpoint_keeps_up() -> None:
    adaptive = AdaptiveConcurrency(100)
    limits = [adaptive.limit]
    for _ in range(5):
        for number in range(adaptive.limit):
            adaptive.began(adaptive.limit)
            adaptive.answered(adaptive.epoch)
            assert adaptive.limit == min(limits[-1] + number + 1, 100)
        limits.append(adaptive.limit)
    assert limits == [8, 16, 32, 64, 100, 100]


def test_a_cap_below_the_first_step_is_kept() -> None:
    assert max(ask(60, lambda _: 1000, cap=3).peaks.values()) == 3


def test_it_does_not_grow_where_the_limit_was_never_reached() -> None:
    adaptive = AdaptiveConcurrency(64)
    for _ in range(1000):
        adaptive.began(1)
        adaptive.answered(adaptive.epoch)
    assert adaptive.limit == FIRST


def test_calls_refused_together_lower_the_limit_once_and_by_a_quarter_at_most() -> None:
    adaptive = AdaptiveConcurrency(64)
    for _ in range(56):
        adaptive.began(adaptive.limit)
        adaptive.answered(adaptive.epoch)
    assert adaptive.limit == 64
    epoch = adaptive.epoch
    for place in range(64, 0, -1):
        adaptive.refused(epoch, place)
    assert (adaptive.limit, adaptive.epoch) == (48, epoch + 1)


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(1, 60), seed=st.integers(0, 9))
def test_it_settles_at_the_capacity_and_is_seldom_refused(capacity: int, seed: int) -> None:
    calls = max(400, 60 * capacity)
    seen = ask(calls, lambda _: capacity, seed=seed)
    assert max(seen.peaks.values()) == capacity
    assert seen.refused <= max(30, 0.02 * calls)
    ideal = calls * SECONDS / capacity
    assert seen.seconds <= 1.25 * ideal + 2  # two seconds: a probe refused at the very end


@pytest.mark.parametrize(("before", "after"), [(40, 10), (64, 1), (10, 40), (3, 64)])
def test_it_follows_a_capacity_that_changes(before: int, after: int) -> None:
    # Long enough for rare probes, which come by the rounds and not by the clock.
    calls = 20 * before + 400 * min(before, after) + 60 * after
    seen = ask(calls, lambda now: before if now < 2 else after)
    late = [peak for second, peak in seen.peaks.items() if second >= seen.seconds * 0.6]
    assert max(late) >= 0.75 * after
    assert seen.refused <= 0.1 * (calls + seen.refused)


def test_refusals_that_are_about_the_rate_do_not_end_in_one_call_at_a_time_for_good() -> None:
    # For half a second everything is refused, whatever is under way.
    seen = ask(4000, lambda now: 0 if 2 <= now < 2.5 else 64)
    late = [peak for second, peak in seen.peaks.items() if second >= seen.seconds * 0.7]
    assert max(late) >= 32
