"""How soon a run that was killed does new work: SIGKILL once so many cases are done, then resume.

    python -m benchmarks.resume CASES PATH

A first process answers CASES cases and hangs on the last few; it is killed there. The second one,
which is this one, is timed from the call of ``run`` to the first call of its generator.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time

from benchmarks.trivial import Echo, experiment, warm_up
from themis.core.events import Event, EventKind
from themis.core.models import Case, GenerationResult

_MORE = 64
"""Cases beyond those that are done."""


class Watched(Echo):
    """Answers with the question; tells when it was first asked; hangs on some, if it is to."""

    component_id = "benchmark/watched"

    def __init__(self, hangs_from: int | None) -> None:
        self._hangs_from = hangs_from
        self.first_asked: float | None = None

    async def generate(self, case: Case, ctx: object) -> GenerationResult:
        """Return the case's input."""
        if self.first_asked is None:
            self.first_asked = time.perf_counter()
        if self._hangs_from is not None and int(case.case_id[1:]) >= self._hangs_from:
            await asyncio.sleep(3600)
        return await super().generate(case, ctx)


class Counter:
    """Says on standard output when so many cases are finished, which is after their commit."""

    def __init__(self, cases: int) -> None:
        self._left = cases

    def on_event(self, event: Event) -> None:
        """Count the end of a case."""
        self._left -= event.kind is EventKind.CASE_FINISHED
        if self._left == 0:
            print("done", flush=True)


def first(cases: int, path: str) -> None:
    """Answer so many cases and hang on the others, until killed."""
    made = experiment(cases + _MORE, path, generator=Watched(cases))
    made.run(progress=False, subscribers=[Counter(cases)])


def main() -> None:
    """Run and print the figures as JSON."""
    if sys.argv[1] == "--first":
        first(int(sys.argv[2]), sys.argv[3])
        return
    cases, path = int(sys.argv[1]), sys.argv[2]
    victim = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.resume", "--first", str(cases), path],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "done\n"
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    warm_up()
    generator = Watched(None)
    made = experiment(cases + _MORE, path, generator=generator)
    cpu, began = time.process_time(), time.perf_counter()
    result = made.run(progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    assert generator.first_asked is not None
    assert result.progress.cases_finished == cases + _MORE
    made.store.close()
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "first_s": generator.first_asked - began}))


if __name__ == "__main__":
    main()
