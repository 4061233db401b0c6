"""The interpreter's collector of cycles, slowed down while runs are open.

A run makes some hundred objects a case and keeps them until their events are committed, a batch of
them at a time. By default the collector wakes at every 700 of them and goes through what is alive
over and over, which takes about a tenth of a run's time and finds nothing: Themis makes no cycles.
It stays on, for what the user's components make.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 10_000
"""New objects at which the collector wakes: more than lie between two commits."""

_lock = threading.Lock()
_open = 0
_before: tuple[int, int, int] | None = None


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
