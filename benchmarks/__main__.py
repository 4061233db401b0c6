"""Print the table of budgets: figure, floor, ratio, bar, measured now on this machine.

python -m benchmarks [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import limits


def measure(program: str, cases: int) -> dict[str, float]:
    """Run a program in a process of its own and return what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{program}", str(cases), str(Path(folder) / "b.db")],
            capture_output=True,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def best(program: str, cases: int, times: int) -> dict[str, float]:
    """Return the figures of the quickest of several runs: the least disturbed one."""
    return min((measure(program, cases) for _ in range(times)), key=lambda one: one["cpu_s"])


def import_ratio(times: int) -> tuple[float, float]:
    """Return CPU seconds of importing pydantic's base and of importing Themis's front door."""
    base = min(_import_seconds("from pydantic import BaseModel") for _ in range(times))
    front = min(_import_seconds("from themis import Experiment, evaluate") for _ in range(times))
    return base, front


def _import_seconds(statement: str) -> float:
    code = f"import time; c = time.process_time(); {statement}; print(time.process_time() - c)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def rows(sizes: list[int], times: int) -> list[tuple[str, ...]]:
    """Measure everything and return the table's rows."""
    table: list[tuple[str, ...]] = []
    per_case: dict[int, float] = {}
    for cases in sizes:
        floor, mine = best("floor", cases, times), best("trivial", cases, times)
        per_case[cases] = mine["cpu_s"]
        table.append(_row(f"CPU ms a case, {cases} cases", floor, mine, cases))
        table.append(
            (
                f"bytes on disk a case, {cases} cases",
                f"{mine['bytes'] / cases:.0f}",
                f"{floor['bytes'] / cases:.0f}",
                f"{mine['bytes'] / floor['bytes']:.2f}x",
                "2048",
            )
        )
    for small, middle, large in zip(sizes, sizes[1:], sizes[2:], strict=False):
        first = (per_case[middle] - per_case[small]) / (middle - small)
        second = (per_case[large] - per_case[middle]) / (large - middle)
        name = f"growth: slope {middle}-{large} over {small}-{middle}"
        table.append((name, f"{second / first:.2f}", "1", "", "1.1"))
    base, front = import_ratio(times + 2)
    table.append(
        (
            "CPU s of importing the front door",
            f"{front:.3f}",
            f"{base:.3f} (pydantic)",
            f"{front / base:.2f}x",
            "2.5x",
        )
    )
    return table


def _row(name: str, floor: dict[str, float], mine: dict[str, Any], cases: int) -> tuple[str, ...]:
    own, least = mine["cpu_s"] / cases * 1000, floor["cpu_s"] / cases * 1000
    return (name, f"{own:.3f}", f"{least:.3f}", f"{own / least:.1f}x", "4.0x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    quick = parser.parse_args().quick
    names = ("pydantic", "orjson")
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, ")
    print(", ".join(f"{name} {version(name)}" for name in names))
    table = rows([1_000, 10_000] if quick else [1_000, 10_000, 100_000], 3)
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    head = ("what", "figure", "floor", "ratio", "bar")
    for row in (head, *table):
        print("  ".join(cell.ljust(max(width, 6)) for cell, width in zip(row, widths, strict=True)))
    if not quick:
        limits.report()


if __name__ == "__main__":
    main()
