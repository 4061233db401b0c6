"""Signals ask a run to stop, and are given back as they were.

Covers: themis.execution.signals, themis.testing
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.runs import experiment
from tests.support.until import until
from themis.core.errors import RunInterrupted
from themis.core.models import Case
from themis.execution.signals import Stopper, on_signals
from themis.testing import CountingMetric, ScriptedGenerator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_handlers_are_what_they_were_once_a_run_has_ended() -> None:
    def mine(number: int, frame: Any) -> None:
        raise AssertionError

    signal.signal(signal.SIGTERM, mine)
    before = [signal.getsignal(number) for number in SIGNALS]
    experiment().run(progress=False)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_programs_own_handler_hears_a_signal_as_well_as_the_run(
    number: signal.Signals,
) -> None:
    heard: list[int] = []
    signal.signal(number, lambda one, frame: heard.append(one))

    async def wait() -> None:
        if generator.count() == 2:
            os.kill(os.getpid(), number)
        await asyncio.sleep(0)

    generator = ScriptedGenerator(wait=wait)
    with pytest.raises(RunInterrupted):
        await experiment(generator, cases=20, max_concurrent_tasks=1).run_async()
    assert heard == [number]
    assert generator.count() < 20


async def test_of_two_runs_on_a_loop_the_first_to_end_leaves_the_signals_to_the_other() -> None:
    one, two = Stopper(), Stopper()
    before = signal.getsignal(signal.SIGINT)
    with on_signals(one):
        with on_signals(two):
            pass
        os.kill(os.getpid(), signal.SIGINT)
        assert (one.asked, two.asked) == (True, False)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_signal_interrupts_a_component_that_holds_the_loop_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("themis.execution.signals._PATIENCE", 0.0)
    started: list[str] = []

    def hold_up(value: Any, case: Case) -> bool:
        started.append(case.case_id)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one did not interrupt")

    one = experiment(metrics=[CountingMetric(hold_up)], cases=9, max_concurrent_tasks=3)
    with pytest.raises(RunInterrupted):
        one.run(progress=False)
    assert started == ["c0"]  # what was in flight beside it did not begin to score
    one.evaluation = one.evaluation.model_copy(update={"metrics": [CountingMetric()]})
    assert one.run(progress=False).status == "completed"


def test_a_first_signal_lets_a_component_that_holds_the_loop_up_finish() -> None:
    def signal_once(value: Any, case: Case) -> bool:
        if case.case_id == "c0":
            os.kill(os.getpid(), signal.SIGINT)
        return True

    metric = CountingMetric(signal_once)
    one = experiment(metrics=[metric], cases=50, max_concurrent_tasks=1)
    with pytest.raises(RunInterrupted):
        one.run(progress=False)
    assert metric.calls[0] == "c0"
    state = one.run(progress=False)
    assert state.status == "completed"
    assert metric.calls.count("c0") == 1  # it was finished, and kept


def waits_for_long(thread: int) -> bool:
    """Return whether a thread's loop waits in the selector, for seconds if nothing wakes it."""
    frame = sys._current_frames()[thread]
    timeout = frame.f_locals.get("timeout")
    return frame.f_code.co_name == "select" and timeout is not None and timeout > 5


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signals by thread here")
def test_a_signal_that_another_thread_receives_wakes_a_loop_that_waits() -> None:
    main = threading.get_ident()

    def hear() -> None:
        until(lambda: waits_for_long(main), "a loop that waits")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.kill(os.getpid(), signal.SIGINT)

    async def wait() -> None:
        threading.Thread(target=hear).start()
        await asyncio.sleep(20)

    one = experiment(ScriptedGenerator(wait=wait), cases=1, drain_timeout=0.1)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with pytest.raises(RunInterrupted):
            one.run(progress=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_what_wakes_a_program_on_signals_stays_its_own() -> None:
    ear, mouth = socket.socketpair()
    with ear, mouth:
        mouth.setblocking(False)
        signal.set_wakeup_fd(mouth.fileno())
        try:
            experiment().run(progress=False)
        finally:
            assert signal.set_wakeup_fd(-1) == mouth.fileno()
    experiment().run(progress=False)
    assert signal.set_wakeup_fd(-1) == -1
