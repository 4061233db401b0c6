"""What a run may spend in tokens, dollars and seconds, and what it has spent.

Before a call, the most that it may use is reserved; after it, the reservation is corrected to its
actual use. So spending cannot exceed the budget however many calls are in flight. Reservations are
journaled in advance, in portions: if the process is killed, the journal has an upper limit of what
it spent.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from themis.execution.failures import WorkStoppedError

_STEPS = 32
"""Number of portions in which a budget is journaled before it is used."""
_GRAIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """An amount of tokens, dollars and seconds, spent or reserved."""

    tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    unpriced: int = 0
    """Calls that used tokens at an unknown price."""

    def plus(self, other: Spent) -> Spent:
        """Return the sum of both."""
        return Spent(
            tokens=self.tokens + other.tokens,
            dollars=self.dollars + other.dollars,
            seconds=self.seconds + other.seconds,
            unpriced=self.unpriced + other.unpriced,
        )

    def minus(self, other: Spent) -> Spent:
        """Return the difference."""
        return Spent(
            tokens=self.tokens - other.tokens,
            dollars=self.dollars - other.dollars,
            seconds=self.seconds - other.seconds,
            unpriced=self.unpriced - other.unpriced,
        )

    def plain(self) -> dict[str, float]:
        """Return the amount as plain JSON data."""
        return {
            "tokens": self.tokens,
            "dollars": round(self.dollars, 9),
            "seconds": round(self.seconds, 3),
            "unpriced": self.unpriced,
        }

    @classmethod
    def of(cls, data: Mapping[str, float]) -> Spent:
        """Return an amount from plain JSON data."""
        return cls(
            tokens=int(data.get("tokens", 0)),
            dollars=float(data.get("dollars", 0.0)),
            seconds=float(data.get("seconds", 0.0)),
            unpriced=int(data.get("unpriced", 0)),
        )


NOTHING = Spent()


class Budget:
    """A run's budget while a process works on the run.

    Args:
        limits: the most "tokens", "dollars" and "seconds"; a missing one has no limit.
        before: what earlier processes spent.
        draw: journals up to what amount this process may spend; returns when that is durable.
        stop: stops the run, for a reason given as text.
    """

    def __init__(
        self,
        limits: Mapping[str, float] | None,
        *,
        before: Spent,
        draw: Callable[[Spent], Awaitable[None]],
        stop: Callable[[str], None],
    ) -> None:
        self._limits = dict(limits or {})
        self.before = before
        """What earlier processes spent."""
        self._draw = draw
        self._stop = stop
        self._began = time.monotonic()
        self._used = NOTHING
        self._reserved = NOTHING
        self._drawn = NOTHING
        self._line = asyncio.Lock()
        self._news = asyncio.Event()
        self._stopped = False

    @property
    def reserves(self) -> bool:
        """Whether calls must reserve what they may use."""
        return "tokens" in self._limits or "dollars" in self._limits

    @property
    def spent(self) -> Spent:
        """What this process has spent."""
        return replace(self._used, seconds=time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the time is up; None without a limit on it."""
        allowed = self._limits.get("seconds")
        return None if allowed is None else allowed - self.before.seconds - self.spent.seconds

    async def keep_time(self) -> None:
        """Wait until the seconds are over, journaling in advance how many may be used.

        Without a limit on seconds it never returns.
        """
        portion = self._limits.get("seconds", math.inf) / _STEPS
        while (left := self.seconds_left) is None or left > 0:
            if left is None:
                await asyncio.Event().wait()
                continue
            wait = min(left, max(portion, 1.0))
            self._drawn = replace(self._drawn, seconds=self.spent.seconds + wait)
            await self._draw(self._drawn)
            await asyncio.sleep(wait)

    async def reserve(self, most: Spent) -> Spent:
        """Reserve the most that a call may use, waiting for other calls to settle if that may help.

        Raises:
            WorkStoppedError: the budget has no room for it, which stops the run; or the run is
                stopping already.
        """
        async with self._line:
            while (lacking := self._lacking(most)) and not self._stopped:
                if self._reserved.tokens <= 0 and self._reserved.dollars <= _GRAIN:
                    self._stop(lacking)
                    self._stopped = True
                    break
                self._news.clear()
                await self._news.wait()
            if self._stopped:
                raise WorkStoppedError
            self._reserved = self._reserved.plus(most)
            try:
                await self._cover()
            except BaseException:
                self.settle(most, NOTHING)
                raise
        return most

    def settle(self, reserved: Spent, used: Spent) -> None:
        """Release a reservation and count what was used."""
        if reserved is not NOTHING:
            self._reserved = self._reserved.minus(reserved)
        elif used is NOTHING:
            return  # nothing was reserved, so no call waits for it
        self.count(used)

    def count(self, used: Spent) -> None:
        """Count what was used."""
        self._used = self._used.plus(used)
        self._news.set()

    def stopped(self) -> None:
        """End all waits for a reservation, since the run is stopping."""
        self._stopped = True
        self._news.set()

    def _lacking(self, most: Spent) -> str | None:
        """Return why the budget has no room for a call; None if it has."""
        gone = self.before.plus(self._used).plus(self._reserved)
        allowed = self._limits.get("tokens")
        if allowed is not None and gone.tokens + most.tokens > allowed:
            return (
                f"the budget of {allowed:,.0f} tokens has no room for another call: "
                f"{gone.tokens:,} are used, and the call may take {most.tokens:,}"
            )
        dollars = self._limits.get("dollars")
        if dollars is not None and gone.dollars + most.dollars > dollars + _GRAIN:
            return (
                f"the budget of {_money(dollars)} has no room for another call: "
                f"{_money(gone.dollars)} is used, and the call may cost {_money(most.dollars)}"
            )
        return None

    async def _cover(self) -> None:
        """Journal a further portion before reservations exceed what was journaled."""
        tokens = self._portion("tokens")
        dollars = self._portion("dollars")
        if tokens is None and dollars is None:
            return
        wanted = Spent(
            tokens=self._drawn.tokens if tokens is None else int(tokens),
            dollars=self._drawn.dollars if dollars is None else dollars,
            seconds=self._drawn.seconds,
        )
        await self._draw(wanted)
        self._drawn = wanted

    def _portion(self, unit: Literal["tokens", "dollars"]) -> float | None:
        """Return the new amount to journal; None if the last suffices or there is no limit."""
        allowed = self._limits.get(unit)
        needed: float = getattr(self._used, unit) + getattr(self._reserved, unit)
        if allowed is None or needed <= getattr(self._drawn, unit) + _GRAIN:
            return None
        left: float = allowed - getattr(self.before, unit)
        return max(needed, min(needed + allowed / _STEPS, left))


def _money(dollars: float) -> str:
    """Return US dollars as text: to the cent, small amounts with more digits."""
    return f"${dollars:,.2f}" if dollars >= 1000 else f"${dollars:,.9f}".rstrip("0").rstrip(".")
