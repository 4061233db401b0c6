"""A run that another process works on: refused with who, where and since when, or waited for.

Covers: themis.cli.run_verbs, themis.execution.lease
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ended
from themis import Experiment
from themis.core.errors import LeaseLostError
from themis.core.store import Lease, Owner, RunStore
from themis.testing.store_samples import note

ELSEWHERE = Owner(host="far-away", boot_id="b", pid=4321, process_start="then")
CONFIG = """
generation: {generator: builtin/demo_generator}
evaluation: {metrics: [builtin/exact_match]}
storage: {store: sqlite, parameters: {path: runs.db}}
datasets:
  - dataset_id: sums
    cases: [{case_id: a, input: {question: 2+2}, expected_output: {answer: "4"}}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An experiment that has no modules of its own."""
    path = tmp_path / "sums.yaml"
    path.write_text(CONFIG)
    return path


def hold(config: Path) -> tuple[RunStore, Lease]:
    """Take the experiment's run, as a process on another machine would."""
    experiment = Experiment.from_config(config)
    lease = experiment.store.lease(experiment.compile().run_id, ELSEWHERE, 20)
    return experiment.store, lease


class GivesBack(logging.Handler):
    """Ends the other process's work once somebody says that he waits for it."""

    def __init__(self, store: RunStore, lease: Lease) -> None:
        super().__init__()
        self.said: list[str] = []
        self._held = store, lease

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        store, lease = self._held
        store.release(lease)


def test_a_run_that_another_owns_is_refused_in_one_line(inside: Any, config: Path) -> None:
    hold(config)[0].close()
    ended: Ended = inside("run", "--config", config)
    assert (ended.code, ended.out) == (3, "")
    (line,) = ended.err.splitlines()
    assert "is being worked on by process 4321 on far-away since 20" in line
    assert line.endswith("wait for it (themis run --wait, or RuntimeConfig.owner_wait), or stop it")


@pytest.mark.parametrize("verb", [["run"], ["replay", "--stage", "score"]])
def test_with_take_over_it_is_begun_at_once_and_the_other_writes_no_more(
    inside: Any, config: Path, verb: list[str]
) -> None:
    if verb != ["run"]:
        assert inside("run", "--config", config).code == 0
    store, lease = hold(config)
    try:
        ended: Ended = inside(*verb, "--config", config, "--take-over")
        assert ended.code == 0, ended.err
        assert ended.data["status"] == "completed"
        with pytest.raises(LeaseLostError, match="nothing was written"):
            store.append(lease.run_id, [note(1_000)], epoch=lease.epoch)
    finally:
        store.close()


@pytest.mark.parametrize("verb", [["run"], ["replay", "--stage", "score"]])
def test_with_wait_it_is_begun_once_it_is_free(inside: Any, config: Path, verb: list[str]) -> None:
    if verb != ["run"]:
        assert inside("run", "--config", config).code == 0
    store, lease = hold(config)
    other = GivesBack(store, lease)
    logging.getLogger("themis").addHandler(other)
    try:
        ended: Ended = inside(*verb, "--config", config, "--wait")
    finally:
        logging.getLogger("themis").removeHandler(other)
        store.close()
    assert ended.code == 0, ended.err
    assert ended.data["status"] == "completed"
    (line,) = other.said
    assert line.endswith("waiting for process 4321 on far-away to end")
