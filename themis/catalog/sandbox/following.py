"""Following a program from outside: its output, bounded; its time; and what is said of its end.

Whatever the program does, this comes to an end: after the time for starting, that of the program,
and that for ending, the supervisor is killed, and with it all that it started.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from themis.catalog.sandbox.program import (
    Program,
    ProgramLimits,
    ProgramResult,
    SandboxError,
    failure,
)

STARTING = 120.0
"""Seconds that may pass until the program's first line is reached."""
ENDING = 30.0
"""Seconds that may pass between telling the supervisor to end and its end."""
_LOOK = 0.25
"""Seconds after which it is looked whether anybody still waits."""
_REPORT_MOST = 1 << 16
_CHUNK = 1 << 16


def follow(
    program: Program,
    limits: ProgramLimits,
    command: list[str],
    config: dict[str, Any],
    given_up: threading.Event,
) -> ProgramResult:
    """Start a supervisor, and return how the program under it ended.

    Args:
        program: what is run.
        limits: of it all, its output and its time are kept here.
        command: starts the supervisor; what it is to know is put behind.
        config: that.
        given_up: set where nobody waits for it any more.

    Raises:
        SandboxError: the supervisor could not start or did not say how it ended.
    """
    token = secrets.token_hex(32)
    payload = {
        "source": program.source,
        "script": program.script,
        "seconds": limits.seconds,
        "token": token,
    }
    with _Descriptors() as own:
        given, stdin = own.text(json.dumps(payload)), own.text(program.stdin)
        report, report_in = own.pipe()
        status, status_in = own.pipe()
        lifeline_out, lifeline = own.pipe()
        inside = {
            "payload": given,
            "report": report_in,
            "status": status_in,
            "lifeline": lifeline_out,
        }
        whole = {**config, **inside}
        whole["argv"] = [*config["argv"], str(given), str(report_in)]
        try:
            process = subprocess.Popen(
                [*command, json.dumps(whole)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=tuple(inside.values()),
                start_new_session=True,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd="/",
            )
        except OSError as error:
            raise SandboxError(f"the sandbox could not be started: {error}") from error
        with process:
            for descriptor in inside.values():
                own.close(descriptor)
            followed = _Followed(
                program, limits, process, report, status, lambda: own.close(lifeline), given_up
            )
            try:
                followed.to_the_end()
            finally:
                _kill(process)
    return followed.ended(token, config["isolation"])


class _Descriptors:
    """Descriptors that are closed once each, in the end at the latest."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in list(self._open):
            self.close(one)

    def close(self, descriptor: int) -> None:
        """Close one; nothing where that was done, since its number may be another's by now."""
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    def pipe(self) -> tuple[int, int]:
        """Return the two ends of a pipe, the one to read from first."""
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def text(self, text: str) -> int:
        """Return what reads a text, from a file that has no name."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(text.encode("utf-8", "surrogatepass"))
            file.flush()
            descriptor = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC)
        self._open.add(descriptor)
        return descriptor


class _Followed:
    """What is heard of one program."""

    def __init__(
        self,
        program: Program,
        limits: ProgramLimits,
        process: subprocess.Popen[bytes],
        report: int,
        status: int,
        tell_to_end: Callable[[], None],
        given_up: threading.Event,
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._script = program.script
        self._limits = limits
        self._tell_to_end = tell_to_end
        self._given_up = given_up
        self._report, self._status = report, status
        self._stdout, self._stderr = process.stdout.fileno(), process.stderr.fileno()
        self._heard: dict[int, bytearray] = {
            one: bytearray() for one in (report, status, self._stdout, self._stderr)
        }
        self._ready = False
        self._stopped_for: str | None = None
        self._deadline = time.monotonic() + STARTING

    def to_the_end(self) -> None:
        """Listen until nothing can come any more, or nothing is waited for any more."""
        with selectors.DefaultSelector() as selector:
            for one in self._heard:
                os.set_blocking(one, False)
                selector.register(one, selectors.EVENT_READ)
            while selector.get_map():
                left = self._deadline - time.monotonic()
                if left <= 0:
                    if self._stopped_for is not None:
                        return
                    self._stop("timeout" if self._ready else "start")
                    continue
                if self._given_up.is_set():
                    self._stop("given_up")
                for key, _ in selector.select(min(left, _LOOK)):
                    if not self._hear(key.fd):
                        selector.unregister(key.fd)

    def _hear(self, descriptor: int) -> bool:
        """Take in what there is; return whether more may come."""
        try:
            found = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        if not found:
            return False
        heard = self._heard[descriptor]
        if descriptor in (self._stdout, self._stderr):
            if (
                len(self._heard[self._stdout]) + len(self._heard[self._stderr]) + len(found)
                > self._limits.output
            ):
                self._stop("output_limit")
            else:
                heard += found
        elif len(heard) < _REPORT_MOST:
            heard += found
        if descriptor == self._report and not self._ready and b"\n" in heard:
            self._ready = True
            self._deadline = time.monotonic() + self._limits.wall_seconds
        return True

    def _stop(self, why: str) -> None:
        if self._stopped_for is None:
            self._stopped_for = why
            self._deadline = time.monotonic() + ENDING
            self._tell_to_end()

    def ended(self, token: str, isolation: str) -> ProgramResult:
        """Return how the program ended, as far as that can be believed."""
        reports = _lines(self._heard[self._report])
        said: dict[str, Any] = {}
        for line in _lines(self._heard[self._status]):
            said = {**line, **said}  # what is said first counts
        stdout = self._heard[self._stdout].decode("utf-8", "replace")
        if self._stopped_for == "given_up":
            raise SandboxError("the program was ended, since nobody waited for it any more")
        if not self._ready or "failed" in said or not (said or self._stopped_for):
            raise SandboxError(self._what_failed(said))

        def end(reason: Any, message: str) -> ProgramResult:
            return ProgramResult(reason=reason, message=message, isolation=isolation, stdout=stdout)

        if self._stopped_for == "output_limit":
            return end("output_limit", f"wrote more than {self._limits.output:,} bytes")
        if self._stopped_for == "timeout":
            return end("timeout", f"did not end within {self._limits.wall_seconds:g} s")
        if (why := said.get("ended_for")) == "memory":
            return end("memory", f"took more than {self._limits.memory:,} bytes of memory")
        if why == "output_limit":
            return end(
                "output_limit", f"files of more than {self._limits.files:,} bytes, or too many"
            )
        told = [one for one in reports if "ended" in one]
        proven = [one for one in told if one.get("token") == token]
        if said.get("code") == 0 and proven and proven[0]["ended"] == "passed":
            return end("passed", "")
        if (number := said.get("signal")) is not None:
            return self._by_signal(number, said["seconds"], end)
        if told and told[0]["ended"] != "passed":
            return failure(told[0], isolation=isolation, stdout=stdout)
        if self._script and said.get("code") == 0 and not told:
            return end("passed", "")  # it left early, and its output says whether it was done
        return end("exit", f"exited before its end (code {said.get('code')})")

    def _by_signal(
        self, number: int, seconds: float, end: Callable[[Any, str], ProgramResult]
    ) -> ProgramResult:
        # The kernel sends SIGKILL to who does not hear SIGXCPU a second later.
        late = number == signal.SIGKILL and seconds > self._limits.seconds + 1
        if number == signal.SIGXCPU or late:
            return end("timeout", f"took more than {self._limits.seconds:g} s of processor time")
        if number == signal.SIGXFSZ:
            return end("output_limit", f"a file of more than {self._limits.files:,} bytes")
        try:
            return end("signal", f"killed by {signal.Signals(number).name}")
        except ValueError:
            return end("signal", f"killed by signal {number}")

    def _what_failed(self, said: dict[str, Any]) -> str:
        if "failed" in said:
            return f"the sandbox could not be set up: {said['failed']}"
        if self._stopped_for == "start":
            return f"the sandbox did not start within {STARTING:g} s"
        words = self._heard[self._stderr].decode("utf-8", "replace").strip().splitlines()
        return "the sandbox ended without saying how the program did: " + (
            words[-1][:300] if words else "no reason given"
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the supervisor, if it has not ended; a process group of its own, so all of it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _lines(heard: bytearray) -> list[dict[str, Any]]:
    """Return the JSON objects that stand on lines of their own; others may be the program's."""
    found = []
    for line in bytes(heard).splitlines():
        with suppress(ValueError):
            one = json.loads(line)
            if isinstance(one, dict):
                found.append(one)
    return found
