"""Waiting for a condition, such as a run's progress, in place of waiting for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from themis import SqliteRunStore
from themis.core.errors import StoreError
from themis.core.events import EventKind, Stage


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Return once the condition is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)


def steps_done(path: Path, stage: Stage) -> int:
    """Return how many steps of a stage are done in the runs of a file; none where it is not there.

    Another process may be at work on the file.
    """
    if not path.exists():
        return 0
    store = SqliteRunStore(path)
    try:
        events = [event for run in store.runs() for event in store.events(run.run_id)]
    except StoreError:  # the other process is making the file
        return 0
    finally:
        store.close()
    done = [event for event in events if event.kind is EventKind.STEP_DONE]
    return sum(event.address is not None and event.address.stage is stage for event in done)
