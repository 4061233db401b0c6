"""Clients that belong to an event loop: made by its first call, closed when no call needs them.

Connections cannot leave the loop that they were made on, and a component may serve several runs at
once on one loop. So a run that is done with a component retires its client, and the client is
closed when the last call that holds it has ended; a call that begins later makes a new one. How
often a component was opened need not be counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

C = TypeVar("C")


class Held(Generic[C]):
    """A client and the calls that hold it; entered around each call, by any number at once."""

    __slots__ = ("_calls", "_close", "_retired", "client")

    def __init__(self, client: C, close: Callable[[C], Awaitable[None]]) -> None:
        self.client = client
        self._close = close
        self._calls = 0
        self._retired = False

    async def __aenter__(self) -> C:
        self._calls += 1
        return self.client

    async def __aexit__(self, *_: object) -> None:
        self._calls -= 1
        if self._retired and not self._calls:
            await self._close(self.client)

    async def retire(self) -> None:
        """Close the client as soon as no call holds it: now, or with the last one."""
        self._retired = True
        if not self._calls:
            await self._close(self.client)


class LoopClients(Generic[C]):
    """One client for each event loop.

    Args:
        make: makes a client, on the loop that it is for.
        close: closes one, on the same loop.
    """

    def __init__(self, make: Callable[[], C], close: Callable[[C], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[Any, Held[C]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"LoopClients({len(self._held)})"

    def current(self) -> Held[C]:
        """Return this loop's client, to be held (``async with``) for as long as a call lasts."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            held = self._held[loop] = Held(self._make(), self._close)
        return held

    async def aclose(self) -> None:
        """Close this loop's client when its last call has ended."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.retire()


async def close_idle_connections(client: Any) -> None:
    """Close the connections that an SDK's client keeps for later, and leave the client open.

    For a client that the user made and may use on another loop, where they would be dead. The HTTP
    library has no public way to its pool; where its parts go by other names nothing is done.

    Args:
        client: the SDK's, over the HTTP library's.
    """
    http = getattr(client, "_client", None)
    mounts = getattr(http, "_mounts", None)
    transports = [getattr(http, "_transport", None), *(mounts or {}).values()]
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        for connection in list(getattr(pool, "connections", None) or ()):
            if connection.is_idle():
                with suppress(Exception):  # one of a loop that has ended cannot be closed
                    await connection.aclose()
