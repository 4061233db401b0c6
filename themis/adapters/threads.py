"""Running blocking calls beside the event loop, in threads that cannot keep a process alive.

The default executor's threads are few, and are waited for when a program ends: graph nodes that
hang would hold up all others, and then the program. Here every call has a thread of its own, and
one that was given up on is left to itself. How many calls there are at once is not decided here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_EXECUTOR = "_default_executor"  # asyncio has no public way to ask for it or to take it away


class _Call(futures.Future[Any]):
    """A call that knows whether anybody still waits for it."""

    given_up = False

    def cancel(self) -> bool:
        self.given_up = True
        return super().cancel()


class DaemonExecutor(futures.ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own.

    It is a ``ThreadPoolExecutor`` because an event loop takes no other as its default.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.users = 0
        """How many rely on it being their loop's."""
        self._calls: set[_Call] = set()

    def is_idle(self) -> bool:
        """Return whether nobody relies on it, and nobody waits for a call."""
        return not self.users and all(call.given_up for call in set(self._calls))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Begin a call."""
        call = _Call()
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

        def work() -> None:
            if not call.set_running_or_notify_cancel():
                return
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - handed to the one who waits
                call.set_exception(error)
            else:
                call.set_result(value)

        threading.Thread(target=work, name="themis-graph", daemon=True).start()
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls that somebody waits for; those given up on are left behind."""
        if wait:
            futures.wait([call for call in set(self._calls) if not call.given_up])
        super().shutdown(wait=False, cancel_futures=cancel_futures)


@contextmanager
def daemon_threads() -> Iterator[None]:
    """Let this event loop run its blocking calls in daemon threads, for as long as it is entered.

    A graph hands its sync nodes to the loop's default executor and takes no other. An executor that
    the loop has already is left as it is, and so is that of a loop that does not tell its own. When
    the last one leaves, the loop has none again, unless somebody still waits for a call.
    """
    loop: Any = asyncio.get_running_loop()
    executor = getattr(loop, _EXECUTOR, loop)
    if executor is None:
        executor = DaemonExecutor()
        loop.set_default_executor(executor)
    if not isinstance(executor, DaemonExecutor):
        yield
        return
    executor.users += 1
    try:
        yield
    finally:
        executor.users -= 1
        if executor.is_idle() and getattr(loop, _EXECUTOR) is executor:
            setattr(loop, _EXECUTOR, None)


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """Return what a blocking call returns; if cancelled, the call is left to itself."""
    return await asyncio.wrap_future(DaemonExecutor().submit(copy_context().run, call))
