"""The queue before an endpoint: who goes when, on a clock that jumps.

Covers: themis.execution.limits.rate
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.virtual_time import run_virtually
from themis.execution.failures import WorkStoppedError
from themis.execution.limits.rate import Pace, Window


def test_a_minute_never_has_more_than_is_allowed() -> None:
    async def starts(pace: Pace, tokens: float) -> list[float]:
        found = []
        for _ in range(30):
            await pace.turn(tokens, ())
            found.append(asyncio.get_running_loop().time())
        return found

    for pace, tokens in ((Pace(requests=6), 0.0), (Pace(tokens=600), 100.0)):
        begun = run_virtually(starts(pace, tokens))
        for place, first in enumerate(begun):
            assert sum(first <= one < first + 60 for one in begun[place:]) <= 6
        assert begun[-1] < 31 * 10


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    async def work() -> float:
        pace = Pace()
        pace.pause(10)
        pace.pause(2)
        await pace.turn(0, ())
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(10)


def test_a_longer_pause_that_comes_while_one_waits_is_waited_for() -> None:
    async def work() -> float:
        pace = Pace()
        pace.pause(2)
        turn = asyncio.ensure_future(pace.turn(0, ()))
        await asyncio.sleep(1)
        pace.pause(9)
        await turn
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(10)


def test_whoever_waits_in_the_line_goes_before_newcomers() -> None:
    async def work() -> list[str]:
        pace, order = Pace(), []
        slot = asyncio.Semaphore(0)

        async def take(name: str, slots: Sequence[asyncio.Semaphore]) -> None:
            await pace.turn(0, slots)
            order.append(name)

        pace.pause(5)
        first = asyncio.ensure_future(take("first", [slot]))
        await asyncio.sleep(6)  # the pause is over, and the first waits for its slot
        second = asyncio.ensure_future(take("second", []))
        await asyncio.sleep(1)
        slot.release()
        await asyncio.gather(first, second)
        return order

    assert run_virtually(work()) == ["first", "second"]


def test_who_waits_for_tokens_hears_at_once_of_tokens_given_back() -> None:
    async def work() -> float:
        pace = Pace(tokens=100)
        booking = await pace.turn(100, ())
        assert booking is not None
        second = asyncio.ensure_future(pace.turn(50, ()))
        await asyncio.sleep(1)
        pace.settle(booking, 10)  # of a hundred that were booked
        await second
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(6, abs=0.1)


def test_a_late_start_lets_the_next_come_earlier() -> None:
    window = Window(60)
    window.take(0.0, 1)
    window.take(1.04, 1)
    assert window.wait(2.0, 1) == pytest.approx(0.0)
    assert window.wait(1.9, 1) == pytest.approx(0.09)


def test_what_is_more_than_a_minutes_allowance_goes_alone_after_an_empty_minute() -> None:
    window = Window(100)
    assert window.wait(0.0, 500) == 0.0
    window.take(0.0, 500)
    assert window.wait(1.0, 1) == pytest.approx(59.0)
    window.take(61.0, 50)
    assert window.wait(70.0, 500) == pytest.approx(51.0, abs=0.01)


def test_a_booking_that_is_over_is_settled_without_effect() -> None:
    window = Window(100)
    first = window.take(0.0, 100)
    window.wait(61.0, 0)
    window.take(61.0, 50)
    window.settle(first, 0)
    assert window.wait(91.0, 100) == pytest.approx(30.0, abs=0.01)


def test_a_cancelled_wait_gives_its_slots_back() -> None:
    async def work() -> bool:
        pace, free, held = Pace(), asyncio.Semaphore(1), asyncio.Semaphore(0)
        turn = asyncio.ensure_future(pace.turn(0, [free, held]))
        await asyncio.sleep(1)
        assert free.locked()
        turn.cancel()
        await asyncio.sleep(1)
        return free.locked()

    assert not run_virtually(work())


def test_a_queue_that_is_closed_lets_nobody_begin() -> None:
    async def work() -> float:
        pace = Pace()
        pace.pause(100)
        turn = asyncio.ensure_future(pace.turn(0, ()))
        await asyncio.sleep(1)
        pace.close()
        with pytest.raises(WorkStoppedError):
            await turn
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(1)


def test_a_pause_that_comes_while_a_slot_is_awaited_is_kept() -> None:
    async def work() -> float:
        pace, slot = Pace(), asyncio.Semaphore(0)
        turn = asyncio.ensure_future(pace.turn(0, [slot]))
        await asyncio.sleep(1)
        pace.pause(9)
        slot.release()
        await turn
        return asyncio.get_running_loop().time()

    assert run_virtually(work()) == pytest.approx(10)
