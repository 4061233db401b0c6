"""SIGKILL at random points: nothing lost, nothing counted twice, nothing answered asked again.

Each trial is compared with a run of the same shape that was never killed. Equal must be: for each
case and step address the newest event's kind, attempt, candidate id, key, version, failure and
payload, all but what was measured (latencies, the tries before a success); how each case and the
run ended; the score table, row by row; the headline of each metric. The journal must be numbered
without a gap and hold each step of an attempt once.

Covers: themis.execution.journal, themis.execution.lease, themis.stores.sqlite_journal,
themis.testing.crash
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults.trials import RunStanding, Trial
from themis.core.events import Stage
from themis.testing import CrashHarness

pytestmark = pytest.mark.faults

SHAPES: list[dict[str, Any]] = [
    {"cases": 3, "concurrency": 1},
    {"cases": 25, "concurrency": 4, "flaky": 5},
    {"cases": 80, "samples": 2, "concurrency": 32},
    {"cases": 250, "concurrency": 32, "wait_ms": 0},
    {"cases": 1_000, "concurrency": 128, "wait_ms": 0},
    {"cases": 25, "samples": 4, "concurrency": 4, "wait_ms": 3},
    {"cases": 80, "samples": 3, "reducer": True, "concurrency": 8, "flaky": 5},
    {"cases": 250, "samples": 2, "reducer": True, "concurrency": 32},
    {"cases": 25, "judges": 1, "concurrency": 4},
    {"cases": 80, "judges": 3, "concurrency": 32, "flaky": 5},
    {"cases": 40, "samples": 2, "judges": 3, "concurrency": 8, "wait_ms": 3},
    {"cases": 25, "samples": 3, "selector": True, "judges": 1, "concurrency": 4},
    {"cases": 80, "samples": 2, "selector": True, "judges": 1, "concurrency": 32, "wait_ms": 0},
    {"cases": 40, "samples": 4, "selector": True, "judges": 1, "reducer": True, "concurrency": 8},
]
"""Runs, small and large, through every stage."""


@dataclass
class Calm:
    """What a run came to that was never killed."""

    standing: RunStanding
    result: dict[str, Any]
    committed: set[str]
    calls: int


@dataclass
class Tally:
    """What a suite of kills comes to, counted by several threads."""

    wanted: int
    kills: int = 0
    runs: int = 0
    again: int = 0
    losses: int = 0
    repeats: list[str] = field(default_factory=list)
    by_kind: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    calm: threading.Lock = field(default_factory=threading.Lock)

    def take(self, kind: str, kills: int, trial: Trial, losses: int) -> None:
        """Add a trial."""
        with self.lock:
            self.runs += 1
            self.kills += kills
            self.again += trial.again
            self.losses += losses
            self.repeats += trial.repeats
            self.by_kind[kind] = self.by_kind.get(kind, 0) + kills


class Suite:
    """Trials of one warm process, and the calm runs that they are held to.

    Args:
        harness: the warm process.
        folder: where the calm runs are made.
        known: calm runs so far, shared with other suites.
        lock: held while one is made.
    """

    def __init__(
        self, harness: CrashHarness, folder: Path, known: dict[str, Calm], lock: threading.Lock
    ) -> None:
        self.harness = harness
        self._folder = folder
        self._known = known
        self._lock = lock

    def calm(self, shape: dict[str, Any], *, rerun: bool = False) -> Calm:
        """Return what a shape comes to when it is left alone; run once."""
        name = f"{rerun} {sorted(shape.items())}"
        with self._lock:
            if name not in self._known:
                self._known[name] = self._left_alone(shape, rerun=rerun)
            return self._known[name]

    def _left_alone(self, shape: dict[str, Any], *, rerun: bool) -> Calm:
        trial = Trial(self.harness, self._folder / str(len(self._known)), shape)
        finish(trial)
        calls = len(trial.log.lines())
        if rerun:
            finish(trial, policy="rerun")
            calls = len(trial.log.lines()) - calls
        return Calm(trial.standing(), trial.result(), trial.committed(rerun=rerun), calls)

    def kill(self, trial: Trial, draw: random.Random, calls: int, **settings: Any) -> int:
        """Run for a while, kill, and look at what is left; return whether it came to a kill."""
        at = draw.randint(0, calls)
        delay = draw.choice([0.0, draw.uniform(0, 0.012), draw.uniform(0, 0.1)])
        outcome = trial.run(kill_after=at, delay=delay, settings=settings)
        assert outcome.killed or outcome.status == 0, outcome.error
        if trial.db.exists():
            trial.check_file()
        return outcome.killed


def finish(trial: Trial, **settings: Any) -> None:
    """Let a run come to its end."""
    last = trial.run(settings=settings)
    assert last.status == 0, f"{trial.settings}: {last.error}"


def agree(trial: Trial, calm: Calm, *, shared: bool = False) -> None:
    """Assert that a run is what it would have been, had it not been killed.

    Args:
        trial: the run.
        calm: what it would have been.
        shared: whether selections may be another run's, whose judges this one then did not ask.
    """
    found, result = trial.standing(), trial.result()
    if shared:
        found = {**{step: calm.standing[step] for step in calm.standing if _asks(step)}, **found}
    differing = [step for step in found.keys() | calm.standing.keys()
                 if found.get(step) != calm.standing.get(step)]  # fmt: skip
    assert differing == [], (
        f"{trial.settings}: {[(found.get(s), calm.standing.get(s)) for s in differing[:2]]}"
    )
    assert result["status"] == "completed"
    assert result["rows"] == calm.result["rows"]
    assert result["headline"] == calm.result["headline"]
    trial.check_journal()
    trial.check_file()
    assert trial.repeats == []


def _asks(step: tuple[int | None, Any]) -> bool:
    """Return whether a step is a selector's question to a judge."""
    address = step[1]
    return address != "end" and address.stage is Stage.SELECT and address.call is not None


