"""A process of its own for Math-Verify, for alarms that need a main thread, and bounded memory.

``MathProcess`` starts ``python -m themis.catalog.math_process`` and asks it one question at a time,
a line of JSON each way. It is ended where it does not answer in time, and started again when asked
next; it ends by itself when its asker does.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from themis.catalog.math_verdicts import compare

_STARTING = 30.0
"""Seconds that the process may take to be there."""
_MEMORY = 2 << 30
"""Bytes of address space that it may have."""


class MathProcess:
    """Asks Math-Verify from any thread; questions wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: list[Any], *, within: float) -> list[Any] | None:
        """Return what ``math_verdicts.compare`` gives, or None where it took longer than that.

        Args:
            question: its arguments.
            within: seconds, beside those that the process takes to start.
        """
        with self._lock:
            if self._process is None:
                self._process = _started()
                atexit.register(self.close)
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            killer = threading.Timer(_STARTING + within, process.kill)
            killer.daemon = True
            killer.start()
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:  # it is gone, as if it had not answered
                line = ""
            finally:
                killer.cancel()
            if not line:
                self._end()
                return None
            answer: list[Any] = json.loads(line)
            return answer

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            atexit.unregister(self.close)
            process, self._process = self._process, None
            process.kill()
            with suppress(OSError), process:  # closes the pipes, one of them broken, and waits
                pass
            process.wait()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "themis.catalog.math_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        encoding="utf-8",
    )


def main() -> None:
    """Answer the questions that come in, until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever is printed in there is no answer
    with suppress(ImportError, OSError, ValueError):  # no POSIX, or less is allowed as it is
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # What is loaded for the first question of all is not to take of that question's time.
    compare("1", ["1"], int(_STARTING), {})
    for line in sys.stdin:
        answers.write(json.dumps(compare(*json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
