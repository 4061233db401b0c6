"""Trying again, waiting and limiting: by counts and by the waits asked for, never by the clock.

Covers: themis.execution.call_policy, themis.execution.failures, themis.execution.limits.endpoints,
themis.execution.retries, themis.execution.session
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.runs import experiment
from tests.support.virtual_time import run_virtually
from themis import get_execution_state
from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError, RunStoppedError
from themis.core.events import Stage
from themis.core.models import GenerationResult
from themis.core.results import RunStatus
from themis.execution.call_policy import CallPolicy
from themis.execution.failures import is_retryable
from themis.execution.limits.endpoints import RunLimits
from themis.execution.session import RunSession
from themis.testing.scripted import ScriptedGenerator


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


def test_a_retryable_failure_is_tried_again_and_its_history_kept(waits: list[float]) -> None:
    generator = ScriptedGenerator(failures={"c1": _busy(2)})
    one = experiment(generator, generation_retry_delay=1.0, generation_retry_backoff=3.0)
    result = one.run()
    assert result.status == "completed"
    assert generator.count("c1") == 3
    assert waits == [1.0, 3.0]
    artifacts = result.cases[1].generated_candidates[0].artifacts or {}
    assert [one["status"] for one in artifacts["tries"]] == [503, 503]
    assert {one["category"] for one in artifacts["tries"]} == {"generation"}
    assert "tries" not in (result.cases[0].generated_candidates[0].artifacts or {})


def test_retry_after_is_obeyed(waits: list[float]) -> None:
    generator = ScriptedGenerator(failures={"c1": _busy(1, retry_after=47.0)})
    experiment(generator, generation_retry_delay=1.0).run()
    assert waits == [47.0]


def test_the_tries_are_as_many_as_configured_and_all_are_told(waits: list[float]) -> None:
    generator = ScriptedGenerator(failures={"c1": _busy(9)})
    result = experiment(generator, generation_retry_attempts=3).run()
    assert generator.count("c1") == 3
    (failure,) = result.cases[1].generation_failures
    assert len(failure.tries) == 3
    assert failure.status == 503
    assert failure.retryable
    assert len(waits) == 2


def test_what_is_not_retryable_is_tried_once(waits: list[float]) -> None:
    generator = ScriptedGenerator(
        failures={"c0": ValueError("x"), "c1": ProviderError("bad request", status=400)}
    )
    result = experiment(generator).run()
    assert (generator.count("c0"), generator.count("c1"), waits) == (1, 1, [])
    assert result.status == "partial_failure"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_busy_and_broken_endpoints_are_retryable(status: int) -> None:
    assert is_retryable(ProviderError("x", status=status))
    assert not is_retryable(ProviderError("x", status=status, fatal=True))


def test_timeouts_lost_connections_and_what_is_marked_so_are_retryable() -> None:
    class Marked(Exception):
        retryable = True

    assert is_retryable(TimeoutError())
    assert is_retryable(ConnectionResetError())
    assert is_retryable(Marked())
    assert not is_retryable(ValueError())
    assert not is_retryable(ProviderError("x", status=401))


def test_a_generation_that_takes_too_long_is_a_timeout(waits: list[float]) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    generator = ScriptedGenerator(wait=forever)
    one = experiment(generator, cases=1, generation_timeout=0.01, generation_retry_attempts=2)
    result = one.run()
    (failure,) = result.cases[0].generation_failures
    assert failure.category == "timeout"
    assert "0.01 s" in failure.message
    assert generator.count() == 2
    assert result.status == "failed"
    assert [row.error_category for row in result.score_rows()] == ["timeout"]


def test_a_timeout_raised_by_the_component_is_called_one(waits: list[float]) -> None:
    result = experiment(ScriptedGenerator(failures={"c0": TimeoutError("mine")})).run()
    assert result.cases[0].generation_failures[0].category == "timeout"


def test_a_hung_sync_generator_is_abandoned_counted_and_the_run_ends() -> None:
    release = threading.Event()

    class Hung:
        component_id = "hung"
        version = "1"

        def fingerprint(self) -> str:
            return "hung"

        def generate(self, case: Any, ctx: Any) -> GenerationResult:
            if case.case_id == "c1":
                release.wait(60)
            return GenerationResult(candidate_id="x", final_output=case.input)

    try:
        result = experiment(Hung(), generation_timeout=2.0, generation_retry_attempts=1).run()
    finally:
        release.set()
    assert [row.outcome for row in result.score_rows()] == ["correct", "error", "correct"]
    assert result.cases[1].generation_failures[0].category == "timeout"
    assert any("1 call in threads" in note for note in result.notes)


def test_sync_generators_run_side_by_side() -> None:
    together = threading.Barrier(4, timeout=30)

    class Sync:
        component_id = "sync"
        version = "1"

        def fingerprint(self) -> str:
            return "sync"

        def generate(self, case: Any, ctx: Any) -> GenerationResult:
            together.wait()
            return GenerationResult(candidate_id="x", final_output=case.input)

    assert experiment(Sync(), cases=4).run().status == "completed"


def test_a_fatal_error_stops_the_run_early_and_it_can_be_gone_on_with() -> None:
    generator = ScriptedGenerator(
        failures={"c2": ProviderError("invalid key", status=401, fatal=True)}
    )
    one = experiment(generator, cases=50, max_concurrent_tasks=1)
    with pytest.raises(RunStoppedError, match="invalid key") as stopped:
        one.run()
    assert generator.count() == 3
    assert stopped.value.run_id == one.compile().run_id
    generator.failures = {}
    result = one.run()
    assert result.status == "completed"
    assert generator.count() == 51
    assert len(result.state.attempts) == 1


def test_a_fatal_error_lets_what_is_in_flight_finish() -> None:
    gate = asyncio.Event()

    def answers(case: Any, ctx: Any) -> Any:
        return case.input

    async def wait() -> None:
        if generator.count() == 1:
            await gate.wait()
        elif generator.count() == 2:
            asyncio.get_running_loop().call_later(0.05, gate.set)

    generator = ScriptedGenerator(
        answers,
        wait=wait,
        failures={"c1": ProviderError("invalid key", status=401, fatal=True)},
    )
    one = experiment(generator, cases=50, max_concurrent_tasks=2)
    with pytest.raises(RunStoppedError):
        one.run()
    done = [event for event in one.store.events(one.compile().run_id) if event.artifact]
    assert {event.case_index for event in done} == {0}


def test_an_interruption_while_backing_off_waits_for_nothing() -> None:
    generator = ScriptedGenerator(
        failures={
            "c0": _busy(9, retry_after=3600.0),
            "c1": ProviderError("invalid key", status=401, fatal=True),
        }
    )
    one = experiment(generator, cases=2)
    with pytest.raises(RunStoppedError):
        one.run()
    assert generator.count("c0") == 1


def test_a_run_told_to_stop_ends_though_calls_hang() -> None:
    async def hang() -> None:
        if generator.count() == 1:
            raise ProviderError("invalid key", fatal=True)
        await asyncio.Event().wait()

    generator = ScriptedGenerator(wait=hang)
    one = experiment(generator, cases=3_000, max_concurrent_tasks=4, drain_timeout=0.1)
    with pytest.raises(RunStoppedError):  # that it ends at all is the promise
        one.run()
    assert get_execution_state(one.store, one.compile().run_id).status is RunStatus.FAILED


def test_a_component_gets_ready_once_and_outside_of_its_timeout() -> None:
    class Slow(ScriptedGenerator):
        opened = 0

        async def aopen(self) -> None:
            self.opened += 1
            await asyncio.sleep(2.2)

    generator = Slow()
    result = experiment(generator, cases=5, generation_timeout=2.0).run()
    assert (result.status, generator.opened, generator.count()) == (RunStatus.COMPLETED, 1, 5)


def test_a_component_that_cannot_get_ready_is_asked_again_by_the_next_try() -> None:
    class Failing(ScriptedGenerator):
        opened = 0

        async def aopen(self) -> None:
            self.opened += 1
            if self.opened == 1:
                raise ConnectionError("not yet")

    generator = Failing()
    result = experiment(generator, cases=1).run()
    assert (result.status, generator.opened, generator.count()) == (RunStatus.COMPLETED, 2, 1)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("hangs", "no answer within 0.2 s"),
        ("cancels itself", "the call cancelled itself"),
        ("exits", "it tried to exit the process"),
        ("raises an exception of its own making", "Odd: odd"),
    ],
)
def test_getting_ready_is_within_the_boundary_to_user_code(
    way: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(BaseException):
        pass

    class Generator(ScriptedGenerator):
        async def aopen(self) -> None:
            if way == "hangs":
                await asyncio.Event().wait()
            if way == "cancels itself":
                raise asyncio.CancelledError
            if way == "exits":
                raise SystemExit(3)
            raise Odd("odd")

    monkeypatch.setattr("themis.execution.retries._OPENING_SECONDS", 0.2)
    result = experiment(Generator(), cases=2, generation_retry_attempts=1).run()
    assert result.status is RunStatus.FAILED
    assert said in (result.progress.first_failure or "")


def test_getting_ready_may_be_a_plain_method() -> None:
    class Generator(ScriptedGenerator):
        opened = 0

        def aopen(self) -> None:
            self.opened += 1

    generator = Generator()
    assert experiment(generator, cases=3).run().status is RunStatus.COMPLETED
    assert generator.opened == 1


def test_a_wait_after_any_number_of_tries_is_two_minutes_at_most() -> None:
    policy = CallPolicy(attempts=5000, delay=1.0, backoff=2.0)
    assert all(0 <= policy.wait(tried, ValueError()) <= 120.5 for tried in (1, 50, 1025, 4000))


def test_an_endpoint_that_takes_long_to_be_found_missing_is_not_tried_to_the_end() -> None:
    async def ask() -> list[bool]:
        limits = RunLimits(RuntimeConfig())
        given_up = []
        for _ in range(4):
            permit = await limits.acquire(Stage.GENERATE, "endpoint")
            await asyncio.sleep(10)
            limits.failed(permit, ProviderError("no connection", unreachable=True))
            limits.release(permit)
            given_up.append(limits.is_given_up("endpoint", last_try=False))
        return given_up

    assert run_virtually(ask()) == [False, False, True, True]


@pytest.mark.parametrize(
    ("status", "key"), [(429, "endpoint"), (503, "endpoint"), (500, "endpoint"), (429, None)]
)
def test_a_pause_of_years_stops_the_run_which_goes_on_later(
    waits: list[float], status: int, key: str | None
) -> None:
    busy = ProviderError("busy", status=status, retry_after=999_999_999.0)
    generator = ScriptedGenerator(failures={"c1": [busy]}, provider_key=key)
    one = experiment(generator, max_concurrent_tasks=1)
    with pytest.raises(RunStoppedError) as stopped:
        one.run()
    assert "asked for a pause of 999,999,999 s, more than longest_pause = 3600" in str(
        stopped.value
    )
    assert "\n" not in str(stopped.value)
    assert max(waits, default=0) < 200 or waits == [999_999_999.0]  # a wait that the stop ends
    assert one.run().status == "completed"
    assert generator.count("c0") == 1


def test_a_good_answer_that_asks_for_a_pause_of_years_is_kept_and_the_run_stops() -> None:
    def answers(case: Any, ctx: Any) -> GenerationResult:
        asked = {"rate_limit": {"wait_seconds": 1e10}} if case.case_id == "c0" else {}
        return GenerationResult(candidate_id="x", final_output=case.input, artifacts=asked)

    generator = ScriptedGenerator(answers, provider_key="endpoint")
    one = experiment(generator, max_concurrent_tasks=1)
    with pytest.raises(RunStoppedError, match="longest_pause"):
        one.run()
    assert one.run().status == "completed"
    assert generator.count("c0") == 1
