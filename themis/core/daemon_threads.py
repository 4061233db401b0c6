"""Blocking calls in daemon threads, which do not keep the program from ending.

Each call gets a thread immediately; the number of calls is limited elsewhere. A call that hangs can
be abandoned, and abandoned calls are counted. A thread that finished its call waits a while for the
next one, then ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_IDLE_SECONDS = 10.0


class DaemonCall(futures.Future[Any]):
    """The future of a call in a daemon thread."""

    def __init__(self, threads: DaemonThreads) -> None:
        super().__init__()
        self._threads = threads
        self.given_up = False

    def cancel(self) -> bool:
        """Abandon the call: if it has not begun, it never will; if it runs, its result is lost."""
        cancelled = super().cancel()
        if not self.given_up and self.running():
            self._threads.abandoned += 1
        self.given_up = True
        return cancelled


class DaemonThreads:
    """Runs each call in a daemon thread, made when needed and kept a while for the next call."""

    def __init__(self) -> None:
        self.abandoned = 0
        """Number of calls that were abandoned while they were running."""
        self._tasks: SimpleQueue[tuple[DaemonCall, Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DaemonCall:
        """Begin a call, with a copy of the current context variables.

        An exception that would end the thread or a waiting coroutine, such as ``SystemExit`` or
        ``StopIteration``, is raised to the waiting code as a ``RuntimeError``.
        """
        call = DaemonCall(self)
        task = (call, partial(copy_context().run, fn, *args, **kwargs))
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, name="themis-call", daemon=True).start()
            self._tasks.put(task)
        return call

    def close(self) -> None:
        """Let each thread end after its call, without waiting for any."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._tasks.put(None)
            self._idle = 0

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    # A task may have been put in the queue since the wait ended.
                    if self._idle and self._tasks.empty():
                        self._idle -= 1
                        return
                continue
            if task is None:
                return
            _carry_out(*task)
            del task  # nothing of a call is held while the thread waits for the next
            with self._lock:
                if self._closed:
                    return
                self._idle += 1


def _carry_out(call: DaemonCall, function: Callable[[], Any]) -> None:
    if not call.set_running_or_notify_cancel():
        return
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001 - the boundary to the called code
        call.set_exception(_raisable(error))
        del call  # breaks the cycle of the error's traceback and this frame
    else:
        call.set_result(value)


def _raisable(error: BaseException) -> Exception:
    """Return an error that can safely be raised in the code that waits for the call."""
    if isinstance(error, Exception) and not isinstance(
        error, (StopIteration, futures.CancelledError)
    ):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
