"""What runs inside of a sandbox around the program: it goes through it and says how it ended.

This file's text is given to the sandbox's interpreter; it imports nothing of Themis. That a program
came to its end is said with a token which is not on its command line, not in its environment and
in no file, over a descriptor of its own: leaving early, printing, or forging a result on standard
output proves nothing. It shares its interpreter with the program, however, as tests and code must:
a program that is written to search the interpreter's frames for the token will find it.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def said_of(error: BaseException) -> dict[str, str]:
    """Return an exception's kind, name and message, even if its own ``__str__`` raises."""
    try:
        message = str(error)[:500]
    except BaseException:  # noqa: BLE001 - the program's own code
        message = ""
    kind = "exception"
    if isinstance(error, SystemExit):
        kind = "exit"
        message = f"code {error.code}" if isinstance(error.code, int) else message
    elif isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC):
        kind = "full"
    elif isinstance(error, AssertionError):
        kind = "assertion"
    return {"ended": kind, "name": type(error).__name__, "message": message}


def run(source: str, script: bool, token: str, report: Callable[[str], object]) -> None:
    """Run a program and report how it ended; return only where it is to end by itself."""
    process, getpid, leave = os.getpid(), os.getpid, os._exit
    names: dict[str, Any] = {}
    if script:
        module = ModuleType("__main__")
        module.__file__ = "program.py"
        sys.modules["__main__"], names = module, module.__dict__
    try:
        exec(compile(source, "program.py", "exec", dont_inherit=True), names)  # noqa: S102
    except BaseException as error:  # noqa: BLE001 - the boundary to the program
        if script and isinstance(error, SystemExit) and error.code in (None, 0):
            ended = {"ended": "passed"}
        else:
            ended = said_of(error)
    else:
        ended = {"ended": "passed"}
    if getpid() != process:  # a fork of the program's own has nothing to report
        leave(0)
    report(json.dumps({"token": token, **ended}))
    if not script:
        leave(0)
    if ended["ended"] != "passed":
        sys.exit(1)


def limit_processor(seconds: float) -> None:
    """Let the kernel end this process after so many seconds more of processor time."""
    import math
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


def main() -> None:
    """Run the program that stands in one descriptor, and report to another."""
    with open(int(sys.argv[1]), "rb") as given:
        payload = json.loads(given.read())
    report_to = int(sys.argv[2])
    os.set_inheritable(report_to, False)
    sys.argv[:] = ["program.py"]
    limit_processor(payload["seconds"])
    write = os.write

    def report(line: str) -> None:
        write(report_to, line.encode("utf-8", "backslashreplace") + b"\n")

    report(json.dumps({"ready": True}))
    run(payload["source"], payload["script"], payload["token"], report)


def remote(source: str, token: str) -> None:
    """Run a program where standard output is all that comes back, as an endpoint's users have it.

    The token stands in this very file there: it keeps out accidents, and who does not look for it.
    """

    def report(line: str) -> None:
        os.write(1, b"\n" + line.encode("utf-8", "backslashreplace") + b"\n")

    sys.argv[:] = ["program.py"]
    run(source, False, token, report)


if __name__ == "__main__" and len(sys.argv) == 3:
    main()
