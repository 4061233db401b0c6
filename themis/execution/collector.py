"""The collector of cycles, woken less often while a run is open.

Every event lives until its batch is committed. The collector, woken at each 700 new objects, would
go through them again and again and find nothing, since a case leaves no cycle behind.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 20_000
"""New objects at which the collector wakes: more than lie between two commits."""


_lock = threading.Lock()
"""Holds runs of several threads apart, which share the process's one collector."""
_open = 0
"""Runs that are open."""
_before: tuple[int, int, int] | None = None
"""The thresholds before the first of them, where they were changed."""


@contextmanager
def slowed_collector() -> Iterator[None]:
    """Let the collector wake less often, until the last of the runs that are open has ended.

    What the user set is respected: a collector that is off, or wakes as rarely, is left alone, and
    one that is set anew meanwhile stays as it was set.
    """
    global _open, _before  # noqa: PLW0603 - the collector is the process's, and so is this
    with _lock:
        _open += 1
        found = gc.get_threshold()
        if _open == 1 and 0 < found[0] < YOUNG:
            _before = found
            gc.set_threshold(YOUNG, *found[1:])
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if _open == 0 and _before is not None:
                if gc.get_threshold() == (YOUNG, *_before[1:]):
                    gc.set_threshold(*_before)
                _before = None
