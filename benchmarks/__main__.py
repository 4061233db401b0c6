"""Print the table of budgets: figure, bar, floor, ratio, measured now on this machine, in one run.

    python -m benchmarks [--quick] [--only WORD] [--write]

The full run takes most of an hour: it goes to a million cases. ``--quick`` takes smaller sizes and
leaves out what has none; it ends within two minutes on a quiet machine. ``--only`` takes the groups
whose name holds a word. ``--write`` keeps a full run's table in RESULTS.md. Of programs that are
run several times the least disturbed run counts, and a floor is always run beside what is held
to it. The exit status is 1 where a bar is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import limits, table
from benchmarks.table import Row, against_floor, at_least, at_most

RESULTS = Path(__file__).with_name("RESULTS.md")
Figures = dict[str, Any]
_Call = tuple[str, *tuple[object, ...]]
"""A program and its arguments."""


class Bench:
    """The programs and the sizes they are run at."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.times = 2 if quick else 3
        self.sizes = [1_000, 5_000] if quick else [1_000, 10_000, 100_000]

    @property
    def largest(self) -> int:
        """The size at which a finished run is resumed and read."""
        return self.sizes[-1]

    def run(self, program: str, *args: object, path: str | None = None) -> Figures:
        """Run a program in a process of its own, on a new file or a given one."""
        with TemporaryDirectory() as folder:
            file = path or str(Path(folder) / "b.db")
            words = [str(file if one is PATH else one) for one in args]
            # Compiled modules are kept, as they are for who uses an installed package.
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{program}", *words],
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
        if done.returncode:
            raise SystemExit(f"benchmarks.{program} {' '.join(words)} failed:\n{done.stderr}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures

    def pair(self, first: _Call, second: _Call) -> tuple[Figures, ...]:
        """Run two programs by turns and return the figures of the least disturbed run of each."""
        runs = [(self.run(*first), self.run(*second)) for _ in range(self.times)]
        return tuple(min(side, key=lambda one: one["cpu_s"]) for side in zip(*runs, strict=True))


PATH = object()
"""Stands for the database in a program's arguments."""


def cases(bench: Bench) -> Iterator[Row]:
    """CPU, growth and bytes of trivial cases."""
    cpu: list[float] = []
    for n in bench.sizes:
        floor, own = bench.pair(("floor", n, PATH), ("trivial", n, PATH))
        cpu.append(own["cpu_s"])
        bar = 4.0 if n == max(5_000, bench.sizes[1]) else None
        a_case = 1000 / n
        what = f"CPU a case, {n:,} cases"
        yield against_floor(
            what, own["cpu_s"] * a_case, floor["cpu_s"] * a_case, bar=bar, unit="ms"
        )
        if n == bench.largest:
            on_disk = own["bytes"] / n
            yield at_most(f"bytes on disk a case, {n:,}", on_disk, bar=2048, unit="B", digits=0)
    for i in range(len(bench.sizes) - 2):
        small, middle, large = bench.sizes[i : i + 3]
        slope = (cpu[i + 1] - cpu[i]) / (middle - small)
        growth = (cpu[i + 2] - cpu[i + 1]) / (large - middle) / slope
        what = f"growth: slope {middle:,} to {large:,} over {small:,} to {middle:,}"
        yield at_most(what, growth, bar=1.1, unit="x")


def written(bench: Bench) -> Iterator[Row]:
    """Bytes handed to the kernel, 512 cases in flight."""
    n = bench.largest
    floor = bench.run("floor", n, PATH, 512)
    own = bench.run("trivial", n, PATH, "--in-flight", 512)
    if floor["written"]:
        yield against_floor(
            f"bytes written a case, {n:,} cases, 512 in flight",
            own["written"] / n,
            floor["written"] / n,
            bar=1.2,
            unit="B",
            digits=0,
        )


def shapes(bench: Bench) -> Iterator[Row]:
    """Runs of other shapes, and a run that finds everything done."""
    n = bench.sizes[0] if bench.quick else bench.sizes[1]
    votes = bench.run("trivial", n, PATH, "--samples", 8)
    what = f"CPU a case, 8 samples and a majority vote, {n:,} cases"
    yield Row(what, f"{votes['cpu_s'] / n * 1000:.3f} ms")
    judged = bench.run("trivial", n, PATH, "--judged")
    what = f"CPU a case, a rubric and the demo judge, {n:,} cases"
    yield Row(what, f"{judged['cpu_s'] / n * 1000:.3f} ms")
    n = bench.sizes[1]
    again = min((bench.run("trivial", n, PATH, "--again") for _ in range(bench.times)), key=_cpu)
    what = f"CPU a step, everything reused, {n:,} cases"
    yield at_most(what, again["cpu_s"] / n / 3 * 1000, bar=0.05, unit="ms", digits=3)


def _cpu(figures: Figures) -> float:
    return float(figures["cpu_s"])


def throughput(bench: Bench) -> Iterator[Row]:
    """Calls against calls made back to back."""
    for seconds, in_flight in ((0.05, 128), (0.5, 512)):
        runs = [
            bench.run("throughput", 5_000, seconds, in_flight, PATH) for _ in range(bench.times)
        ]
        best = max(one["of_ideal"] for one in runs)
        what = f"throughput of ideal, 5,000 calls of {seconds * 1000:g} ms, {in_flight} in flight"
        yield at_least(what, best, bar=0.9)


def resume(bench: Bench) -> Iterator[Row]:
    """Going on after SIGKILL."""
    n = bench.largest
    first = bench.run("resume", n, PATH)["first_s"]
    yield at_most(f"first new work after a kill, {n:,} cases done", first, bar=3.0, unit="s")


def reading(bench: Bench) -> Iterator[Row]:
    """A finished run, looked at."""
    n = bench.largest
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "finished.db")
        run_id = bench.run("trivial", n, PATH, path=path)["run_id"]
        for question, what, bar in (
            ("state", "reopening a finished run", 3.0),
            ("report", "its Markdown report", 3.0),
            ("headline", "its headline", 0.3),
            ("page", "the first page of its cases", 0.3),
        ):
            figures = bench.run("reading", question, run_id, PATH, path=path)
            yield at_most(f"{what}, {n:,} cases", figures["wall_s"], bar=bar, unit="s")


