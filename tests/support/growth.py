"""Whether work grows with the length of a text, and no faster: by counting, not by the clock."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

COUNTED = 10_000
"""Characters of the shorter text whose calls are counted."""
CPU_SECONDS = 20.0
"""Many times what a long text needs; a search that goes back at every letter needs hours."""


def assert_linear(read: Callable[[str], Any], text: str) -> None:
    """Assert that twice the text takes twice the calls, and the whole of it little CPU time."""
    with _within(CPU_SECONDS):
        half, whole = calls_of(read, text[:COUNTED]), calls_of(read, text[: 2 * COUNTED])
    assert whole <= 2.5 * half + 1_000, f"{half:,} calls for half of the text, {whole:,} for all"
    with _within(CPU_SECONDS):
        read(text)


def calls_of(read: Callable[[str], Any], text: str) -> int:
    """Return how many functions are called while a text is read."""
    count = 0

    def called(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        read(text)
    finally:
        sys.setprofile(before)
    return count


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Fail, in the midst of a regular expression too, once so much CPU time is used."""

    def end(*_: Any) -> None:
        raise AssertionError(f"not read within {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
