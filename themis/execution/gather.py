"""Awaiting several steps of a case side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from themis.execution.failures import WorkStoppedError

T = TypeVar("T")


async def gather(promises: Sequence[Awaitable[T]]) -> list[T]:
    """Await all of them side by side, to the end of each; then raise the first error, if any.

    A step that is not taken any more must not cost its siblings a call that is in flight.
    """
    if len(promises) == 1:
        return [await promises[0]]
    if not promises:
        return []
    tasks = [asyncio.ensure_future(promise) for promise in promises]
    try:
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    errors = [one for one in ended if isinstance(one, BaseException)]
    if errors:
        raise next((one for one in errors if not isinstance(one, WorkStoppedError)), errors[0])
    return [one for one in ended if not isinstance(one, BaseException)]
