"""Blocking calls in daemon threads: side by side, and left behind once nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from themis.adapters.threads import DaemonExecutor, in_daemon_thread, use_daemon_threads


def test_calls_run_side_by_side_however_many_they_are() -> None:
    together = threading.Barrier(40, timeout=30)
    executor = DaemonExecutor()
    calls = [executor.submit(together.wait) for _ in range(40)]
    assert sorted(call.result(30) for call in calls) == list(range(40))


def test_a_call_that_raises_raises_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        DaemonExecutor().submit(lambda: 1 // 0).result(30)


def test_the_end_waits_for_calls_that_somebody_waits_for_and_for_no_others() -> None:
    release, began = threading.Event(), threading.Barrier(3, timeout=30)
    done: list[str] = []

    def hang() -> None:
        began.wait()
        threading.Event().wait()

    def work() -> None:
        began.wait()
        release.wait(30)
        done.append("work")

    executor = DaemonExecutor()
    left, kept = executor.submit(hang), executor.submit(work)
    began.wait()
    left.cancel()
    threading.Timer(0.05, release.set).start()
    executor.shutdown()
    assert done == ["work"]
    assert kept.done()
    assert not left.done()


def test_a_program_ends_while_a_call_that_was_given_up_on_still_runs() -> None:
    async def main() -> None:
        use_daemon_threads()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(threading.Event().wait), 0.05)

    asyncio.run(main())


async def test_what_a_call_returns_is_awaited() -> None:
    def name() -> Any:
        return threading.current_thread().daemon

    assert await in_daemon_thread(name) is True
