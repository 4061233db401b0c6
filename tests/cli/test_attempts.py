"""RUN@n on the command line, and the options that say what a run may reuse.

Covers: themis.cli.reading_verbs, themis.cli.run_verbs, themis.cli.runs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def ran(inside: Any, project: Path) -> tuple[Any, Path]:
    """A project whose run was made and rerun."""
    config = project / "themis.yaml"
    for option in ((), ("--rerun",)):
        assert inside("run", "--config", config, *option).code == 0
    return inside, project / ".themis" / "runs.db"


@pytest.mark.parametrize("name", ["latest", "beginning", "full"])
def test_every_verb_that_looks_at_a_run_takes_one_of_its_attempts(
    ran: tuple[Any, Path], name: str
) -> None:
    inside, store = ran
    full = inside("quickcheck", "latest", "--store", store).data["run_id"]
    run = {"latest": "latest", "beginning": full[:6], "full": full}[name]
    for attempt, later in ((1, [2]), (2, [])):
        at = (f"{run}@{attempt}", "--store", store)
        checked = inside("quickcheck", *at).data
        assert (checked["run_id"], checked["attempt"]) == (full, attempt)
        assert checked["later_attempts"] == later
        state = inside("inspect", "state", *at).data
        assert (state["attempt"], len(state["attempts"])) == (attempt, attempt)
        assert inside("inspect", "snapshot", *at).data["run_id"] == full
        report = inside("report", *at).out
        assert ("as of attempt 1; there are later ones: 2" in report) == (attempt == 1)
        bundle = inside("export", "generation", *at)
        assert bundle.code == 0, bundle.err
    cases = json.loads(
        inside("report", f"{run}@1", f"{run}@2", "--store", store, "--format", "json").out
    )
    assert [one["state"]["attempt"] for one in cases["runs"]] == [1, 2]


def test_an_attempt_that_is_not_there_is_one_line(ran: tuple[Any, Path]) -> None:
    inside, store = ran
    for verb in (("report",), ("quickcheck",), ("inspect", "state"), ("export", "evaluation")):
        ended = inside(*verb, "latest@7", "--store", store)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.endswith("has no attempt 7; it has 1 (run), 2 (rerun)\n")
        assert len(ended.err.splitlines()) == 1
    assert "write RUN@N" in inside("report", "latest@two", "--store", store).err


def test_only_a_whole_run_is_gone_on_with(ran: tuple[Any, Path], project: Path) -> None:
    ended = ran[0]("resume", "latest@1", "--config", project / "themis.yaml")
    assert ended.code == 2
    assert "names an attempt, which can only be looked at" in ended.err


def test_fresh_and_max_age_say_what_may_be_reused(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    first = inside("run", "--config", config).data
    assert inside("run", "--config", config, "--max-age", "7d").data == first
    fresh = inside("run", "--config", config, "--fresh").data
    assert (fresh["attempt"], fresh["steps_reused"]) == (2, 0)
    assert fresh["steps_renewed"] == fresh["steps_done"]
    assert fresh["oldest"] > first["newest"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fresh", "--max-age", "1h"), "--fresh and --max-age: give one of them"),
        (("--rerun", "--fresh"), "--rerun and --fresh: give one of them"),
        (("--max-age", "none"), "--max-age = 'none': a duration is a whole number"),
        (("--max-age", "1.5h"), "--max-age = '1.5h': a duration is a whole number"),
        (("--set", "runtime.reuse=1w"), "or 'all', or 'none'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    inside: Any, project: Path, options: tuple[str, ...], said: str
) -> None:
    ended = inside("run", "--config", project / "themis.yaml", *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert not (project / ".themis").exists()
