"""Calling user code: sync or async, on the loop or away from it.

Sync code that may wait runs in daemon threads, so that one that hangs holds nothing but itself: it
is abandoned when its step times out, and counted.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache
from types import GeneratorType
from typing import Any

from themis.core.daemon_threads import DaemonThreads
from themis.core.errors import ComponentError
from themis.execution.failures import PASS_THROUGH, AttemptTimeoutError, said


def is_awaitable(value: object) -> bool:
    """Return what ``inspect.isawaitable`` does, for a fraction of its time: it is asked each step.

    For all but generators the type says it.
    """
    kind: Any = type(value)
    return inspect.isawaitable(value) if kind is GeneratorType else _is_awaitable_type(kind)


@lru_cache(maxsize=512)
def _is_awaitable_type(kind: Any) -> bool:
    return issubclass(kind, Awaitable)


class StartedAwaitable:
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
    return await value if is_awaitable(value) else value


async def call_in_thread(threads: DaemonThreads, function: Callable[[], Any]) -> Any:
    """Call in a thread, awaiting what it returns if that is awaitable.

    If this is cancelled, the thread is left behind.
    """
    value = await asyncio.wrap_future(threads.submit(function))
    return await value if is_awaitable(value) else value


async def call_guarded(make: Callable[[], Any], seconds: float | None) -> Any:
    """Run a component's code for so long, whatever it raises being an exception of its step.

    Args:
        make: calls the component and returns its result, or an awaitable of it.
        seconds: for the call and the awaitable; None for no limit.
    """
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        value = make()
        if not is_awaitable(value):
            return value
        if seconds is None:
            return await value
        started = StartedAwaitable(value)
        if started.is_over:
            return started.value
        try:
            async with asyncio.timeout_at(began + seconds) as limit:
                return await started
        except TimeoutError:
            if not limit.expired():
                raise
            raise AttemptTimeoutError(f"no answer within {seconds:g} s") from None
    except BaseException as error:
        if (escaped := escaped_error(error)) is None:
            raise
        raise escaped from error


def escaped_error(error: BaseException) -> ComponentError | None:
    """Return what stands for an exception that a component must not raise through its step.

    An exception of its own making that is none of ``Exception``, an exit, or a cancellation that
    nobody asked for would end the run; as an exception it fails the step alone.

    Returns:
        None for what passes as it is: an ordinary exception, a Ctrl-C, a stop of the task.
    """
    if isinstance(error, _PASS_AS_THEY_ARE):
        return None
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return None
        # Nobody cancelled this step: its component let a cancellation of its own escape.
        return ComponentError("the call cancelled itself")
    if isinstance(error, SystemExit):
        return ComponentError(f"the call tried to exit the process ({error.code})")
    return ComponentError(f"{type(error).__name__}: {said(error)}")


_PASS_AS_THEY_ARE = (Exception, KeyboardInterrupt, GeneratorExit, *PASS_THROUGH)
