"""Nothing is left behind by a run stopped at any moment, nor by fifty runs in one process.

Covers: themis.execution.gather, themis.execution.limits.budget, themis.execution.runner,
themis.execution.session
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.execution.limits.test_budget import Metered, MeteredJudge
from tests.support.runs import experiment, runtime
from themis import use
from themis.core.config import RuntimeConfig, StorageConfig
from themis.core.errors import ProviderError, RunInterrupted, RunStoppedError
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case, GenerationResult
from themis.execution.session import RunSession
from themis.testing import CountingParser, ScriptedJudge

FAULTS: tuple[Any, ...] = (
    TimeoutError("lost"),
    ProviderError("busy", status=429),
    ProviderError("busy", status=503, retry_after=0.02),
    ProviderError("broke", retryable=True),
    ValueError("bad"),
)


class AskingAll:
    """Asks every judge about every sample at once."""

    component_id = "asking_all"
    version = "1"

    def fingerprint(self) -> str:
        return "asking_all"

    async def select(self, candidates: Any, ctx: Any) -> Any:
        asked = [
            judge.judge(RenderedJudgePrompt(text=f"{one.final_output}"))
            for one in candidates
            for judge in ctx.judge_models
        ]
        await asyncio.gather(*asked)
        return candidates[:1]


def made(draw: random.Random) -> Any:
    """Return an experiment of some make."""

    def faults(names: list[str]) -> dict[str, Any]:
        return {one: [draw.choice(FAULTS), None] for one in names if draw.random() < 0.2}

    def wait() -> Any:
        return asyncio.sleep(draw.choice((0.0, 0.0, 0.001, 0.01)))

    n = draw.randint(3, 30)
    judges = [
        MeteredJudge(component_id=f"judge{i}", wait=wait, provider_key=draw.choice((None, "j")))
        for i in range(draw.randint(1, 2))
    ]
    return experiment(
        Metered(failures=faults([f"c{i}" for i in range(n)]), wait=wait),
        cases=n,
        samples=draw.randint(1, 3),
        metrics=[use("builtin/llm_rubric", rubric="Is it?", judge="judge0")],
        judges=judges,
        selector=AskingAll() if draw.random() < 0.5 else None,
    )


def settings(draw: random.Random) -> RuntimeConfig:
    """Return limits of some kind."""
    given: dict[str, Any] = {"max_concurrent_tasks": draw.choice((1, 3, 32)), "drain_timeout": 0.05}
    if draw.random() < 0.5:
        given["stage_concurrency"] = {draw.choice(("generate", "judge", "select")): 2}
    if draw.random() < 0.4:
        given["provider_concurrency"] = {draw.choice(("e", "j")): draw.randint(1, 4)}
    if draw.random() < 0.4:
        limit = {"requests_per_minute": 12_000, "tokens_per_minute": 600_000}
        given["provider_rate_limits"] = {draw.choice(("e", "j")): limit}
    if draw.random() < 0.6:
        given["budget"] = {"tokens": draw.randint(20, 900)}
    return runtime(**given)


def held(session: RunSession) -> dict[str, Any]:
    """Return all that an engine holds that is not given back."""
    limits = session.limits
    found: dict[str, Any] = {
        "flights": len(session.flights),
        "reserved": session.budget._reserved.tokens,
        "tasks": limits._runtime.max_concurrent_tasks - limits._tasks._value,
    }
    for name, slots in limits.stages.items():
        found[f"stage {name}"] = limits._runtime.stage_concurrency[name] - slots._value
    for name, endpoint in limits._endpoints.items():
        found[f"endpoint {name}"] = endpoint._let_in + len(endpoint._under_way)
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("seed", range(24))
def test_a_run_stopped_at_any_moment_holds_nothing_and_can_be_gone_on_with(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    engines: list[RunSession] = []
    begin = RunSession.__init__

    def remember(self: RunSession, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        engines.append(self)

    monkeypatch.setattr(RunSession, "__init__", remember)
    one = made(draw)

    async def run(limits: RuntimeConfig) -> None:
        with suppress(RunInterrupted, RunStoppedError):
            await one.run_async(runtime=limits)

    async def turn(limits: RuntimeConfig, stop_after: float | None) -> None:
        running = asyncio.create_task(run(limits))
        if stop_after is not None:
            await asyncio.sleep(stop_after)
            if draw.random() < 0.5 and engines:
                engines[-1].stop()
            else:
                running.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait({running})
        assert running.cancelled() or running.exception() is None
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for session in engines:
            assert held(session) == {}

    for _ in range(4):
        asyncio.run(turn(settings(draw), draw.uniform(0.0, 0.1)))
    asyncio.run(turn(runtime(), None))
    assert one.run().progress.cases_finished == one.compile().n_cases


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


def is_measured() -> bool:
    """Return whether coverage is measured, which itself remembers every line that was run."""
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None


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
    if not is_measured():
        blocks = sys.getallocatedblocks() - before_blocks
        assert blocks < SLACK_BLOCKS, f"{blocks / RUNS:.0f} blocks a run are left behind"
        assert resident_bytes() - before_bytes < SLACK_BYTES
    assert not open_files() - before_files
    assert threads(few) == few
