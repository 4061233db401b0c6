"""Being told to stop: once to drain, twice to stop at once.

A signal is heard by Python itself and handed to the loop, so that it is also noticed where a
component holds the loop up. Handlers that were there before are put back, and a program's own are
called as well. What draining means is the run's to say.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

_PATIENCE = 0.2
"""Seconds a loop has to come round to a first signal before a second one interrupts it."""
_ENOUGH = 3
"""Signals after which nothing is waited for any more."""


class Stopper:
    """Carries the user's wish to stop into an open run, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come while this very thread holds it
        self._asked = 0
        self._asked_at = 0.0
        self._heard = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[], None] | None = None
        self._abort: Callable[[], None] | None = None

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked > 0

    @property
    def in_vain(self) -> bool:
        """Whether asking does not help: the loop is held up, or it was asked often enough."""
        if self._asked >= _ENOUGH:
            return True
        return self.asked and not self._heard and time.monotonic() - self._asked_at > _PATIENCE

    def request(self) -> None:
        """Ask to drain; asked again, to stop at once."""
        with self._lock:
            self._asked += 1
            if self._asked == 1:
                self._asked_at = time.monotonic()
            if self._loop is None:
                return
            action = self._drain if self._asked == 1 else self._abort
            if action is not None:
                self._loop.call_soon_threadsafe(self._carry_out, action)

    def attach(self, drain: Callable[[], None], abort: Callable[[], None]) -> None:
        """Say what draining and stopping at once mean, on the running loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._drain, self._abort = drain, abort
            asked = self._asked
        if asked:
            self._carry_out(drain)
        if asked > 1:
            abort()

    def detach(self) -> None:
        """The run has ended."""
        with self._lock:
            self._loop = None

    def _carry_out(self, action: Callable[[], None]) -> None:
        self._heard = True
        action()


_LISTENING: list[Stopper] = []
"""Runs of the main thread's loop: a signal is for all of them."""
_BEFORE: dict[int, Any] = {}
"""By signal, what was done on it before the first of these runs began."""
_WOKEN = ExitStack()
"""What wakes the loop, from the first of these runs to the last."""


@contextmanager
def on_signals(stopper: Stopper) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a stop, where this is the main thread's loop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _LISTENING:
        _WOKEN.enter_context(_woken_by_signals())
        for number in (signal.SIGINT, signal.SIGTERM):
            _BEFORE[number] = signal.signal(number, _on_signal)
    _LISTENING.append(stopper)
    try:
        yield
    finally:
        _LISTENING.remove(stopper)
        if not _LISTENING:
            for heard, before in _BEFORE.items():
                # None was set by something other than Python, and cannot be put back.
                signal.signal(heard, signal.SIG_DFL if before is None else before)
            _WOKEN.close()


@contextmanager
def _woken_by_signals() -> Iterator[None]:
    """Let signals wake the running loop, where nothing does already.

    Python hears a signal only between two instructions. One that comes as the loop is about to
    wait, or to another thread, would be heard with the loop's next event, and there may be none.
    """
    loop = asyncio.get_running_loop()
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.setblocking(False)
        mouth.setblocking(False)
        try:
            loop.add_reader(ear, ear.recv, 4096)
        except NotImplementedError:  # a loop of Windows, which sees to it itself
            yield
            return
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        if before != -1:  # the loop's own, or a program's
            signal.set_wakeup_fd(before)
        try:
            yield
        finally:
            now = signal.set_wakeup_fd(-1)
            if now != mouth.fileno():  # not this one's to take away
                signal.set_wakeup_fd(now)
            loop.remove_reader(ear)


def _on_signal(number: int, frame: FrameType | None) -> None:
    in_vain = any(stopper.in_vain for stopper in _LISTENING)
    for stopper in _LISTENING:
        stopper.request()
    before = _BEFORE[number]
    if callable(before) and not _only_interrupts(before):
        before(number, frame)
    elif in_vain:
        raise KeyboardInterrupt


def _only_interrupts(handler: Any) -> bool:
    """Return whether a handler is Python's or asyncio's own, which would cut the drain short."""
    if isinstance(handler, functools.partial):
        return isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
    return handler is signal.default_int_handler
