"""Whoever works on a run and lives keeps it, and whoever is dead holds nobody up, by any clock.

Covers: themis.execution.lease, themis.execution.owners, themis.stores.leasing
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.clocks import (
    AT_ONCE,
    CLOCKS,
    REFUSED,
    ROWS,
    Row,
    Trial,
    reused_pid,
)

pytestmark = pytest.mark.faults
KINDS = {(row.where, row.expected): row for row in ROWS}
"""The last row of each kind: in those the clocks are wrong, go back, or the owner is stopped."""


@pytest.mark.parametrize(("where", "expected"), KINDS)
def test_nobody_alive_is_put_out_and_nobody_waits_for_a_wrong_clock(
    where: str, expected: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows = [KINDS[where, expected]]
    if request.config.getoption("--faults") >= 100:
        rows = [row for row in ROWS if (row.where, row.expected) == (where, expected)]
    for number, row in enumerate(rows):
        trial = Trial(tmp_path / str(number), row)
        trial.carry_out()
        check(trial, row)


def check(trial: Trial, row: Row) -> None:
    assert trial.found == row.expected, trial.said
    status, attempts, calls = trial.standing()
    assert (status, attempts) == ("completed", 1)
    if row.expected == REFUSED:
        assert trial.ending is not None
        assert trial.ending[0] == 0, trial.ending
        assert calls == 2
        assert said_since(trial) == pytest.approx(time.time() + CLOCKS[row.clock], abs=600)
        return
    assert calls == 4  # the two that were in flight were asked again
    if row.owner == "stopped":  # it went on after it had been put out
        assert trial.ending is not None
        assert trial.ending[0] == 3
        assert "nothing was written" in trial.ending[1]


def said_since(trial: Trial) -> float:
    """Return the moment since when the owner is said to work, by its own clock."""
    found = re.search(r"since (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC; it", trial.said)
    assert found is not None, trial.said
    return datetime.fromisoformat(f"{found[1]}+00:00").timestamp()


def test_a_killed_owner_whose_pid_is_another_process_by_now_holds_nobody_up(
    tmp_path: Path,
) -> None:
    assert reused_pid(tmp_path) == AT_ONCE