# ── What is killed ────────────────────────────────────────────────────────────────────────────────


def a_run(suite: Suite, draw: random.Random, folder: Path, tally: Tally) -> None:
    """A run is killed, gone on with, killed again, and in the end let be."""
    shape = draw.choice(SHAPES)
    calm = suite.calm(shape)
    trial = Trial(suite.harness, folder, shape)
    kills = sum(suite.kill(trial, draw, calm.calls) for _ in range(draw.randint(2, 6)))
    finish(trial)
    agree(trial, calm)
    tally.take("of runs and of resuming", kills, trial, len(calm.committed - trial.committed()))


def a_rerun(suite: Suite, draw: random.Random, folder: Path, tally: Tally) -> None:
    """A finished run is run again, and that is killed; what is plainly run goes on with it."""
    shape = draw.choice(SHAPES)
    calm = suite.calm(shape, rerun=True)
    trial = Trial(suite.harness, folder, shape)
    finish(trial)
    kills = 0
    for _ in range(draw.randint(2, 5)):
        if trial.started(2):
            how = draw.choice(["rerun", "auto"])
            if how == "rerun" and trial.state().status == "completed":
                break  # it came to its end before it could be killed: this would be a third
            kills += suite.kill(trial, draw, calm.calls, policy=how)
        else:
            kills += suite.kill(trial, draw, calm.calls, policy="rerun")
    if not trial.started(2) or trial.state().status != "completed":
        finish(trial, policy="rerun")
    else:
        finish(trial)
    agree(trial, calm)
    losses = len(calm.committed - trial.committed(rerun=True))
    tally.take("of reruns", kills, trial, losses)


