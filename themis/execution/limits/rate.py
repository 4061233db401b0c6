"""Rate limits of an endpoint: requests and tokens a minute, and pauses that it asked for.

Starts are spread evenly, and no interval of sixty seconds has more than is allowed. (A token bucket
would allow twice as much in the first minute.) The clock is the event loop's.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence

from themis.execution.failures import WorkStoppedError

MINUTE = 60.0
_SLACK = 0.05
"""Seconds by which a start may come early if the one before was late, as timers often are."""
_GRAIN = 1e-6


class Booking:
    """A call's part of a minute's allowance: one request, or its tokens, corrected when known."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: float) -> None:
        self.at = at
        self.amount = amount


class Window:
    """An allowance for every interval of sixty seconds, spread evenly.

    Args:
        allowed: the most in sixty seconds.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._booked: deque[Booking] = deque()
        self._sum = 0.0
        self._next = -math.inf

    def wait(self, now: float, amount: float) -> float:
        """Return the seconds until ``amount`` may be booked; 0 for now.

        An amount greater than a minute's allowance is admitted alone, after an empty minute.
        """
        self._forget(now)
        until = self._next
        excess = self._sum + amount - self._allowed
        if excess > _GRAIN and self._booked:
            for booking in self._booked:
                excess -= booking.amount
                if excess <= _GRAIN or booking is self._booked[-1]:
                    until = max(until, booking.at + MINUTE + _GRAIN)
                    break
        return max(0.0, until - now)

    def take(self, now: float, amount: float) -> Booking:
        """Book an amount now."""
        booking = Booking(now, amount)
        self._booked.append(booking)
        self._sum += amount
        self._next = max(self._next, now - _SLACK) + self._share(amount)
        return booking

    def settle(self, booking: Booking, amount: float) -> None:
        """Correct a booking to the amount that was used."""
        change = amount - booking.amount
        booking.amount = amount
        if self._booked and booking.at >= self._booked[0].at:
            self._sum += change
            self._next += self._share(change)

    def _share(self, amount: float) -> float:
        return MINUTE * min(amount, self._allowed) / self._allowed

    def _forget(self, now: float) -> None:
        while self._booked and self._booked[0].at + MINUTE <= now:
            self._sum -= self._booked.popleft().amount
        if not self._booked:
            self._sum = 0.0


class Pace:
    """The queue in which calls to one endpoint wait for the rate limits, first come first served.

    Args:
        requests: requests a minute; None for no limit.
        tokens: tokens a minute; None for no limit.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        self._requests = None if requests is None else Window(requests)
        self._tokens = None if tokens is None else Window(tokens)
        self._paused_until = -math.inf
        self._line = asyncio.Lock()
        self._news = asyncio.Event()
        self._closed = False

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are limited."""
        return self._tokens is not None

    def is_open(self) -> bool:
        """Whether a call may begin without waiting."""
        return (
            self._requests is None
            and self._tokens is None
            and self._paused_until == -math.inf
            and not self._line.locked()
        )

    def pause(self, seconds: float) -> None:
        """Let no call begin for some seconds."""
        until = asyncio.get_running_loop().time() + seconds
        if until > self._paused_until:
            self._paused_until = until
            self._news.set()

    def close(self) -> None:
        """End all waits: no waiting call may begin."""
        self._closed = True
        self._news.set()

    async def turn(self, tokens: float, slots: Sequence[asyncio.Semaphore]) -> Booking | None:
        """Wait for a turn and acquire each of ``slots`` at the same moment.

        Returns:
            The booking of the tokens, to be settled; None if tokens are not limited.

        Raises:
            WorkStoppedError: the queue was closed meanwhile.
        """
        if self.is_open():
            await take_each(slots)
            if self.is_open():
                return None
            give_each(slots)  # the endpoint asked for a pause meanwhile
        loop = asyncio.get_running_loop()
        async with self._line:
            while True:
                await self._free(tokens)
                await take_each(slots)
                if self._wait(loop.time(), tokens) <= 0:
                    break
                give_each(slots)
            now = loop.time()
            if self._requests is not None:
                self._requests.take(now, 1)
            return None if self._tokens is None else self._tokens.take(now, tokens)

    def settle(self, booking: Booking, tokens: float) -> None:
        """Correct the tokens that were booked for a call to those it used."""
        if self._tokens is not None:
            self._tokens.settle(booking, tokens)
            self._news.set()

    async def _free(self, tokens: float) -> None:
        """Wait until a call may begin."""
        loop = asyncio.get_running_loop()
        while (seconds := self._wait(loop.time(), tokens)) > 0:
            if self._closed:
                raise WorkStoppedError
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _wait(self, now: float, tokens: float) -> float:
        seconds = self._paused_until - now
        if seconds <= 0 and self._paused_until != -math.inf:
            self._paused_until = -math.inf
        if self._requests is not None:
            seconds = max(seconds, self._requests.wait(now, 1))
        if self._tokens is not None:
            seconds = max(seconds, self._tokens.wait(now, tokens))
        return max(0.0, seconds)


async def take_each(slots: Sequence[asyncio.Semaphore]) -> None:
    """Acquire all semaphores, or none."""
    taken: list[asyncio.Semaphore] = []
    try:
        for slot in slots:
            await slot.acquire()
            taken.append(slot)
    except BaseException:
        give_each(taken)
        raise


def give_each(slots: Sequence[asyncio.Semaphore]) -> None:
    """Release all semaphores."""
    for slot in slots:
        slot.release()
