"""Calling user code: sync or async, on the loop or away from it.

Sync code that may wait runs in daemon threads, so that one that hangs holds nothing but itself: it
is abandoned when its step times out, and counted.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache
from queue import Empty, SimpleQueue
from types import GeneratorType
from typing import Any

_IDLE_SECONDS = 10.0


def is_promise(value: object) -> bool:
    """Return what ``inspect.isawaitable`` does, for a fraction of its time: it is asked each step.

    For all but generators the type says it.
    """
    kind: Any = type(value)
    return inspect.isawaitable(value) if kind is GeneratorType else _makes_promises(kind)


@lru_cache(maxsize=512)
def _makes_promises(kind: Any) -> bool:
    return issubclass(kind, Awaitable)


class Begun:
    """A promise that was begun: most likely it waits for something now, or else it is over.

    What answers without waiting needs no timer, which costs more than many an answer.

    Args:
        promise: a coroutine or another awaitable; it goes on when this object is awaited.

    Raises:
        BaseException: what the promise raised.
    """

    __slots__ = ("_steps", "_waits_for", "is_over", "value")

    def __init__(self, promise: Awaitable[Any]) -> None:
        # A generator that stands for a coroutine (``types.coroutine``) is its own iterator.
        given: Any = promise
        is_generator = isinstance(given, GeneratorType)
        self._steps: Any = given if is_generator else given.__await__()
        self.is_over = False
        self.value: Any = None
        try:
            self._waits_for: Any = next(self._steps)
        except StopIteration as end:
            self.is_over = True
            self.value = end.value

    def __await__(self) -> Generator[Any, Any, Any]:
        """Go on to the end and return the promise's value."""
        waits_for = self._waits_for
        while True:
            try:
                yield waits_for
            except GeneratorExit:
                self._steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - a cancellation: the promise's to handle
                try:
                    waits_for = self._steps.throw(error)
                except StopIteration as end:
                    return end.value
            else:
                return (yield from self._steps)


async def call_inline(function: Callable[[], Any]) -> Any:
    """Call on the loop, awaiting what it returns if that is a promise."""
    value = function()
    return await value if is_promise(value) else value


class DaemonThreads:
    """Runs sync calls in daemon threads, made when needed and kept a while for the next call."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._live = 0
        self.abandoned = 0
        """Calls still running when their step had given up on them."""

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call in a thread and wait for the result; on cancellation the thread is left behind."""
        task = _Task(function, asyncio.get_running_loop())
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._live += 1
                threading.Thread(target=self._work, name="themis-call", daemon=True).start()
        self._tasks.put(task)
        try:
            value = await task.future
        except asyncio.CancelledError:
            if not task.ended:
                self.abandoned += 1
            raise
        return await value if is_promise(value) else value

    def close(self) -> None:
        """Let idle threads end."""
        with self._lock:
            for _ in range(self._live):
                self._tasks.put(None)

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle and self._tasks.empty():
                        self._idle -= 1
                        self._live -= 1
                        return
                continue
            if task is None:
                return
            task.run()
            with self._lock:
                self._idle += 1


class _Task:
    """One call on its way through a thread."""

    __slots__ = ("ended", "function", "future", "loop")

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.function = function
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.ended = False

    def run(self) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = self.function()
        except BaseException as raised:  # noqa: BLE001 - the boundary to user code
            error = raised
        self.ended = True
        try:
            self.loop.call_soon_threadsafe(self._settle, value, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            self.future.set_exception(error)
        else:  # SystemExit and the like, and what no future can hold
            self.future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
