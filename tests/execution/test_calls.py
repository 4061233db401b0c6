"""How components are called: promises told from values, and begun before anything is set up."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.runs import experiment
from themis.core.models import Case, GenerationResult
from themis.execution.calls import Begun, is_promise
from themis.testing.scripted import ScriptedGenerator


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
        assert is_promise(value) is inspect.isawaitable(value), value
    coro.close()
    loop.close()


def test_what_never_waits_is_over_at_once() -> None:
    begun = Begun(coroutine())
    assert begun.is_over
    assert begun.value == 1


async def test_what_waits_goes_on_to_its_value() -> None:
    assert await Begun(Awaitable()) == 7
    assert await Begun(asyncio.sleep(0.001, "done")) == "done"
    assert await Begun(asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))) == [1, 2]


async def test_an_error_leaves_at_once_or_after_waiting() -> None:
    async def fail(*, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError("no")

    with pytest.raises(LookupError):
        Begun(fail(waits=False))
    begun = Begun(fail(waits=True))
    with pytest.raises(LookupError):
        await begun


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
        value: str = await Begun(stubborn())
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

    stepped = Begun(waits()).__await__()
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
