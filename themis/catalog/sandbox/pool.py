"""How many programs run at once: threads that wait for sandboxes, off the loop, bounded.

Each thread waits for one program; it does no work of its own. A call that nobody awaits any more
has its program ended.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from themis.catalog.sandbox.program import Program, ProgramLimits, ProgramResult, Sandbox


class Pool:
    """Runs so many programs at once, and the others after them.

    Args:
        size: programs at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="themis-sandbox")
        self._lock = threading.Lock()
        self._running = 0
        self.peak = 0
        """The most programs that ran at once so far."""

    async def run(self, sandbox: Sandbox, program: Program, limits: ProgramLimits) -> ProgramResult:
        """Run a program in a sandbox; see ``Sandbox.run``."""
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._threads, self._counted, sandbox, program, limits, given_up
            )
        finally:
            given_up.set()

    def _counted(
        self, sandbox: Sandbox, program: Program, limits: ProgramLimits, given_up: threading.Event
    ) -> ProgramResult:
        with self._lock:
            self._running += 1
            self.peak = max(self.peak, self._running)
        try:
            return sandbox.run(program, limits, given_up=given_up)
        finally:
            with self._lock:
                self._running -= 1


@cache
def pool_of(size: int | None) -> Pool:
    """Return this process's pool of a size; of as many as there are processors, if None."""
    return pool_of(_processors()) if size is None else Pool(size)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
