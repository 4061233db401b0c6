"""How soon a finished run can be looked at, in a process that has not read it before.

    python -m benchmarks.reading QUESTION RUN_ID PATH

Questions: ``state`` (how it stands: status, attempts, progress), ``headline`` (the metrics with
their intervals), ``page`` (its first fifty cases), ``report`` (its Markdown report). What Python
loads for it is loaded before the clock starts, by looking at a small run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.trivial import experiment
from themis import (
    Reporter,
    RunResult,
    RunStore,
    get_execution_state,
    get_run_snapshot,
    sqlite_store,
)

_PAGE = 50


def _state(store: RunStore, run_id: str) -> object:
    return get_execution_state(store, run_id)


def _headline(store: RunStore, run_id: str) -> object:
    return RunResult(store, get_run_snapshot(store, run_id)).table()


def _page(store: RunStore, run_id: str) -> object:
    return RunResult(store, get_run_snapshot(store, run_id)).cases[:_PAGE]


def _report(store: RunStore, run_id: str) -> object:
    return Reporter(store).render(run_id, format="markdown")


QUESTIONS: dict[str, Callable[[RunStore, str], object]] = {
    "state": _state,
    "headline": _headline,
    "page": _page,
    "report": _report,
}


def main() -> None:
    """Ask and print the figures as JSON."""
    ask, run_id, path = QUESTIONS[sys.argv[1]], sys.argv[2], sys.argv[3]
    with TemporaryDirectory() as folder:
        small = experiment(_PAGE, str(Path(folder) / "small.db"))
        ask(small.store, small.run(progress=False).run_id)
        small.store.close()
    store = sqlite_store(path)
    cpu, wall = time.process_time(), time.perf_counter()
    found = ask(store, run_id)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert found
    store.close()
    print(json.dumps({"cpu_s": cpu, "wall_s": wall}))


if __name__ == "__main__":
    main()
