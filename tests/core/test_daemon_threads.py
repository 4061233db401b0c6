"""Daemon threads: calls side by side, left behind once nobody waits for them, and counted then.

Covers: themis.core.daemon_threads
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from concurrent import futures
from contextvars import ContextVar

import pytest

from themis.core import daemon_threads
from themis.core.daemon_threads import DaemonThreads

SECONDS = 30
_NAME: ContextVar[str] = ContextVar("_NAME", default="nobody")


def test_calls_run_side_by_side_however_many_they_are() -> None:
    together = threading.Barrier(40, timeout=30)
    executor = DaemonThreads()
    calls = [executor.submit(together.wait) for _ in range(40)]
    assert sorted(call.result(30) for call in calls) == list(range(40))


def test_a_call_that_raises_raises_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        DaemonThreads().submit(lambda: 1 // 0).result(30)


def test_a_thread_that_is_done_serves_the_next_call() -> None:
    threads = DaemonThreads()
    used = set()
    for _ in range(20):
        used.add(threads.submit(threading.get_ident).result(SECONDS))
        while not threads._idle:  # the thread says so a moment after its result
            pass
    assert len(used) == 1


def test_idle_threads_end_and_the_next_call_has_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_IDLE_SECONDS", 0.01)
    threads = DaemonThreads()
    thread = threads.submit(threading.current_thread).result(SECONDS)
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert threads.submit(lambda: 7).result(SECONDS) == 7


@pytest.mark.parametrize("busy", [False, True])
def test_after_it_is_closed_threads_end_and_a_late_call_still_runs(busy: bool) -> None:
    threads = DaemonThreads()
    release = threading.Event()
    began = threads.submit(threading.current_thread)
    thread = began.result(SECONDS)
    while not threads._idle:
        pass
    if busy:
        threads.submit(release.wait, SECONDS)
    threads.close()
    release.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    late = threads.submit(threading.current_thread).result(SECONDS)
    late.join(SECONDS)
    assert not late.is_alive()


def test_calls_that_were_given_up_on_while_they_ran_are_counted_once() -> None:
    threads = DaemonThreads()
    release, began = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        release.wait(SECONDS)

    hung, done = threads.submit(hang), threads.submit(int)
    done.result(SECONDS)
    began.wait(SECONDS)
    for call in (hung, hung, done):
        call.cancel()
    assert threads.abandoned == 1
    release.set()


def test_a_call_has_the_context_variables_of_its_caller() -> None:
    threads = DaemonThreads()
    for name in ("first", "second"):
        token = _NAME.set(name)
        assert threads.submit(_NAME.get).result(SECONDS) == name
        _NAME.reset(token)
    assert threads.submit(_NAME.get).result(SECONDS) == "nobody"


@pytest.mark.parametrize(
    "error", [SystemExit("out"), KeyboardInterrupt(), StopIteration(1), futures.CancelledError()]
)
def test_what_would_end_the_one_who_waits_becomes_an_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        DaemonThreads().submit(fail).result(SECONDS)


def test_an_idle_thread_holds_nothing_of_its_last_call() -> None:
    class Big:
        """What a call was given."""

    threads, big = DaemonThreads(), Big()
    gone = weakref.ref(big)
    threads.submit(lambda one: None, big).result(SECONDS)
    while not threads._idle:
        pass
    del big
    gc.collect()
    assert gone() is None


def test_a_program_ends_while_a_call_still_runs() -> None:
    code = """
import threading
from themis.core.daemon_threads import DaemonThreads

began = threading.Event()
DaemonThreads().submit(lambda: (began.set(), threading.Event().wait()))
began.wait()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
