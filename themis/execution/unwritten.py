"""A journal of a run that is only looked at: it reads the store and keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from themis.core.base import ArtifactKey
from themis.core.events import Artifact, Event
from themis.core.store import RunStore

T = TypeVar("T")


class UnwrittenJournal:
    """Stands where an open run has its ``Journal``: it asks at once and writes nothing.

    Args:
        store: what is read.
        tell: is told of each event that a run would journal.
    """

    def __init__(self, store: RunStore, tell: Callable[[Event], None]) -> None:
        self._store = store
        self._tell = tell
        self._asked: dict[ArtifactKey, asyncio.Future[Artifact | None]] = {}
        self.found: dict[ArtifactKey, Artifact] = {}
        """What look-ups found; whoever goes on to other cases clears it."""

    def append(self, event: Event) -> None:
        """Tell of an event, and forget it."""
        self._tell(event)

    async def read_soon(self, function: Callable[[], T]) -> T:
        """Run the function, here and now."""
        return function()

    async def flush(self) -> None:
        """Return at once: nothing is queued."""

    def is_behind(self) -> bool:
        """Return that nothing waits to be kept."""
        return False

    def hurry(self) -> None:
        """Do nothing: nothing is queued."""

    async def next_commit(self) -> None:
        """Return at once: nothing is queued."""

    def end_waiting(self) -> None:
        """Do nothing: nobody waits."""

    async def lookup(self, key: ArtifactKey) -> Artifact | None:
        """Return what the store has under a key; what many cases ask goes as one question."""
        asked = self._asked.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[key] = loop.create_future()
            if len(self._asked) == 1:
                loop.call_soon(loop.call_soon, self._answer)  # once all that is ready has asked
        return await asked

    def _answer(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            found: Mapping[ArtifactKey, Artifact] = self._store.lookup(list(asked))
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            for future in asked.values():
                future.set_exception(error)
            return
        self.found.update(found)
        for key, future in asked.items():
            future.set_result(found.get(key))
