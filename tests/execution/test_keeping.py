"""Paying stops when keeping stops: what a store that stalls, fails or is slow leaves at stake.

Covers: themis.execution.journal, themis.execution.session
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.runs import experiment
from themis import InMemoryRunStore
from themis.core.errors import StoreFailedError, StoreUnavailableError
from themis.core.events import Event, EventKind
from themis.core.models import Case, GenerationResult


class Stalling(InMemoryRunStore):
    """A store that holds its commits up after the first answers were kept."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after
        self.kept = 0
        """Answers committed."""
        self.let_go = threading.Event()

    def append(self, run_id: Any, events: Sequence[Event], *, epoch: int) -> Any:
        if self.kept >= self._after:
            self.stall()
        done = super().append(run_id, events, epoch=epoch)
        self.kept += sum(event.kind is EventKind.STEP_DONE and is_answer(event) for event in events)
        return done

    def stall(self) -> None:
        assert self.let_go.wait(30)


class Failing(Stalling):
    """A store that is gone after the first answers were kept."""

    def stall(self) -> None:
        raise StoreUnavailableError("disk full")


def is_answer(event: Event) -> bool:
    return event.address is not None and event.address.stage.value == "generate"


class Counting:
    """Answers after a while, at an endpoint, and counts its answers."""

    component_id = "generator/counting"
    version = "1"
    provider_key = "endpoint"

    def __init__(self) -> None:
        self.answers = 0

    def fingerprint(self) -> str:
        return "counting"

    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        await asyncio.sleep(0.001)
        self.answers += 1
        return GenerationResult(candidate_id=case.case_id, final_output=case.input)


@pytest.mark.parametrize("at_once", [1, 8, 32])
def test_no_more_is_asked_than_may_be_in_flight_while_commits_stall(at_once: int) -> None:
    store = Stalling(after=40)
    generator = Counting()
    most: list[int] = []

    def watch() -> None:
        """Let the commit go on once nothing was asked for a while."""
        seen = -1
        while seen != generator.answers or store.kept < 40:
            seen = generator.answers
            store.let_go.wait(0.2)
        most.append(generator.answers - store.kept)
        store.let_go.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    result = experiment(generator, cases=400, max_concurrent_tasks=at_once).run(store=store)
    watching.join(30)
    assert result.status == "completed"
    assert generator.answers == 400
    (unkept,) = most
    assert 0 < unkept <= 2 * at_once


@pytest.mark.parametrize("at_once", [1, 8, 32])
def test_a_store_that_fails_costs_no_more_than_what_is_in_flight(at_once: int) -> None:
    store = Failing(after=40)
    generator = Counting()
    with pytest.raises(StoreFailedError, match="disk full"):
        experiment(generator, cases=400, max_concurrent_tasks=at_once, store_retry_delay=0.02).run(
            store=store
        )
    assert generator.answers - store.kept <= 2 * at_once


async def test_a_run_that_is_cancelled_while_commits_stall_ends() -> None:
    store = Stalling(after=10)
    generator = Counting()
    one = experiment(generator, cases=100, max_concurrent_tasks=4)
    running = asyncio.create_task(one.run_async(store=store))
    while generator.answers <= 10:
        await asyncio.sleep(0.01)
    running.cancel()
    threading.Timer(0.2, store.let_go.set).start()
    async with asyncio.timeout(30):
        await asyncio.wait({running})
    assert running.cancelled()
    assert generator.answers <= store.kept + 2 * 4