def one_of_two(suite: Suite, draw: random.Random, folder: Path, tally: Tally) -> None:
    """Two processes want one run: whoever has it is killed, and the other takes it over."""
    shape = draw.choice(SHAPES)
    calm = suite.calm(shape)
    trial = Trial(suite.harness, folder, shape)
    kills = 0
    for _ in range(draw.randint(1, 3)):
        with trial.counting():
            first = trial.start("first", owner_wait=None)
            first.adds(draw.randint(0, calm.calls // 2))
            second = trial.start("second", owner_wait=None)
            second.adds(draw.randint(0, calm.calls // 2))
            first.send()
            time.sleep(draw.uniform(0, 0.05))
            kills += first.wait().killed
            if draw.random() < 0.5:
                second.send()
            ended = second.wait()
            kills += ended.killed
        assert ended.killed or ended.status == 0, ended.error
        trial.check_file()
    finish(trial)
    agree(trial, calm)
    losses = len(calm.committed - trial.committed())
    tally.take("between two processes on a run", kills, trial, losses)


def two_runs(suite: Suite, draw: random.Random, folder: Path, tally: Tally) -> None:
    """Two runs that share all but a metric are made in one file at once; both are killed."""
    shape = draw.choice([shape for shape in SHAPES if shape["cases"] <= 250])
    shapes = [shape, {**shape, "metric": "another/metric"}]
    calms = [suite.calm(one) for one in shapes]
    db = str(folder / "shared.db")
    trials = [
        Trial(suite.harness, folder / str(number), {**one, "db": db})
        for number, one in enumerate(shapes)
    ]
    kills = [0, 0]
    for _ in range(draw.randint(1, 3)):
        with trials[0].counting(), trials[1].counting():
            both = [trial.start() for trial in trials]
            for number in draw.sample([0, 1], 2):
                both[number].adds(draw.randint(0, calms[number].calls // 2))
                both[number].send()
            for number, ended in enumerate([one.wait() for one in both]):
                assert ended.killed or ended.status == 0, ended.error
                kills[number] += ended.killed
        trials[0].check_file()
    for trial in trials:
        finish(trial)
    assert trials[0].superseded() == []
    for trial, calm, killed in zip(trials, calms, kills, strict=True):
        agree(trial, calm, shared=True)
        asked = {call for one in trials for call in one.committed()}
        losses = len(calm.committed - asked)
        tally.take("of two runs in one file", killed, trial, losses)


KINDS: list[Callable[[Suite, random.Random, Path, Tally], None]] = [
    *(a_run, a_run, a_run, a_rerun, one_of_two, two_runs)
]


def _work(folder: Path, tally: Tally, seeds: Iterator[int], known: dict[str, Calm]) -> None:
    with CrashHarness(["themis.testing.scripted", "themis.stores.sqlite"]) as harness:
        suite = Suite(harness, folder / "calm", known, tally.calm)
        while tally.kills < tally.wanted:
            seed = next(seeds)
            draw = random.Random(seed)
            kind = KINDS[seed % len(KINDS)]
            try:
                kind(suite, draw, folder / f"{seed}", tally)
            except BaseException as error:
                error.add_note(f"{kind.__name__}, seed {seed}")
                tally.wanted = 0  # the others need not go on
                raise


def test_whatever_is_killed_again_and_again_ends_like_what_never_was(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted: int = request.config.getoption("--faults")
    workers = 1 if wanted < 50 else 2
    tally, seeds, began = Tally(wanted), count(0), time.monotonic()
    known: dict[str, Calm] = {}
    with ThreadPoolExecutor(workers) as threads:
        tasks = [threads.submit(_work, tmp_path, tally, seeds, known) for _ in range(workers)]
    for task in tasks:
        task.result()
    with capsys.disabled():
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(tally.by_kind.items()))
        print(
            f"\n{tally.kills} kills over {tally.runs} runs ({kinds}) "
            f"in {time.monotonic() - began:.0f} s: {len(tally.repeats)} answered calls repeated, "
            f"{tally.again} calls made again that were in flight, {tally.losses} losses"
        )
    assert tally.kills >= wanted
    assert tally.losses == 0
    assert tally.repeats == []


def test_a_run_killed_half_way_repeats_no_finished_generation(
    harness: CrashHarness, tmp_path: Path
) -> None:
    shape = {"cases": 2_000, "concurrency": 32, "wait_ms": 0}
    calm = Suite(harness, tmp_path / "calm", {}, threading.Lock()).calm(shape)
    trial = Trial(harness, tmp_path / "killed", shape)
    assert trial.run(kill_after=1_000).killed
    kept = trial.committed()
    finish(trial)
    assert trial.repeats == []
    assert len(trial.log.lines()) <= 2_000 + 1_000 - len(kept) + 2_000
    agree(trial, calm)
    assert len(trial.committed()) == 2_000
