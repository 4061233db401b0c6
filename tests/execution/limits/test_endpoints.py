"""Limits of stages and endpoints: how many calls are in flight, and what waits holds no slot.

Covers: themis.execution.limits.endpoints, themis.execution.session
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.runs import experiment
from tests.support.virtual_time import run_virtually
from themis import use
from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.core.models import ReducedCandidate
from themis.core.results import RunStatus
from themis.execution.limits.endpoints import RunLimits
from themis.execution.session import RunSession
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries that the engine asked for; none of them takes time."""
    asked: list[float] = []

    async def pause(self: RunSession, seconds: float) -> None:
        asked.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(RunSession, "pause", pause)
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    return asked


def _busy(n: int, **facts: Any) -> list[BaseException | None]:
    return [ProviderError("busy", status=503, **facts) for _ in range(n)]


async def _short() -> None:
    await asyncio.sleep(0.002)


@pytest.mark.parametrize(("samples", "cap"), [(1, 3), (4, 3), (4, 1)])
def test_no_more_calls_are_in_flight_than_allowed(samples: int, cap: int) -> None:
    generator = ScriptedGenerator(wait=_short)
    experiment(generator, cases=12, samples=samples, max_concurrent_tasks=cap).run()
    assert generator.peak == cap


def test_stages_and_endpoints_have_limits_of_their_own() -> None:
    generator = ScriptedGenerator(wait=_short, provider_key="here")
    judge = ScriptedJudge(wait=_short, provider_key="there")
    experiment(
        generator,
        cases=20,
        samples=2,
        metrics=[use("builtin/llm_rubric", rubric="Good?")],
        judges=[judge],
        provider_concurrency={"here": 5},
        stage_concurrency={"judge": 2},
    ).run()
    assert (generator.peak, judge.peak) == (5, 2)
    generator = ScriptedGenerator(wait=_short, provider_key="here")
    experiment(
        generator, cases=20, provider_concurrency={"here": 9}, stage_concurrency={"generate": 4}
    ).run()
    assert generator.peak == 4


def test_a_call_that_waits_for_its_next_try_holds_no_slot() -> None:
    order: list[str] = []

    def answers(case: Any, ctx: Any) -> Any:
        order.append(case.case_id)
        return case.input

    generator = ScriptedGenerator(answers, failures={"c0": _busy(1, retry_after=0.2)})
    experiment(
        generator, cases=2, samples=1, max_concurrent_tasks=2, stage_concurrency={"generate": 1}
    ).run()
    assert order == ["c1", "c0"]


@pytest.mark.parametrize(
    "setting",
    [
        {"provider_rate_limits": {"endpoint": 60}},
        {"provider_concurrency": {"endpoint": 2}},
        {"prices": {"endpoint": {"input": 1.0, "output": 1.0}}},
    ],
)
def test_a_setting_for_an_endpoint_that_nothing_asks_is_told(setting: dict[str, Any]) -> None:
    generator = ScriptedGenerator(provider_key="endpoint:here")
    result = experiment(generator, **setting).run()
    (note,) = result.notes
    assert "names 'endpoint', which nothing in this run asks" in note
    assert "did you mean 'endpoint:here'?" in note
    assert not experiment(generator, provider_concurrency={"endpoint:here": 2}).run().notes


def test_waiting_for_one_endpoint_holds_no_slot_of_the_stage() -> None:
    async def ask() -> int:
        limits = RunLimits(
            RuntimeConfig(
                stage_concurrency={"judge": 2}, provider_rate_limits={"slow": 6, "quick": 60_000}
            )
        )

        async def call(endpoint: str) -> None:
            permit = await limits.acquire(Stage.JUDGE, endpoint)
            limits.release(permit, "answered")

        slow = [asyncio.create_task(call("slow")) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.gather(*(call("quick") for _ in range(20)))
        waiting = sum(not task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return waiting

    assert run_virtually(ask()) == 4


@pytest.mark.parametrize("stage", ["reduce", "select"])
def test_the_concurrency_of_any_stage_is_limited(stage: str) -> None:
    class Counting:
        component_id = "counting"
        version = "1"
        live = peak = 0

        def fingerprint(self) -> str:
            return "counting"

        async def _pass(self) -> None:
            self.live += 1
            self.peak = max(self.peak, self.live)
            await asyncio.sleep(0.01)
            self.live -= 1

        async def select(self, candidates: Any, ctx: Any) -> Any:
            await self._pass()
            return candidates

        async def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
            await self._pass()
            return ReducedCandidate(
                candidate_id="one",
                source_candidate_ids=[candidates[0].candidate_id],
                final_output=candidates[0].final_output,
                metadata={},
            )

    part = Counting()
    given: dict[str, Any] = {"selector" if stage == "select" else "reducer": part}
    result = experiment(cases=12, samples=2, stage_concurrency={stage: 2}, **given).run()
    assert result.status is RunStatus.COMPLETED
    assert part.peak == 2


def test_a_long_wait_that_an_endpoint_asked_for_is_told_once(
    waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    failing = ProviderError("later", status=500, retry_after=36_000)
    generator = ScriptedGenerator(
        failures={f"c{i}": [failing, None] for i in range(3)}, provider_key="endpoint"
    )
    assert experiment(generator, longest_pause=None).run().status is RunStatus.COMPLETED
    assert min(waits) >= 36_000
    told = [one for one in caplog.messages if "asked for a pause of 36000 s" in one]
    assert len(told) == 1
