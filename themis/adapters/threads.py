"""Running one blocking call beside the event loop, in a thread that cannot keep a process alive.

The default executor's threads are waited for when a program ends; a graph that hangs would hang
the program with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """Return what a blocking call returns; if cancelled, the call is left to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # type: ignore[arg-type]  # None only beside an error

    def work() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = context.run(call)
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=work, name="themis-graph", daemon=True).start()
    return await done
