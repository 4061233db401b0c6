"""An event loop whose clock jumps: an hour of waiting passes at once, in the order it would.

When nothing is ready the clock goes on to the next timer. Where there is none, nothing could ever
happen again: that is an error here, not a hang. It is for code that waits by timers alone; threads
and sockets are polled and never waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(RuntimeError):
    """All tasks wait, and for nothing that a clock could bring."""


class _Jumping(selectors.SelectSelector):
    """Waits by putting the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise StuckError("every task waits, and there is no timer")
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop on which waiting takes no time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that would have passed."""
        return self._jumping.now


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a clock that jumps.

    Raises:
        StuckError: all tasks wait for each other.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
