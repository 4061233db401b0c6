"""What a call's ending tells of its endpoint: to slow down, to pause, or to be given up.

Covers: themis.execution.call_costs, themis.execution.call_policy,
themis.execution.limits.endpoints, themis.execution.retries
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.execution.limits.test_budget import Metered
from tests.support.runs import experiment
from tests.support.virtual_time import run_virtually
from themis.core.config import RuntimeConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import ProviderError, RunStoppedError
from themis.core.events import Stage
from themis.core.models import Case
from themis.execution.call_costs import usage_in, was_free
from themis.execution.call_policy import CallPolicy
from themis.execution.limits.endpoints import Permit, RunLimits, call_ending
from themis.testing.scripted import ScriptedGenerator


def failure(status: int | None = None, **facts: Any) -> ProviderError:
    return ProviderError("it failed", status=status, **facts)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (TimeoutError(), "overwhelmed"),
        *((failure(status), "busy") for status in (429, 503, 529)),
        *((failure(status), "overwhelmed") for status in (502, 504, 520, 527)),
        *((failure(status), "answered") for status in (400, 404, 422)),
        *((failure(status), "other") for status in (500, 528, None)),
        (ValueError(), "other"),
    ],
)
def test_an_error_counts_for_an_endpoints_capacity_as_it_tells_of_it(
    error: BaseException, ending: str
) -> None:
    assert call_ending(error) == ending


async def round_of(limits: RunLimits, ends: Any, n: int = 8) -> None:
    """Let calls begin together; each is answered, or fails with the error that ``ends`` gives."""
    permits = [await limits.acquire(Stage.GENERATE, "e") for _ in range(n)]
    for permit in permits:
        end_call(limits, permit, ends)


def end_call(limits: RunLimits, permit: Permit, ends: Any) -> None:
    error = ends()
    if error is not None:
        limits.failed(permit, error)
    limits.release(permit, "answered" if error is None else call_ending(error))


async def began_after(limits: RunLimits) -> float:
    """Return the seconds until the next call may begin."""
    now = asyncio.get_running_loop().time()
    limits.release(await limits.acquire(Stage.GENERATE, "e"))
    return asyncio.get_running_loop().time() - now


def test_refusals_that_name_no_time_are_backed_off_from_longer_and_longer() -> None:
    async def work() -> list[list[int]]:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=64))
        found: list[list[int]] = [[], []]
        for waits in found:
            await round_of(limits, lambda: None, 1)  # an answer begins it anew
            for _ in range(60):
                await round_of(limits, lambda: failure(429), 1)
                if (wait := await began_after(limits)) > 0:
                    waits.append(round(wait))
        return found

    for waits in run_virtually(work()):
        assert waits[:3] == [5, 15, 45]
        assert set(waits[3:]) == {45}


def test_beside_a_pause_that_was_asked_for_there_is_none_of_ones_own() -> None:
    async def work() -> float:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=64))
        await round_of(limits, lambda: None)
        await round_of(limits, lambda: failure(429, retry_after=1.0))
        return await began_after(limits)

    assert run_virtually(work()) == pytest.approx(1.0)


def test_timeouts_make_an_endpoints_concurrency_fall() -> None:
    async def at_once(limits: RunLimits) -> int:
        """Return how many calls may be in flight."""
        held = []
        while True:
            try:
                async with asyncio.timeout(1):
                    held.append(await limits.acquire(Stage.GENERATE, "e"))
            except TimeoutError:
                break
        for permit in held:
            limits.release(permit)
        return len(held)

    async def work() -> tuple[int, int]:
        limits = RunLimits(RuntimeConfig(max_concurrent_tasks=64))
        before = await at_once(limits)
        await round_of(limits, TimeoutError)
        return before, await at_once(limits)

    before, after = run_virtually(work())
    assert after < before


@pytest.mark.parametrize(
    ("tries", "last", "given_up"), [(2, True, False), (3, True, True), (3, False, False)]
)
def test_an_endpoint_is_given_up_after_three_tries_if_no_other_is_left(
    tries: int, last: bool, given_up: bool
) -> None:
    async def work() -> bool:
        limits = RunLimits(RuntimeConfig())
        await round_of(limits, lambda: failure(unreachable=True), tries)
        return limits.is_given_up("e", last_try=last)

    assert run_virtually(work()) is given_up


def test_an_endpoint_that_was_reached_meanwhile_is_not_given_up() -> None:
    async def work() -> bool:
        limits = RunLimits(RuntimeConfig())
        await round_of(limits, lambda: failure(unreachable=True), 2)
        await round_of(limits, lambda: failure(400), 1)
        await round_of(limits, lambda: failure(unreachable=True), 1)
        return limits.is_given_up("e", last_try=True)

    assert run_virtually(work()) is False


def test_a_run_whose_endpoint_stays_unreachable_ends_with_the_first_calls_last_try() -> None:
    missing = [failure(unreachable=True) for _ in range(9)]
    generator = ScriptedGenerator(
        failures={f"c{n}": list(missing) for n in range(20)}, provider_key="e"
    )
    one = experiment(generator, cases=20, max_concurrent_tasks=1, generation_retry_attempts=3)
    with pytest.raises(RunStoppedError):
        one.run()
    assert generator.count() == 3


class Estimating(Metered):
    """Says how long its prompts are likely to be."""

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        return 8


def test_tokens_a_minute_are_booked_with_the_output_at_its_cap_and_corrected_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    booked: list[float] = []
    settled: list[float] = []
    acquire, settle = RunLimits.acquire, RunLimits.settle

    async def noted(
        self: RunLimits, stage: Stage, provider: str | None, tokens: float = 0
    ) -> Permit:
        booked.append(tokens)
        return await acquire(self, stage, provider, tokens)

    def noted_after(self: RunLimits, permit: Permit, tokens: float) -> None:
        settled.append(tokens)
        settle(self, permit, tokens)

    monkeypatch.setattr(RunLimits, "acquire", noted)
    monkeypatch.setattr(RunLimits, "settle", noted_after)
    limit = {"e": {"tokens_per_minute": 1_000_000}}
    experiment(Estimating(), cases=3, provider_rate_limits=limit).run()
    assert booked == [8 + 5] * 3
    assert settled == [7 + 3] * 3


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (failure(429), True),
        (failure(400), True),
        (failure(unreachable=True), True),
        (failure(408), False),
        (failure(500), False),
        (failure(400, had_begun=True), False),
        (failure(), False),
        (ValueError(), False),
    ],
)
def test_a_failed_call_is_free_where_it_was_refused_or_never_arrived(
    error: BaseException, free: bool
) -> None:
    assert was_free(error) is free


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 1}, {"completion_tokens": 1}, None])
def test_a_usage_that_lacks_a_count_is_none(usage: dict[str, int] | None) -> None:
    assert usage_in({"token_usage": usage}) is None
    assert usage_in({"response": {"token_usage": usage}}) is None


def test_a_wait_grows_from_try_to_try_and_is_never_less_than_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    policy = CallPolicy(attempts=5, delay=2.0, backoff=3.0)
    assert [policy.wait(tried, ValueError()) for tried in (1, 2, 3)] == [2.0, 6.0, 18.0]
    assert policy.wait(2, failure(429, retry_after=1.0)) == 6.0
    assert policy.wait(2, failure(429, retry_after=50.0)) == 50.0
    assert policy.wait(5, ValueError()) == 120.0
    assert policy.wait(100_000, ValueError()) == 120.0
