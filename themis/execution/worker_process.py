"""One worker process, seen from its parent: started, asked one thing at a time, ended, made anew.

It has pipes and a process group of its own. However it ends, what is told is what became of the
one call that it was at.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from themis.core.errors import ComponentError
from themis.execution.failures import AttemptTimeoutError, ExplainedError, UnsendableError
from themis.execution.worker import READY, load, receive, send

CRASH = "crash"
"""What the failure of a call is called whose worker process ended under it."""
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from themis.execution.worker import main; main()"
)
OPENING_SECONDS = 120.0
"""For a process to start, and for a component to be loaded in it."""
_IS_POSIX = os.name == "posix"


class RemoteError(ComponentError):
    """What user code raised in a worker process; each is of a class named like the original."""

    remote_traceback: str | None = None


class Call:
    """One call on its way through a worker process."""

    __slots__ = ("component", "future", "given_up", "name", "request", "seconds", "worker")

    def __init__(self, name: str, component: bytes, request: bytes, seconds: float | None) -> None:
        self.name = name
        self.component = component
        self.request = request
        self.seconds = seconds
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.given_up = False
        self.worker: Worker | None = None

    def settle_from_thread(self, outcome: tuple[Any, Exception | None]) -> None:
        """Give the outcome to the one who waits, on its loop."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.future.get_loop().call_soon_threadsafe(self._settle, *outcome)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class Worker:
    """One process, made anew after each end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()
        self._lock = threading.Lock()
        self._job: Call | None = None
        self._deadline: float | None = None
        self._is_overdue = False
        self._is_over = False

    def do(self, job: Call) -> tuple[Any, Exception | None]:
        """Run a job and return its value, or what went wrong. Runs in the worker's thread."""
        try:
            self._begin(job)
            if job.name not in self._loaded:
                opening = pickle.dumps((job.name, job.component, None, None))
                answer = load(self._ask(opening, OPENING_SECONDS))
                if not answer[0]:
                    return None, _unloadable(answer[1])
                self._loaded.add(job.name)
            return _outcome(self._ask(job.request, job.seconds))
        except _EndedError as error:
            return None, error.as_failure(job.seconds)
        except Exception as error:  # noqa: BLE001 - whoever waits is to hear of it
            return None, _broken(error)
        finally:
            with self._lock:
                self._job = None

    def check(self, now: float) -> float | None:
        """End a call that is overdue; return the seconds that the present one has left."""
        with self._lock:
            if self._deadline is None:
                return None
            if now < self._deadline:
                return self._deadline - now
            self._is_overdue = True
            self._deadline = None
            self._kill()
            return None

    def end_call(self, job: Call) -> None:
        """End a call that nobody waits for any more, if it is the present one."""
        with self._lock:
            if self._job is job:
                self._kill()

    def kill(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._is_over = True
            self._kill()

    def end(self) -> None:
        """End the process and wait for it. Runs in the worker's thread."""
        with self._lock:
            self._kill()
        self._reap()

    def _begin(self, job: Call) -> None:
        """Take a job, and have a process to do it."""
        with self._lock:
            self._job = job
        if self._process is not None and _has_ended(self._process):  # while it had nothing to do
            self._reap()
        if self._process is not None:
            return
        with self._lock:
            if self._is_over:
                raise _EndedError(None, is_overdue=False)
            self._loaded.clear()
            self._process = _start()
        if self._wait_for_answer(OPENING_SECONDS) != READY:
            raise ComponentError("a worker process did not start as it should")

    def _ask(self, request: bytes, seconds: float | None) -> bytes:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, struct.pack(">d", seconds or 0.0))
            send(self._process.stdin, request)
        except OSError:
            raise _EndedError(self._reap(), is_overdue=False) from None
        return self._wait_for_answer(seconds)

    def _wait_for_answer(self, seconds: float | None) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._lock:
            self._is_overdue = False
            self._deadline = None if seconds is None else time.monotonic() + seconds
        try:
            return receive(self._process.stdout)
        except (EOFError, OSError):
            with self._lock:
                self._deadline = None
                is_overdue = self._is_overdue
            raise _EndedError(self._reap(), is_overdue=is_overdue) from None
        finally:
            with self._lock:
                self._deadline = None

    def _kill(self) -> None:
        """End the process and those that it started. The lock is held."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(OSError):
            if _IS_POSIX:  # not waited for yet, so that its number is nobody else's
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()

    def _reap(self) -> int | None:
        """Wait for a process that has ended or been ended, and return its exit code."""
        process = self._process
        if process is None:
            return None
        for _ in range(200):
            if _has_ended(process):
                break
            time.sleep(0.01)
        with self._lock:
            self._kill()  # what it started may live on
            code = process.wait()
            self._process = None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return code


class _EndedError(Exception):
    """A worker process ended before it answered."""

    def __init__(self, code: int | None, *, is_overdue: bool) -> None:
        super().__init__(code)
        self.code = code
        self.is_overdue = is_overdue

    def as_failure(self, seconds: float | None) -> Exception:
        """Return it as what became of the call."""
        if self.is_overdue:
            return AttemptTimeoutError(
                f"no answer within {seconds or OPENING_SECONDS:g} s; its worker process was ended "
                "(cpu_timeout allows more)"
            )
        return ExplainedError(f"its worker process {_ending(self.code)}", category=CRASH)


def _start() -> subprocess.Popen[bytes]:
    """Start a process that imports from where this one does."""
    path = json.dumps([str(one) for one in sys.path])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=_IS_POSIX,  # a group of its own, which Ctrl-C does not reach
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended, without taking its number from it where that can be."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:
        return True


def _outcome(data: bytes) -> tuple[Any, Exception | None]:
    """Return what a worker answered."""
    try:
        is_value, answer = load(data)
    except Exception as error:  # noqa: BLE001 - user code's classes may fail in any way
        return None, UnsendableError(f"what it returned cannot be unpickled: {error}")
    return (answer, None) if is_value else (None, _raised(answer))


def _raised(told: Mapping[str, Any]) -> Exception:
    """Return an exception that user code raised in a worker."""
    match told["kind"]:
        case "result":
            return UnsendableError(told["message"])
        case "memory":
            return ExplainedError("its worker process ran out of memory", category=CRASH)
        case "exit":
            said = f"it tried to exit its worker process ({told['name']}: {told['message']})"
            return ExplainedError(said, category=CRASH)
    bases = (RemoteError, TimeoutError) if told["timeout"] else (RemoteError,)
    facts = {
        "retryable": told["retryable"],
        "reason": told["reason"],
        "remote_traceback": told["traceback"],
    }
    made: Exception = type(told["name"], bases, facts)(told["message"])
    return made


def _unloadable(told: Mapping[str, Any]) -> Exception:
    """Return why a component is not to be had in a worker: it would fail alike for every call."""
    return ExplainedError(
        f"it cannot be loaded in a worker process: {told['name']}: {told['message']}",
        category=CRASH,
    )


def _broken(error: Exception) -> Exception:
    """Return what kept a call from being made at all."""
    return ExplainedError(
        f"no worker process could be had: {type(error).__name__}: {error}", category=CRASH
    )


def _ending(code: int | None) -> str:
    if code is None:
        return "was ended"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"was killed by signal {-code}{name}"
