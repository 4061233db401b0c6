"""Crash tests: a script is run in its own process and killed after a number of calls.

Processes are forked from one that has loaded Themis already, so that hundreds of kills take
minutes. Linux and macOS only. A script shows its progress by appending lines to a log file, such as
``themis.testing.CallLog``.

    with CrashHarness() as harness:
        outcome = harness.run("script.py", ["--store", "runs.db"], log="calls.log", kill_after=17)
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_POLL = 0.001
_LOOKS = 8
"""How often the log is read for each check whether the process has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a process ended.

    Attributes:
        killed: whether the harness killed it before it ended by itself.
        status: exit status; negative for the signal that ended it.
        lines: lines in the log at its end.
        error: its standard error, as text.
    """

    killed: bool
    status: int
    lines: int
    error: str


class CrashHarness:
    """Runs scripts in processes forked from one that has Themis loaded, and kills them.

    Args:
        preload: further modules that the parent process loads.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # scripts may change too quickly
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "themis.testing.crash", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._tell({"hello": True})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the parent process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def start(
        self,
        script: str | Path,
        arguments: Sequence[str] = (),
        *,
        log: str | Path,
        error: str | Path | None = None,
    ) -> Running:
        """Start a script, perhaps beside others, and return without waiting for it.

        Args:
            script: a Python file, run as ``__main__``.
            arguments: its ``sys.argv[1:]``.
            log: the file that it appends lines to.
            error: the file that its standard error goes to; by default a file beside the log.
        """
        errors = Path(log).with_suffix(".stderr") if error is None else Path(error)
        running = Running(self, Path(log), errors)
        message = {"script": str(script), "argv": list(arguments), "stderr": str(errors)}
        running.pid = self._tell(message)
        return running

    def run(
        self,
        script: str | Path,
        arguments: Sequence[str] = (),
        *,
        log: str | Path,
        kill_after: int | None = None,
        delay: float = 0.0,
        number: int = signal.SIGKILL,
        times: int = 1,
        timeout: float = 120.0,
    ) -> Outcome:
        """Run a script to its end, or until it has added ``kill_after`` lines to its log.

        Args:
            script: a Python file, run as ``__main__``.
            arguments: its ``sys.argv[1:]``.
            log: the file that it appends lines to.
            kill_after: lines it may add before it is killed; None lets it end by itself.
            delay: seconds from the last of these lines to the signal, and from one to the next.
            number: the signal.
            times: how often it is sent.
            timeout: seconds after which it is killed in any case.

        Raises:
            TimeoutError: the script had not ended after ``timeout`` seconds.
        """
        running = self.start(script, arguments, log=log)
        if kill_after is not None and running.adds(kill_after, timeout=timeout):
            for _ in range(times):
                time.sleep(delay)
                running.send(number)
        return running.wait(timeout=timeout)

    def status_of(self, pid: int) -> int | None:
        """Return a process's exit status once after its end; None while it runs."""
        status: int | None = self._tell({"ask": pid})
        return status

    def _tell(self, message: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the warm process of the crash harness has ended")
        return json.loads(answer)


class Running:
    """A running script, returned by ``CrashHarness.start``.

    Attributes:
        pid: id of its process.
    """

    def __init__(self, harness: CrashHarness, log: Path, error: Path) -> None:
        self.pid = 0
        self._harness = harness
        self._log = log
        self._error = error
        self._size = _size(log)
        self._sent: int | None = None
        self._status: int | None = None

    def ended(self) -> bool:
        """Return whether it has ended."""
        if self._status is None:
            self._status = self._harness.status_of(self.pid)
        return self._status is not None

    def said(self) -> str:
        """Return what it has written to standard error so far."""
        return self._error.read_text() if self._error.exists() else ""

    def send(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)
            self._sent = number

    def adds(self, lines: int, *, timeout: float = 120.0) -> bool:
        """Wait until ``lines`` lines were added to the log; return False if the script ends first.

        Lines that other scripts add to the same log count as well.

        Raises:
            TimeoutError: neither happened within ``timeout`` seconds; the script was killed.
        """
        deadline = time.monotonic() + timeout
        size, found, turn = self._size, 0, 0
        while found < lines:
            if (now := _size(self._log)) > size:
                with self._log.open("rb") as log:
                    log.seek(size)
                    found += log.read(now - size).count(b"\n")
                size = now
                continue
            turn += 1
            if turn % _LOOKS == 0 and self.ended():
                return False
            self._be_patient(deadline, timeout)
        return not self.ended()

    def wait(self, *, timeout: float = 120.0) -> Outcome:
        """Wait for its end.

        Raises:
            TimeoutError: it had not ended after ``timeout`` seconds, and was killed.
        """
        deadline = time.monotonic() + timeout
        while not self.ended():
            self._be_patient(deadline, timeout)
        status = 0 if self._status is None else self._status
        return Outcome(
            killed=self._sent is not None and status == -self._sent,
            status=status,
            lines=_lines(self._log),
            error=self.said(),
        )

    def _be_patient(self, deadline: float, timeout: float) -> None:
        if time.monotonic() > deadline:
            self.send()
            raise TimeoutError(f"process {self.pid} had not ended after {timeout:g} s")
        time.sleep(_POLL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _serve(modules: Sequence[str]) -> None:
    """Run the parent process: fork for each script and report how the children ended."""
    from importlib import import_module

    for name in ("themis.experiment.experiment", "themis.execution.runner", *modules):
        import_module(name)
    for line in sys.stdin:
        message = json.loads(line)
        if "script" in message:
            answer: int | None = _fork(message)
        elif "ask" in message:
            pid, status = os.waitpid(message["ask"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = 0
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(message: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_RDWR)
        errors = os.open(message["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for wanted, given in ((0, quiet), (1, quiet), (2, errors)):
            os.dup2(given, wanted)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal
        sys.argv = [message["script"], *message["argv"]]
        sys.path.insert(0, str(Path(message["script"]).resolve().parent))
        runpy.run_path(message["script"], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:  # noqa: BLE001 - the end of a process of its own
        sys.excepthook(type(error), error, error.__traceback__)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1:])
