"""Themis on trivial cases: one sample, a JSON parser, exact match, SQLite.

python -m benchmarks.trivial CASES PATH
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.floor import size_of
from themis import Experiment
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Case, Dataset, GenerationResult


class Echo:
    """Answers with the question."""

    component_id = "benchmark/echo"
    version = "1"

    def fingerprint(self) -> str:
        """Return the one thing there is to say."""
        return "echo"

    async def generate(self, case: Case, ctx: object) -> GenerationResult:
        """Return the case's input."""
        del ctx
        return GenerationResult(candidate_id=case.case_id, final_output=case.input)


def experiment(cases: int, path: str) -> Experiment:
    """Return the experiment; the cases are made here, before the clock starts."""
    dataset = Dataset(
        dataset_id="trivial",
        cases=[
            Case(
                case_id=f"c{index}",
                input={"q": f"{index}+1"},
                expected_output={"q": f"{index}+1"},
            )
            for index in range(cases)
        ],
    )
    return Experiment(
        generation=GenerationConfig(generator=Echo()),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match"], parsers=["builtin/json_identity"]
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": path}),
        datasets=[dataset],
    )


def main() -> None:
    """Run and print the figures as JSON."""
    cases, path = int(sys.argv[1]), sys.argv[2]
    made = experiment(cases, path)
    cpu, wall = time.process_time(), time.perf_counter()
    result = made.run(progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.metrics["builtin/exact_match"].n_scored == cases
    made.store.close()  # moves the write-ahead log into the file
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "bytes": size_of(path)}))


if __name__ == "__main__":
    main()
