"""How components are called: awaitables told from values, calls in threads, and what they raise.

Covers: themis.core.daemon_threads, themis.execution.calls, themis.execution.gather,
themis.execution.stages.generate
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import types
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.in_threads import CASES, CATEGORY, in_threads
from tests.support.runs import experiment
from themis import get_execution_state, use
from themis.core.daemon_threads import DaemonThreads
from themis.core.models import Case, GenerationResult
from themis.execution.calls import StartedAwaitable, call_in_thread, is_awaitable
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge


class Awaitable:
    """A promise by its method alone."""

    def __await__(self) -> Generator[Any, Any, int]:
        """Wait a turn."""
        yield from asyncio.sleep(0).__await__()
        return 7


def plain_generator() -> Generator[int, None, None]:
    """Is no promise."""
    yield 1


@types.coroutine
def promising_generator() -> Generator[Any, Any, int]:
    """Is a promise by its decorator."""
    yield
    return 1


async def coroutine() -> int:
    """Is a promise."""
    return 1


def test_promises_are_told_from_values_as_the_standard_library_does() -> None:
    loop = asyncio.new_event_loop()
    coro = coroutine()
    values: list[object] = [
        Awaitable(),
        plain_generator(),
        promising_generator(),
        coro,
        loop.create_future(),
        Case(case_id="c", input=1),
        {"a": 1},
        None,
        Awaitable,
    ]
    for value in values:
        assert is_awaitable(value) is inspect.isawaitable(value), value
    coro.close()
    loop.close()


def test_what_never_waits_is_over_at_once() -> None:
    started = StartedAwaitable(coroutine())
    assert started.is_over
    assert started.value == 1


async def test_what_waits_goes_on_to_its_value() -> None:
    assert await StartedAwaitable(Awaitable()) == 7
    assert await StartedAwaitable(asyncio.sleep(0.001, "done")) == "done"
    assert await StartedAwaitable(asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))) == [
        1,
        2,
    ]


async def test_an_error_leaves_at_once_or_after_waiting() -> None:
    async def fail(*, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError("no")

    with pytest.raises(LookupError):
        StartedAwaitable(fail(waits=False))
    started = StartedAwaitable(fail(waits=True))
    with pytest.raises(LookupError):
        await started


async def test_a_cancellation_reaches_what_waits_and_may_be_outlived() -> None:
    seen: list[str] = []

    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "went on"

    async def waits() -> str:
        value: str = await StartedAwaitable(stubborn())
        return value

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "went on"
    assert seen == ["cancelled"]


async def test_a_promise_that_nobody_waits_for_any_more_is_closed() -> None:
    closed: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    stepped = StartedAwaitable(waits()).__await__()
    next(stepped)
    stepped.close()
    assert closed == [True]


@pytest.mark.parametrize(("waits", "timers"), [(False, 0), (True, 8)])
async def test_only_a_call_that_waits_gets_a_timer(
    waits: bool, timers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up: list[float | None] = []
    timeout_at = asyncio.timeout_at

    def watched(when: float | None) -> asyncio.Timeout:
        set_up.append(when)
        return timeout_at(when)

    monkeypatch.setattr(asyncio, "timeout_at", watched)

    class Generator(ScriptedGenerator):
        async def generate(self, case: Case, ctx: Any) -> GenerationResult:
            if waits:
                await asyncio.sleep(0)
            return GenerationResult(candidate_id=case.case_id, final_output=case.input)

    made = experiment(Generator(), cases=8, generation_timeout=60.0)
    await made.run_async(progress=False)
    assert len(set_up) == timers


async def test_what_a_call_in_a_thread_returns_is_awaited() -> None:
    async def later() -> str:
        return "later"

    assert await call_in_thread(DaemonThreads(), later) == "later"


async def test_a_call_in_a_thread_that_was_cancelled_is_left_behind_and_counted() -> None:
    threads, release = DaemonThreads(), threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        loop.call_soon_threadsafe(began.set)
        release.wait(30)

    task = asyncio.create_task(call_in_thread(threads, hang))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads.abandoned == 1
    release.set()


@pytest.mark.parametrize("role", ["generator", "reducer", "selector"])
def test_a_stop_of_iteration_in_a_thread_is_its_cases_error_at_once(role: str) -> None:
    result = in_threads(role, lambda: next(iter([]))).run()
    assert result.status == "partial_failure"
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == CATEGORY[role]
    assert "StopIteration" in (rows[1].error_message or "")


@pytest.mark.parametrize("role", ["reducer", "selector"])
def test_a_reducer_or_selector_that_hangs_in_a_thread_is_abandoned_as_a_timeout(role: str) -> None:
    release = threading.Event()
    try:
        result = in_threads(role, lambda: release.wait(60), generation_timeout=2.0).run()
    finally:
        release.set()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == "timeout"
    assert result.status == "partial_failure"
    assert any("1 call in threads" in note for note in result.notes)


class Fault(BaseException):
    """An exception that ``except Exception`` does not catch."""


@pytest.mark.parametrize("role", ["generator", "parser", "metric", "judge"])
def test_an_exception_outside_exception_is_its_cases_error(role: str) -> None:
    def fault(value: Any, *_: Any) -> Any:
        if value == 1 or "\n1\n" in str(value):
            raise Fault("at odds")
        return "VERDICT: PASS" if role == "judge" else value

    judge = ScriptedJudge(lambda prompt, seed: fault(prompt.text))
    parts: dict[str, dict[str, Any]] = {
        "generator": {"generator": ScriptedGenerator(lambda case, ctx: fault(case.input))},
        "parser": {"parser": CountingParser(fault)},
        "metric": {"metrics": [CountingMetric(lambda value, case: fault(value) == value)]},
        "judge": {"metrics": [use("builtin/llm_rubric", rubric="Good?")], "judges": [judge]},
    }
    result = experiment(**parts[role]).run()
    assert [row.outcome for row in result.score_rows()] == CASES
    assert result.status == "partial_failure"
    (row,) = (row for row in result.score_rows() if row.outcome == "error")
    assert "Fault" in (row.error_message or "")
    assert "at odds" in (row.error_message or "")


def test_an_interrupt_of_the_run_is_no_cases_error() -> None:
    async def wait() -> None:
        if generator.count() == 1:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)

    generator = ScriptedGenerator(wait=wait)
    one = experiment(generator, cases=50, max_concurrent_tasks=1)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    state = get_execution_state(one.store, one.compile().run_id)
    assert (state.status, state.completed_through_stage) == ("interrupted", None)
    assert state.progress.cases_with_errors == 0
    assert one.run().status == "completed"
    assert generator.count() == 50


async def test_a_cancellation_of_the_run_is_no_cases_error() -> None:
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    one = experiment(ScriptedGenerator(wait=wait))
    task = asyncio.create_task(one.run_async())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = get_execution_state(one.store, one.compile().run_id)
    assert (state.status, state.completed_through_stage) == ("interrupted", None)
    assert state.progress.cases_with_errors == 0
