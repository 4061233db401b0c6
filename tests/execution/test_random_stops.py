"""Runs of any make, stopped at any moment: nothing is held, left under way or spent unseen."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from tests.execution.test_budget import Metered, MeteredJudge
from tests.support.runs import experiment, runtime
from themis import use
from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError, RunInterrupted, RunStoppedError
from themis.core.judging import RenderedJudgePrompt
from themis.execution.engine import Engine

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


def held(engine: Engine) -> dict[str, Any]:
    """Return all that an engine holds that is not given back."""
    limits = engine.limits
    found: dict[str, Any] = {
        "flights": len(engine.flights),
        "reserved": engine.budget._reserved.tokens,
        "tasks": limits._runtime.max_concurrent_tasks - limits._tasks._value,
    }
    for name, slots in limits._stages.items():
        found[f"stage {name}"] = limits._runtime.stage_concurrency[name] - slots._value
    for name, endpoint in limits._endpoints.items():
        found[f"endpoint {name}"] = endpoint._let_in + len(endpoint._under_way)
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("seed", range(24))
def test_a_run_stopped_at_any_moment_holds_nothing_and_can_be_gone_on_with(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    engines: list[Engine] = []
    begin = Engine.__init__

    def remember(self: Engine, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        engines.append(self)

    monkeypatch.setattr(Engine, "__init__", remember)
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
        for engine in engines:
            assert held(engine) == {}

    for _ in range(4):
        asyncio.run(turn(settings(draw), draw.uniform(0.0, 0.1)))
    asyncio.run(turn(runtime(), None))
    assert one.run().progress.cases_finished == one.compile().n_cases
