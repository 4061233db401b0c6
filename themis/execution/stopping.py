"""Being told to stop: once to drain, twice to stop at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Stopper:
    """Carries the user's wish to stop into an open run, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[], None] | None = None
        self._abort: Callable[[], None] | None = None

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked > 0

    def request(self) -> None:
        """Ask to drain; asked again, to stop at once."""
        with self._lock:
            self._asked += 1
            if self._loop is None:
                return
            action = self._drain if self._asked == 1 else self._abort
            if action is not None:
                self._loop.call_soon_threadsafe(action)

    def attach(self, drain: Callable[[], None], abort: Callable[[], None]) -> None:
        """Say what draining and stopping at once mean, on the running loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._drain, self._abort = drain, abort
            asked = self._asked
        if asked:
            drain()
        if asked > 1:
            abort()

    def detach(self) -> None:
        """The run has ended."""
        with self._lock:
            self._loop = None


_LISTENING: list[Stopper] = []
"""Runs of the main thread's loop: a signal is for all of them."""


def _request_all() -> None:
    for stopper in _LISTENING:
        stopper.request()


@contextmanager
def on_signals(stopper: Stopper) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a stop, where this is the main thread's loop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    _LISTENING.append(stopper)
    # A loop that cannot, such as Windows', leaves the signals as they are.
    with suppress(NotImplementedError, RuntimeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _request_all)
    try:
        yield
    finally:
        _LISTENING.remove(stopper)
        if not _LISTENING:
            with suppress(NotImplementedError, RuntimeError):
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
