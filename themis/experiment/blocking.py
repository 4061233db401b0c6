"""Asynchronous work for callers that wait for it, in a script or in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from themis.execution.signals import Stopper

T = TypeVar("T")


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]], stopper: Stopper) -> T:
    """Run a coroutine to its end, whether or not this thread has a running loop already.

    Inside a running loop (a notebook) the work gets a loop of its own in another thread, and
    Ctrl-C here asks it to stop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    return _in_thread(work, stopper)


def _in_thread(work: Callable[[], Coroutine[Any, Any, T]], stopper: Stopper) -> T:
    values: list[T] = []
    errors: list[BaseException] = []

    def carry() -> None:
        try:
            values.append(asyncio.run(work()))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=carry, name="themis-run", daemon=True)
    thread.start()
    while thread.is_alive():
        try:
            thread.join(timeout=0.2)
        except KeyboardInterrupt:
            stopper.request()
    if errors:
        raise errors[0]
    return values[0]
