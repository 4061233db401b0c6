"""Ctrl-C drains, twice stops at once, SIGTERM is as good; and what was finished is kept.

Covers: themis.execution.runner, themis.execution.signals
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.trials import Trial
from themis.testing.crash import CrashHarness

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_is_in_flight_finish_and_the_run_goes_on_later(
    harness: CrashHarness, tmp_path: Path, number: int
) -> None:
    trial = Trial(harness, tmp_path, {"cases": 60, "concurrency": 4, "wait_ms": 20, "samples": 2})
    outcome = trial.run(kill_after=10, number=number)
    assert outcome.status == 130
    assert "RunInterrupted" in outcome.error
    assert "Run it again" in outcome.error
    started = {" ".join(words) for words in trial.log.lines()}
    assert trial.committed() == started
    assert 10 <= len(started) < 60
    state = trial.state()
    assert state.status == "interrupted"
    assert trial.run().status == 0
    assert trial.repeats == []
    assert trial.again == 0
    assert len(trial.log.lines()) == 120
    assert trial.state().status == "completed"
    assert len(trial.state().attempts) == 1


def test_a_second_signal_stops_at_once(harness: CrashHarness, tmp_path: Path) -> None:
    trial = Trial(
        harness, tmp_path, {"cases": 2_000, "concurrency": 4, "wait_ms": 3_600_000, "samples": 2}
    )
    outcome = trial.run(kill_after=4, number=signal.SIGINT, times=2, delay=0.3)
    assert outcome.status == 130
    assert "RunInterrupted" in outcome.error
    assert trial.state().status == "interrupted"
    assert trial.committed() == set()


def test_a_second_signal_stops_even_what_holds_the_loop_up(
    harness: CrashHarness, tmp_path: Path
) -> None:
    trial = Trial(harness, tmp_path, {"cases": 40, "concurrency": 4, "hang": True})
    outcome = trial.run(kill_after=1, number=signal.SIGINT, times=2, delay=0.6)
    assert outcome.status == 130
    assert trial.state().status == "interrupted"
    assert trial.run(settings={"hang": False}).status == 0
    assert trial.repeats == []
    assert trial.result()["status"] == "completed"


def test_draining_ends_after_its_grace_time(harness: CrashHarness, tmp_path: Path) -> None:
    trial = Trial(
        harness,
        tmp_path,
        {"cases": 2_000, "concurrency": 4, "wait_ms": 3_600_000, "drain_timeout": 0.1},
    )
    outcome = trial.run(kill_after=4, number=signal.SIGTERM)
    assert outcome.status == 130
    assert trial.state().status == "interrupted"


def test_an_interrupted_panel_asks_no_judge_twice(harness: CrashHarness, tmp_path: Path) -> None:
    shape = {"cases": 20, "concurrency": 3, "wait_ms": 10, "judges": 4}
    calm = Trial(harness, tmp_path / "calm", shape)
    assert calm.run().status == 0
    trial = Trial(harness, tmp_path / "killed", shape)
    assert trial.run(kill_after=30).killed
    assert trial.run(kill_after=25, number=signal.SIGINT).status == 130
    assert trial.run().status == 0
    assert trial.repeats == []
    judged = [words for words in trial.log.lines() if words[0] == "judge"]
    assert len(judged) - trial.again <= 80
    assert trial.rows() == calm.rows()


def test_an_interrupted_rerun_goes_on_as_a_rerun(harness: CrashHarness, tmp_path: Path) -> None:
    shape = {"cases": 60, "concurrency": 4, "wait_ms": 2}
    trial = Trial(harness, tmp_path, shape)
    assert trial.run().status == 0
    assert len(trial.log.lines()) == 60
    stopped = trial.run(
        settings={"policy": "rerun", "wait_ms": 10}, kill_after=20, number=signal.SIGINT
    )
    assert stopped.status == 130
    assert trial.state().status == "interrupted"
    started = len(trial.log.lines())
    assert 80 <= started < 120
    assert trial.run().status == 0  # a plain run goes on with what was begun
    assert len(trial.log.lines()) == 120
    state = trial.state()
    assert state.status == "completed"
    assert [one["mode"] for one in state.attempts] == ["run", "rerun"]
    assert trial.run().status == 0
    assert len(trial.log.lines()) == 120


def test_a_killed_rerun_goes_on_as_a_rerun(harness: CrashHarness, tmp_path: Path) -> None:
    trial = Trial(harness, tmp_path, {"cases": 60, "concurrency": 4, "wait_ms": 2})
    assert trial.run().status == 0
    # Slow enough for commits to follow closely: what is in flight at the kill is a few calls.
    assert trial.run(settings={"policy": "rerun", "wait_ms": 40}, kill_after=30).killed
    assert trial.run(settings={"policy": "rerun"}).status == 0
    state = trial.state()
    assert [one["mode"] for one in state.attempts] == ["run", "rerun"]
    assert 120 <= len(trial.log.lines()) < 150  # had it begun anew, 30 calls would be made again
    assert state.status == "completed"
