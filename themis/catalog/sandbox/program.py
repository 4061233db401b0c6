"""What a sandbox is given, and what it says: a program, its limits, and how it ended.

Nothing here runs anything.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from themis.core.errors import ComponentError

MIB = 1 << 20

Reason = Literal[
    "passed",
    "assertion",
    "exception",
    "exit",
    "signal",
    "timeout",
    "memory",
    "output_limit",
]


class SandboxError(ComponentError):
    """The sandbox itself failed, so that nothing is known of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Python program to be run."""

    source: str
    script: bool = False
    """Whether it runs as ``__main__`` with its standard input; else as tests do, without either."""
    stdin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramLimits:
    """What a program may use; each is enforced by the system, not by the program's goodwill."""

    seconds: float = 3.0
    """Of processor time in one process, from the program's first line on, rounded up to a whole."""
    wall_seconds: float = 15.0
    """By the clock, from the program's first line on."""
    memory: int = 1024 * MIB
    """Bytes of address space of each process, and of memory of all of them together."""
    files: int = 64 * MIB
    """Bytes of each file, and of all that is written to the scratch directory."""
    output: int = 8 * MIB
    """Bytes on standard output and standard error together."""
    processes: int = 64
    """Processes and threads at a time."""
    open_files: int = 64
    """Files open at a time in one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How a program ended."""

    reason: Reason
    message: str = ""
    """More of it: the exception's name and message, the signal's name, the exit code."""
    isolation: str
    """What it was shut in by: "bubblewrap", "namespaces", "rlimits", or the endpoint's API."""
    stdout: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program came to its end, as it is to."""
        return self.reason == "passed"


class Sandbox(Protocol):
    """Runs programs, from any thread."""

    def run(
        self, program: Program, limits: ProgramLimits, *, given_up: threading.Event | None = None
    ) -> ProgramResult:
        """Run a program to its end, which the limits bring about at the latest.

        Args:
            program: what is run.
            limits: what it may use.
            given_up: set where nobody waits for it any more, so that it may be ended at once.

        Raises:
            SandboxError: the sandbox could not do so; nothing is known of the program.
        """
        ...


_REASONS: Mapping[str, Reason] = {
    "memory": "memory",
    "full": "output_limit",
    "assertion": "assertion",
}


def failure(report: dict[str, object], *, isolation: str, stdout: str = "") -> ProgramResult:
    """Return how a program ended by what its harness says of the exception that ended it."""
    name, said = str(report.get("name", "")), str(report.get("message", ""))
    said = said.encode("utf-8", "backslashreplace").decode("utf-8")
    message = f"{name}: {said}" if said else name
    kind = report.get("ended")
    if kind == "exit":
        return ProgramResult(
            reason="exit",
            message=f"exited before its end ({said or 'code 0'})",
            isolation=isolation,
            stdout=stdout,
        )
    return ProgramResult(
        reason=_REASONS.get(str(kind), "exception"),
        message=message,
        isolation=isolation,
        stdout=stdout,
    )
