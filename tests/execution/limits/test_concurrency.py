"""Concurrency that adapts, on a clock that jumps, to endpoints that refuse what is too much.

Covers: themis.execution.limits.concurrency, themis.execution.limits.endpoints
"""

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
from themis.execution.limits.concurrency import FIRST, AdaptiveConcurrency
from themis.execution.limits.endpoints import RunLimits, call_ending

SECONDS = 0.1
"""What a call takes, give or take a third."""


class Seen(NamedTuple):
    """What came of it: calls refused, the seconds it took, and by second the most at once."""

    refused: int
    seconds: float
    peaks: dict[int, int]
    lost: int
    """Calls given up."""


def ask(
    calls: int,
    capacity: Callable[[float], int],
    *,
    cap: int = 512,
    seed: int = 0,
    refused_after: float = 0.0,
    by_chance: float = 0.0,
    status: int = 429,
    tries: int = 1000,
) -> Seen:
    """Ask an endpoint that bears ``capacity(seconds since the start)`` calls at once.

    Args:
        calls: how many.
        capacity: what it bears.
        cap: calls at once at most.
        seed: of the times that calls take.
        refused_after: seconds until a refusal.
        by_chance: share of the calls that are refused whatever is under way.
        status: of a refusal.
        tries: after which a call is given up.
    """
    draw = random.Random(seed)
    peaks: Counter[int] = Counter()
    live = refused = lost = 0

    async def serve() -> None:
        nonlocal live, refused
        now = asyncio.get_running_loop().time()
        if live >= capacity(now) or draw.random() < by_chance:
            refused += 1
            await asyncio.sleep(refused_after)
            raise ProviderError("too many", status=status)
        live += 1
        peaks[int(now)] = max(peaks[int(now)], live)
        try:
            await asyncio.sleep(SECONDS * draw.uniform(0.67, 1.33))
        finally:
            live -= 1

    async def call(limits: RunLimits) -> None:
        nonlocal lost
        for number in range(tries):
            permit = await limits.acquire(Stage.GENERATE, "endpoint")
            try:
                await serve()
            except ProviderError as error:
                limits.failed(permit, error)
                limits.release(permit, call_ending(error))
                await asyncio.sleep(min(2**number, 60) + draw.uniform(0.0, 0.5))
            else:
                limits.release(permit, "answered")
                return
        lost += 1

    async def run() -> Seen:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=cap))
        await asyncio.gather(*(call(limits) for _ in range(calls)))
        return Seen(refused, asyncio.get_running_loop().time(), dict(peaks), lost)

    return run_virtually(run())


def test_it_begins_low_and_doubles_in_a_round_while_the_endpoint_keeps_up() -> None:
    adaptive = AdaptiveConcurrency(100)
    limits = [adaptive.limit]
    for _ in range(5):
        for number in range(adaptive.limit):
            adaptive.began(adaptive.limit)
            adaptive.answered(adaptive.limit)
            assert adaptive.limit == min(limits[-1] + number + 1, 100)
        limits.append(adaptive.limit)
    assert limits == [8, 16, 32, 64, 100, 100]


def test_a_cap_below_the_first_step_is_kept() -> None:
    assert max(ask(60, lambda _: 1000, cap=3).peaks.values()) == 3


def test_it_does_not_grow_where_the_limit_was_never_reached() -> None:
    adaptive = AdaptiveConcurrency(64)
    for _ in range(1000):
        adaptive.began(1)
        adaptive.answered(1)
    assert adaptive.limit == FIRST


def test_one_refusal_among_answers_changes_nothing() -> None:
    adaptive = AdaptiveConcurrency(64)
    adaptive.began(8)
    for place in range(1, 9):
        adaptive.answered(place)
    before = adaptive.limit
    adaptive.refused(8)
    assert adaptive.limit == before


def test_what_is_refused_twice_where_nothing_was_answered_is_not_borne() -> None:
    adaptive = AdaptiveConcurrency(64)
    adaptive.began(8)
    for place in range(1, 7):
        adaptive.answered(place)
    adaptive.refused(8)
    adaptive.refused(7)
    assert adaptive.limit == 6


def test_an_endpoint_that_is_lost_or_silent_is_given_less() -> None:
    adaptive = AdaptiveConcurrency(8)
    for _ in range(6):
        adaptive.overwhelmed()
    assert adaptive.limit == 6


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


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05])
def test_refusals_by_chance_cost_little(share: float) -> None:
    seen = ask(8000, lambda _: 1000, cap=64, by_chance=share, status=503)
    ideal = 8000 * SECONDS / 64
    assert seen.seconds <= 2 * ideal
    assert seen.refused <= 1.3 * share * 8000 + 10


@pytest.mark.parametrize("refused_after", [0.0, 0.02, 0.05])
def test_refusals_that_take_their_time_are_understood(refused_after: float) -> None:
    seen = ask(2000, lambda _: 12, refused_after=refused_after)
    assert seen.seconds <= 1.1 * 2000 * SECONDS / 12
    assert seen.refused <= 20


def test_a_limit_of_so_many_a_minute_that_is_told_by_no_header_loses_no_call() -> None:
    minute = [0, 0]

    def capacity(now: float) -> int:
        if int(now // 60) != minute[0]:
            minute[:] = [int(now // 60), 0]
        minute[1] += 1
        return 1000 if minute[1] <= 600 else 0

    seen = ask(3000, capacity, cap=32, tries=4)
    assert seen.lost == 0
    assert seen.seconds <= 330  # four minutes at least, and a pause too long at the end
    assert seen.refused <= 0.15 * 3000


def test_a_while_in_which_all_is_refused_is_no_reason_to_ask_one_at_a_time_for_good() -> None:
    seen = ask(4000, lambda now: 0 if 2 <= now < 2.5 else 64)
    late = [peak for second, peak in seen.peaks.items() if second >= seen.seconds * 0.7]
    assert max(late) >= 32
