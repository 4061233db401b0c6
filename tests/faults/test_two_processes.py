"""Two processes and one run, or one file: one works on a run at a time, each step is kept once.

Covers: themis.execution.lease, themis.stores.leasing, themis.stores.sqlite
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.trials import Trial
from themis.testing import CrashHarness, Running

pytestmark = pytest.mark.faults
SHAPE = {"cases": 30, "samples": 2, "concurrency": 4}


def trials_wanted(request: pytest.FixtureRequest) -> int:
    """Twenty where hundreds of kills are asked for, otherwise as many as a minute has room for."""
    return 20 if request.config.getoption("--faults") >= 100 else 5


def both(trial: Trial, **settings: object) -> list[Running]:
    return [trial.start(name, **settings) for name in ("first", "second")]


def wait_for_the_first_to_end(running: list[Running]) -> Running:
    while True:
        for one in running:
            if one.ended():
                return one


def assert_whole(trial: Trial) -> None:
    """Assert that the run is there once: every row, every step, every call."""
    rows = [(row["case_id"], row["candidate_id"], row["metric_id"]) for row in trial.rows()]
    assert len(rows) == len(set(rows)) == 60
    assert {row["outcome"] for row in trial.rows()} == {"correct", "incorrect"}
    assert trial.state().status == "completed"
    assert len(trial.state().attempts) == 1
    assert set(Counter(map(tuple, trial.log.lines())).values()) == {1}
    assert len(trial.log.lines()) == 60
    trial.check_journal()
    trial.check_file()


def test_of_two_processes_started_together_one_works_and_the_other_says_who_does(
    harness: CrashHarness, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for number in range(trials_wanted(request)):
        folder = tmp_path / str(number)
        gate = folder / "gate"
        trial = Trial(harness, folder, {**SHAPE, "gate": str(gate)})
        running = both(trial)
        refused = wait_for_the_first_to_end(running)  # nothing is answered before the gate opens
        (working,) = [one for one in running if one is not refused]
        gate.touch()
        said = refused.wait()
        assert said.status == 1
        line = said.error.strip().splitlines()[-1]
        assert "RunOwnedError" in line
        found = re.search(r"worked on by process (\d+) on (\S+) since (\d{4}-[\d :-]+ UTC);", line)
        assert found is not None, line
        assert found[1] == str(working.pid)
        assert found[2] == socket.gethostname()
        ended = working.wait()
        assert ended.status == 0, ended.error
        assert_whole(trial)


def test_a_process_that_waits_its_turn_finds_the_run_finished_and_does_nothing_again(
    harness: CrashHarness, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    trial = Trial(harness, tmp_path, {**SHAPE, "gate": str(gate)})
    running = both(trial, owner_wait=None)
    running[0].adds(4)
    assert not any(one.ended() for one in running)
    gate.touch()
    ended = [one.wait() for one in running]
    assert [one.status for one in ended] == [0, 0], [one.error for one in ended]
    assert sum("waiting for process" in one.error for one in ended) <= 1
    assert_whole(trial)


def test_a_process_that_waits_takes_over_from_one_that_is_killed(
    harness: CrashHarness, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    trial = Trial(harness, tmp_path, {**SHAPE, "gate": str(gate)})
    first = trial.start("first")
    assert first.adds(4)
    second = trial.start("second", owner_wait=None)
    while "waiting for process" not in second.said():
        assert not second.ended()
    first.send()
    assert first.wait().killed
    gate.touch()
    ended = second.wait()
    assert ended.status == 0, ended.error
    assert f"waiting for process {first.pid}" in ended.error
    assert trial.state().status == "completed"
    assert len(trial.log.lines()) == 64  # the first's four calls were in flight
    trial.check_journal()


def test_two_runs_in_one_file_that_share_their_work_are_both_right_and_keep_it_once(
    harness: CrashHarness, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shape = {**SHAPE, "wait_ms": 2}
    other = {**shape, "metric": "another/metric"}
    calm = [Trial(harness, tmp_path / name, one) for name, one in (("a", shape), ("b", other))]
    assert [trial.run().status for trial in calm] == [0, 0]
    for number in range(trials_wanted(request)):
        db = str(tmp_path / f"{number}.db")
        trials = [
            Trial(harness, tmp_path / f"{number}-{name}", {**one, "db": db})
            for name, one in (("a", shape), ("b", other))
        ]
        ended = [one.wait() for one in [trial.start() for trial in trials]]
        assert [one.status for one in ended] == [0, 0], [one.error for one in ended]
        for trial, alone in zip(trials, calm, strict=True):
            assert trial.standing() == alone.standing()
            assert trial.rows() == alone.rows()
            trial.check_journal()
        assert trials[0].superseded() == []
        trials[0].check_file()
