"""SIGKILL at random points: nothing lost, nothing counted twice, nothing answered asked again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.trials import Trial
from themis.testing.crash import CrashHarness

pytestmark = pytest.mark.faults


def _shape(draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(["plain", "plain", "reduced", "judged", "selected"])
    samples = draw.choice([1, 2, 4]) if kind in ("plain", "judged") else draw.choice([2, 3])
    return {
        "cases": draw.choice([3, 25, 80, 250]),
        "samples": samples,
        "concurrency": draw.choice([1, 4, 32]),
        "judges": {"judged": draw.choice([1, 3]), "selected": 1}.get(kind, 0),
        "selector": kind == "selected",
        "reducer": kind == "reduced",
        "flaky": draw.choice([0, 5]),
        "wait_ms": draw.choice([0, 1, 3]),
    }


def test_a_run_that_is_killed_again_and_again_ends_like_one_that_never_was(
    harness: CrashHarness,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted: int = request.config.getoption("--faults")
    kills = again = losses = 0
    repeats: list[str] = []
    seed = 0
    while kills < wanted:
        seed += 1
        draw = random.Random(seed)
        shape = _shape(draw)
        calm = Trial(harness, tmp_path / f"{seed}-calm", shape)
        assert calm.run().status == 0
        calls = len(calm.log.lines())
        trial = Trial(harness, tmp_path / f"{seed}-killed", shape)
        for _ in range(draw.randint(1, 3)):
            at, delay = draw.randint(0, calls), draw.choice([0, 0, draw.uniform(0, 0.012)])
            outcome = trial.run(kill_after=at, delay=delay)
            assert outcome.killed or outcome.status == 0, outcome.error
            kills += outcome.killed
            if trial.db.exists():
                trial.check_file()
        last = trial.run()
        assert last.status == 0, f"shape {shape}: {last.error}"
        assert trial.result()["status"] == "completed"
        assert trial.rows() == calm.rows(), f"seed {seed}: {shape}"
        trial.check_file()
        losses += len(calm.committed() - trial.committed())
        again += trial.again
        repeats += trial.repeats
        assert not trial.repeats, f"seed {seed}: {shape}: {trial.repeats[:5]}"
    with capsys.disabled():
        print(
            f"\n{kills} kills over {seed} runs: {len(repeats)} answered calls repeated, "
            f"{losses} lost, {again} calls made again that were in flight"
        )
    assert losses == 0


def test_a_run_killed_half_way_repeats_no_finished_generation(
    harness: CrashHarness, tmp_path: Path
) -> None:
    shape = {"cases": 2_000, "concurrency": 32, "wait_ms": 0}
    calm = Trial(harness, tmp_path / "calm", shape)
    assert calm.run().status == 0
    trial = Trial(harness, tmp_path / "killed", shape)
    assert trial.run(kill_after=1_000).killed
    kept = trial.committed()
    assert trial.run().status == 0
    assert trial.repeats == []
    assert len(trial.log.lines()) <= 2_000 + 1_000 - len(kept) + 2_000
    assert trial.rows() == calm.rows()
    assert len(trial.committed()) == 2_000
