"""How close a run comes to calls that are made back to back, with so many in flight.

    python -m benchmarks.throughput CALLS SECONDS IN_FLIGHT PATH

Ideal is calls x seconds / in flight. The figure is the whole run's: the checks before the first
call and the commit after the last one are in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.trivial import Echo, experiment, warm_up
from themis.core.models import Case, GenerationResult


class Slow(Echo):
    """Answers with the question, after a while."""

    component_id = "benchmark/slow"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def generate(self, case: Case, ctx: object) -> GenerationResult:
        """Return the case's input."""
        await asyncio.sleep(self._seconds)
        return await super().generate(case, ctx)


def main() -> None:
    """Run and print the figures as JSON."""
    calls, seconds, in_flight = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    warm_up()
    made = experiment(calls, sys.argv[4], generator=Slow(seconds), in_flight=in_flight)
    cpu, wall = time.process_time(), time.perf_counter()
    result = made.run(progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.progress.stages["generate"].done == calls
    ideal = calls * seconds / in_flight
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "ideal_s": ideal, "of_ideal": ideal / wall}))


if __name__ == "__main__":
    main()