CALLS = (
    ("chat_completions",),
    ("responses",),
    ("chat_completions", "stream"),
    ("responses", "stream"),
)


def calls(bench: Bench) -> Iterator[Row]:
    """Through ``openai(...)`` to an endpoint on loopback."""
    n = 2_000  # fewer would not make up for the rounds in which concurrency grows
    for options in CALLS[:1] if bench.quick else CALLS:
        bare = bench.run("calls", "bare", n, PATH, *options)
        own = bench.run("calls", "themis", n, PATH, *options)
        what = " ".join(options)
        yield against_floor(
            f"CPU a call through openai(...), {what}, against a bare loop",
            own["cpu_s"] * 1000 / n,
            bare["cpu_s"] * 1000 / n,
            bar=4.0,
            unit="ms",
        )
        of_bare = bare["wall_s"] / own["wall_s"]
        yield at_least(f"its throughput, {what}, of the bare loop's", of_bare, bar=0.7)
        if len(options) == 1:
            sdk = bench.run("calls", "sdk", n, PATH, *options)
            yield against_floor(
                f"CPU a call through openai(...), {what}, against OpenAI's SDK",
                own["cpu_s"] * 1000 / n,
                sdk["cpu_s"] * 1000 / n,
                bar=0.5,
                unit="ms",
            )


def imports(bench: Bench) -> Iterator[Row]:
    """Importing."""
    figures = bench.run("imports")
    yield against_floor(
        "CPU of importing the front door, against pydantic's BaseModel",
        figures["front_s"],
        figures["base_s"],
        bar=2.5,
        unit="s",
    )
    loaded = figures["loaded_by_help"]
    said = ", ".join(loaded) or "none"
    yield Row("heavy modules loaded by themis --help", said, "none", is_kept=not loaded)


def memory(bench: Bench) -> Iterator[Row]:
    """Peak memory of streamed cases."""
    small, large = (1_000, 10_000) if bench.quick else (10_000, 1_000_000)
    few, many = bench.run("memory", small, PATH), bench.run("memory", large, PATH)
    more = (many["peak_kib"] - few["peak_kib"]) / 1024
    yield at_most(f"peak memory, {large:,} streamed cases over {small:,}", more, bar=64, unit="MiB")


def endpoints(bench: Bench) -> Iterator[Row]:
    """Limits and pauses, as an endpoint sees them."""
    if bench.quick:
        return
    limits.warm_up()
    for program in limits.PROGRAMS:
        for finding in program():
            yield Row(finding.what, finding.figure, finding.bar, is_kept=finding.is_kept)


GROUPS: tuple[Callable[[Bench], Iterator[Row]], ...] = (
    cases,
    shapes,
    throughput,
    calls,
    resume,
    reading,
    written,
    imports,
    memory,
    endpoints,
)


def main() -> None:
    """Measure, print, and keep where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, smaller sizes")
    parser.add_argument("--only", default="", help="groups whose name holds this word")
    parser.add_argument("--write", action="store_true", help="keep a full run in RESULTS.md")
    given = parser.parse_args()
    if given.write and (given.quick or given.only):
        parser.error("--write keeps full runs only: leave --quick and --only out")
    bench = Bench(quick=given.quick)
    facts = list(table.machine())
    print("\n".join(facts), flush=True)
    rows: list[Row] = []

    def measured() -> Iterator[Row]:
        for group in GROUPS:
            if given.only in group.__name__:
                for row in group(bench):
                    rows.append(row)
                    yield row

    for line in table.plain(measured()):
        print(line, flush=True)
    if given.write:
        lines = ["# Budgets, measured", "", *(f"- {fact}" for fact in facts), ""]
        RESULTS.write_text("\n".join([*lines, *table.markdown(rows)]) + "\n", encoding="utf-8")
    sys.exit(any(row.is_kept is False for row in rows))


if __name__ == "__main__":
    main()
