"""Killing a program where it hurts: a script is run in a process of its own and ended by SIGKILL.

Processes are forked from one that has loaded Themis already, so that hundreds of kills take a
minute. POSIX only. A script says how far it is through a log file that it appends lines to, such as
``themis.testing.scripted.CallLog``.

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

_POLL = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a process ended.

    Attributes:
        killed: whether it was ended by the harness, before its own end.
        status: exit status; negative for the signal that ended it.
        lines: lines in the log at its end.
        error: what it wrote to standard error.
    """

    killed: bool
    status: int
    lines: int
    error: str


class CrashHarness:
    """Runs scripts in processes forked from a warm one, and kills them on demand.

    Args:
        preload: modules that the warm process loads, beside Themis itself.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a script may be edited within a file time's grain
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
        """End the warm process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

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
        """Run a script, to its end or until its log has grown by so many lines.

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
            TimeoutError: it had not ended by then.
        """
        log = Path(log)
        before = _lines(log)
        error = log.with_suffix(".stderr")
        pid = self._tell({"script": str(script), "argv": list(arguments), "stderr": str(error)})
        deadline = time.monotonic() + timeout
        sent = 0
        while (status := self._ended(pid)) is None:
            if sent < times and kill_after is not None and _lines(log) - before >= kill_after:
                time.sleep(delay)
                os.kill(pid, number)
                sent += 1
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise TimeoutError(f"{script} had not ended after {timeout:g} s")
            time.sleep(_POLL)
        return Outcome(
            killed=sent > 0 and status == -number,
            status=status,
            lines=_lines(log),
            error=error.read_text() if error.exists() else "",
        )

    def _ended(self, pid: int) -> int | None:
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


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _serve(modules: Sequence[str]) -> None:
    """The warm process: fork for each script, and say how the children ended."""
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
