"""Fifty runs in one process leave as little behind as one: no files, threads, tasks or memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import experiment
from themis import use
from themis.core.config import StorageConfig
from themis.core.models import Case, GenerationResult
from themis.testing import CountingParser, ScriptedJudge

RUNS = 50
SLACK_BLOCKS = 40 * RUNS
"""Of Python's memory, for what its own caches come to; a run that is kept holds thousands."""
SLACK_BYTES = 8 * 2**20
"""Of the process's memory, for what its allocator does not give back."""


class InThread:
    """A sync generator, which is called in a thread of the run's."""

    component_id = "generator/in_thread"
    version = "1"

    def __init__(self, name: str) -> None:
        self.name = name

    def fingerprint(self) -> str:
        return self.name

    def generate(self, case: Case, ctx: Any) -> GenerationResult:
        return GenerationResult(candidate_id=case.case_id, final_output=case.input)


def open_files() -> Counter[str]:
    """Return what this process has open, by where it leads."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
        except OSError:
            continue  # the folder's own
    return found


def resident_bytes() -> int:
    """Return how much memory the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def threads(at_most: int) -> int:
    """Return how many threads there are, once those that were told to end have ended."""
    for _ in range(500):
        if threading.active_count() <= at_most:
            break
        time.sleep(0.01)
    return threading.active_count()


def run(number: int, folder: Path, store: str) -> None:
    storage = StorageConfig(store="memory")
    if store == "sqlite":
        path = str(folder / f"{number % 5}.db")
        storage = StorageConfig(store="sqlite", parameters={"path": path})
    one = experiment(
        InThread(f"{number}"),
        cases=6,
        samples=2,
        reducer="builtin/majority_vote",
        parser=CountingParser(),
        metrics=["builtin/exact_match", use("builtin/llm_rubric", rubric="Right?")],
        judges=[ScriptedJudge()],
        storage=storage,
    )
    result = one.run(progress=False)
    assert result.status == "completed"
    assert len(list(result.score_rows())) == 12
    one.store.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count open files by")
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_after_fifty_runs_nothing_has_grown(store: str, tmp_path: Path) -> None:
    few = threading.active_count()
    for number in range(8):  # what is loaded and cached once
        run(number, tmp_path, store)
    assert threads(few) == few
    gc.collect()  # what earlier tests left open must not be closed in between
    before_files = open_files()
    before_blocks, before_bytes = sys.getallocatedblocks(), resident_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for number in range(8, 8 + RUNS):
            run(number, tmp_path, store)
        gc.collect()
    blocks = sys.getallocatedblocks() - before_blocks
    assert blocks < SLACK_BLOCKS, f"{blocks / RUNS:.0f} blocks a run are left behind"
    assert resident_bytes() - before_bytes < SLACK_BYTES
    assert not open_files() - before_files
    assert threads(few) == few
