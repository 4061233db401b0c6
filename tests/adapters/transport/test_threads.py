"""An event loop's blocking calls in daemon threads, for as long as somebody relies on them.

Covers: themis.adapters.transport.threads
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from themis.adapters.transport.threads import LoopThreads, daemon_threads, in_daemon_thread


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

    executor = LoopThreads()
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
        with daemon_threads(), pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(threading.Event().wait), 0.05)

    asyncio.run(main())


async def test_what_a_call_returns_is_awaited() -> None:
    def name() -> Any:
        return threading.current_thread().daemon

    assert await in_daemon_thread(name) is True


async def _kind_of_thread() -> bool:
    return await asyncio.to_thread(lambda: threading.current_thread().daemon)


async def test_a_loop_has_its_own_executor_again_after_the_last_has_left() -> None:
    with daemon_threads():
        with daemon_threads():
            assert await _kind_of_thread()
        assert await _kind_of_thread()
    assert not await _kind_of_thread()


async def test_a_call_that_was_given_up_on_does_not_keep_the_executor() -> None:
    release = threading.Event()
    with daemon_threads(), pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(release.wait), 0.05)
    assert not await _kind_of_thread()
    release.set()


def test_the_end_of_a_loop_waits_for_a_call_that_somebody_began_meanwhile() -> None:
    done: list[str] = []
    release = threading.Event()

    def work() -> None:
        release.wait(30)
        done.append("work")

    async def main() -> None:
        with daemon_threads():
            asyncio.get_running_loop().run_in_executor(None, work)
        release.set()

    asyncio.run(main())
    assert done == ["work"]
