"""Paying stops when keeping stops, on the real command: a stall, a kill, and what was lost.

Covers: themis.execution.journal, themis.execution.rescue
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults.stalls import FULL, LOCKED, SLOW, Trial, can
from tests.support.lacking import lacking

pytestmark = pytest.mark.faults
CASES = 300
WANTED = {SLOW: "install strace", FULL: "run the tests as root"}


@pytest.mark.parametrize("kind", [LOCKED, SLOW, FULL])
def test_a_stall_and_a_kill_lose_no_more_than_twice_what_is_in_flight(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not can(kind):
        lacking(WANTED[kind], "the store cannot be held up in this way")
    trials = max(1, request.config.getoption("--faults") // 50)
    for number in range(trials):
        trial = Trial(tmp_path / str(number), kind, at_once=8)
        try:
            trial.carry_out(cases=CASES)
        except subprocess.CalledProcessError:  # a disk may not be mounted in every container
            lacking(WANTED[kind], "no disk can be mounted here")
        assert trial.lost <= 2 * trial.at_once, trial
        assert 0 < trial.given < CASES
        assert trial.scores == ("completed", CASES)
