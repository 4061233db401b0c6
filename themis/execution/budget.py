"""What a run may spend in tokens, dollars and seconds, and what it has spent.

Before a call all that it may use is reserved, and afterwards settled to what it did use; so that
spending cannot exceed the budget however many calls are under way. How far the reservations have
gone is journaled ahead of them, in steps: a process that is killed leaves behind a figure that
nothing it spent can exceed. Prices are not known here.
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
"""In how many portions a budget is journaled ahead of its use."""
_GRAIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent, or may be."""

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
        """Return what is left of this without the other."""
        return Spent(
            tokens=self.tokens - other.tokens,
            dollars=self.dollars - other.dollars,
            seconds=self.seconds - other.seconds,
            unpriced=self.unpriced - other.unpriced,
        )

    def plain(self) -> dict[str, float]:
        """Return it as plain JSON data."""
        return {
            "tokens": self.tokens,
            "dollars": round(self.dollars, 9),
            "seconds": round(self.seconds, 3),
            "unpriced": self.unpriced,
        }

    @classmethod
    def of(cls, data: Mapping[str, float]) -> Spent:
        """Return it from plain JSON data."""
        return cls(
            tokens=int(data.get("tokens", 0)),
            dollars=float(data.get("dollars", 0.0)),
            seconds=float(data.get("seconds", 0.0)),
            unpriced=int(data.get("unpriced", 0)),
        )


NOTHING = Spent()


class Budget:
    """A run's budget while it is being worked on.

    Args:
        limits: "tokens", "dollars", "seconds" at most; those left out have no limit.
        before: what earlier processes spent of it.
        draw: journals how far this process may go and returns when that is durable.
        stop: ends the run, for a reason.
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
        """Return when the seconds are over, journaling ahead how many may go by.

        Without a limit on them it never returns.
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
        """Reserve what a call may use at most, waiting for others to settle where that may help.

        Raises:
            WorkStoppedError: it does not fit any more, and the run ends; or it ends anyway.
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
        """Give back what was reserved and count what was used."""
        if reserved is not NOTHING:
            self._reserved = self._reserved.minus(reserved)
        elif used is NOTHING:
            return  # nobody waits for what was never held
        self.count(used)

    def count(self, used: Spent) -> None:
        """Count what was used."""
        self._used = self._used.plus(used)
        self._news.set()

    def stopped(self) -> None:
        """The run ends: nobody need wait for what others may leave."""
        self._stopped = True
        self._news.set()

    def _lacking(self, most: Spent) -> str | None:
        """Return why a call does not fit; None where it does."""
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
        """Journal a further portion before calls go beyond what was journaled."""
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
        """Return how far calls may go from here on; None where there is room, or no limit."""
        allowed = self._limits.get(unit)
        needed: float = getattr(self._used, unit) + getattr(self._reserved, unit)
        if allowed is None or needed <= getattr(self._drawn, unit) + _GRAIN:
            return None
        left: float = allowed - getattr(self.before, unit)
        return max(needed, min(needed + allowed / _STEPS, left))


def _money(dollars: float) -> str:
    """Return US dollars to the cent, and small amounts as exactly as it takes."""
    return f"${dollars:,.2f}" if dollars >= 1000 else f"${dollars:,.9f}".rstrip("0").rstrip(".")
