"""Running blocking calls beside the event loop, in threads that cannot keep a process alive.

The default executor's threads are few, and are waited for when a program ends: graph nodes that
hang would hold up all others, and then the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from themis.core.daemon_threads import DaemonCall, DaemonThreads

P = ParamSpec("P")
T = TypeVar("T")
_EXECUTOR = "_default_executor"  # asyncio has no public way to ask for it or to take it away


class LoopThreads(futures.ThreadPoolExecutor):
    """Daemon threads as an event loop's default executor, for as long as somebody relies on it.

    It is a ``ThreadPoolExecutor`` because a loop takes no other; that class's own threads are never
    started.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.users = 0
        """How many rely on it being their loop's executor."""
        self._threads_of_calls = DaemonThreads()
        self._calls: set[DaemonCall] = set()

    def is_idle(self) -> bool:
        """Return whether nobody relies on it, and nobody waits for a call."""
        return not self.users and all(call.given_up for call in set(self._calls))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Begin a call."""
        call = self._threads_of_calls.submit(fn, *args, **kwargs)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls that somebody waits for; those given up on are left behind.

        No call waits for its turn, so that ``cancel_futures`` has nothing to cancel.
        """
        self._threads_of_calls.close()
        if wait:
            futures.wait([call for call in set(self._calls) if not call.given_up])


@contextmanager
def daemon_threads() -> Iterator[None]:
    """Let this event loop run its blocking calls in daemon threads, for as long as it is entered.

    A graph hands its sync nodes to the loop's default executor and takes no other. An executor that
    the loop has already is left as it is, and so is that of a loop that does not tell its own. When
    the last user leaves, the loop has none again, unless somebody still waits for a call.
    """
    loop: Any = asyncio.get_running_loop()
    executor = getattr(loop, _EXECUTOR, loop)
    if executor is None:
        executor = LoopThreads()
        loop.set_default_executor(executor)
    if not isinstance(executor, LoopThreads):
        yield
        return
    executor.users += 1
    try:
        yield
    finally:
        executor.users -= 1
        if executor.is_idle() and getattr(loop, _EXECUTOR) is executor:
            setattr(loop, _EXECUTOR, None)
            executor.shutdown(wait=False)


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """Return what a blocking call returns; if cancelled, the call is left to itself."""
    threads = DaemonThreads()
    try:
        return await asyncio.wrap_future(threads.submit(call))
    finally:
        threads.close()
