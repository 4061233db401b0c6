"""One worker process, as its parent handles it: started, given one call at a time, replaced.

It has its own pipes and its own process group. However it ends, only the call that it was working
on fails.
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

from themis.core.errors import ComponentError, ParseError
from themis.execution.failures import (
    AttemptTimeoutError,
    ExplainedError,
    OverdueError,
    UnsendableError,
    WorkerEndedError,
)
from themis.execution.workers.main import READY, load, receive, send

CRASH = "crash"
"""Failure category of a call whose worker process ended during the call."""
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from themis.execution.workers.main import main; main()"
)
OPENING_SECONDS = 120.0
"""Time limit for starting a process, and for loading a component in it."""
_IS_POSIX = os.name == "posix"


class RemoteError(ComponentError):
    """An exception of user code in a worker process; its class is named like the original."""

    remote_traceback: str | None = None


class Call:
    """One call to be made in a worker process."""

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
        """Set the call's result from the worker's thread."""
        with suppress(RuntimeError):  # the loop is closed
            self.future.get_loop().call_soon_threadsafe(self._settle, *outcome)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class Worker:
    """A worker process, which is started again after each end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()
        self._lock = threading.Lock()
        """While it is held, the worker's thread begins no other call and starts no other process,
        so that the event loop ends the process of the call that it means."""
        self._job: Call | None = None
        self._deadline: float | None = None
        self._is_overdue = False
        self._is_over = False

    def do(self, job: Call) -> tuple[Any, Exception | None]:
        """Make a call and return its value or its exception. Runs in the worker's thread."""
        in_call = False
        try:
            self._begin(job)
            if job.name not in self._loaded:
                opening = pickle.dumps((job.name, job.component, None, None))
                answer = load(self._ask(opening, OPENING_SECONDS))
                if not answer[0]:
                    return None, _unloadable(answer[1])
                self._loaded.add(job.name)
            in_call = True
            return _outcome(self._ask(job.request, job.seconds))
        except _EndedError as error:
            return None, error.as_failure(job.seconds, in_call=in_call)
        except Exception as error:  # noqa: BLE001 - raised to the waiting code
            return None, _broken(error)
        finally:
            with self._lock:
                self._job = None

    def check(self, now: float) -> float | None:
        """End the current call if it is overdue; return the seconds that it has left."""
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
        """End a call that was cancelled, if it is the current one."""
        with self._lock:
            if self._job is job:
                self._kill()

    def kill(self) -> None:
        """End the process and start no other."""
        with self._lock:
            self._is_over = True
            self._kill()

    def end(self) -> None:
        """End the process and wait for it. Runs in the worker's thread."""
        with self._lock:
            self._kill()
        self._reap()

    def _begin(self, job: Call) -> None:
        """Make a job the current one and start a process for it if there is none."""
        with self._lock:
            self._job = job
        if self._process is not None and _has_ended(self._process):  # while it was idle
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
        """End the process and those that it started. The caller holds the lock."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(OSError):
            if _IS_POSIX:  # not reaped yet, so that its pid cannot be reused
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
            self._kill()  # processes that it started may still run
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

    def as_failure(self, seconds: float | None, *, in_call: bool) -> Exception:
        """Return the exception for the call that was running, or for which it was made ready."""
        if self.is_overdue and in_call:
            return OverdueError(
                f"no answer within {seconds:g} s; its worker process was ended (cpu_timeout allows "
                "more)"
            )
        if self.is_overdue:
            return AttemptTimeoutError(
                f"a worker process was not ready for it within {OPENING_SECONDS:g} s"
            )
        kind = WorkerEndedError if in_call and self.code is not None else ExplainedError
        return kind(f"its worker process {_ending(self.code)}", category=CRASH)


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
    """Return whether a process has ended, without reaping it if possible."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:
        return True


def _outcome(data: bytes) -> tuple[Any, Exception | None]:
    """Return the value or exception in a worker's answer."""
    try:
        is_value, answer = load(data)
    except Exception as error:  # noqa: BLE001 - user code's classes may fail in any way
        return None, UnsendableError(f"what it returned cannot be unpickled: {error}")
    return (answer, None) if is_value else (None, _raised(answer))


def _raised(told: Mapping[str, Any]) -> Exception:
    """Return the exception for an error that user code raised in a worker."""
    match told["kind"]:
        case "result":
            return UnsendableError(told["message"])
        case "memory":
            more = "" if told["message"] == told["name"] else f": {told['message']}"
            return WorkerEndedError(f"its worker process ran out of memory{more}", category=CRASH)
        case "exit":
            said = f"it tried to exit its worker process ({told['name']}: {told['message']})"
            return ExplainedError(said, category=CRASH)
    bases: tuple[type[Exception], ...] = (RemoteError,)
    if told["timeout"]:
        bases = (RemoteError, TimeoutError)
    elif told["unparsed"]:
        bases = (RemoteError, ParseError)
    facts = {
        "retryable": told["retryable"],
        "reason": told["reason"],
        "exhausted": told["exhausted"],
        "remote_traceback": told["traceback"],
    }
    made: Exception = type(told["name"], bases, facts)(told["message"])
    vars(made).pop("reason", None)  # ParseError's own default
    return made


def _unloadable(told: Mapping[str, Any]) -> Exception:
    """Return the error for a component that cannot be loaded; every call would fail alike."""
    return ExplainedError(
        f"it cannot be loaded in a worker process: {told['name']}: {told['message']}",
        category=CRASH,
    )


def _broken(error: Exception) -> Exception:
    """Return the failure of a call that could not be made."""
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
