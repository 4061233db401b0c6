"""Themis on trivial cases: a generator that answers with the question, exact match, SQLite.

    python -m benchmarks.trivial CASES PATH [--in-flight N] [--samples N] [--judged] [--again]

Several samples are put to a majority vote. ``--judged`` adds a rubric and the demo judge.
``--again`` runs the same cases a second time under another run, which finds every step done, and
tells the figures of that second run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.floor import IN_FLIGHT, bytes_written, size_of
from themis import Experiment, use
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset, GenerationResult

_RUBRIC = use("builtin/llm_rubric", rubric="The answer repeats the question.")


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


def experiment(
    cases: int,
    path: str,
    *,
    generator: object = None,
    in_flight: int = IN_FLIGHT,
    samples: int = 1,
    judged: bool = False,
    dataset_id: str = "trivial",
) -> Experiment:
    """Return the experiment; the cases are made here, before the clock starts."""
    data = [
        Case(case_id=f"c{index}", input={"q": f"{index}+1"}, expected_output={"q": f"{index}+1"})
        for index in range(cases)
    ]
    return Experiment(
        generation=GenerationConfig(
            generator=generator or Echo(),
            candidate_policy={"num_samples": samples},
            reducer="builtin/majority_vote" if samples > 1 else None,
        ),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match", *([_RUBRIC] if judged else [])],
            parsers=["builtin/json_identity"],
            judge_models=["builtin/demo_judge"] if judged else [],
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": path}),
        runtime=RuntimeConfig(max_concurrent_tasks=in_flight),
        datasets=[Dataset(dataset_id=dataset_id, cases=data)],
    )


def warm_up() -> None:
    """Load all that a run needs, as the floor has loaded its own: no figure holds an import."""
    with TemporaryDirectory() as folder:
        made = experiment(10, str(Path(folder) / "warm-up.db"))
        made.run(progress=False)
        made.store.close()


def main() -> None:
    """Run and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("path")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--judged", action="store_true")
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    shape = {"in_flight": given.in_flight, "samples": given.samples, "judged": given.judged}
    warm_up()
    made = experiment(given.cases, given.path, **shape)
    if given.again:
        made.run(progress=False)
        made = experiment(given.cases, given.path, **shape, dataset_id="again")
    written, cpu, wall = bytes_written(), time.process_time(), time.perf_counter()
    result = made.run(progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.metrics["builtin/exact_match"].n_scored == given.cases
    if given.again:
        assert all(stage.reused == stage.done for stage in result.progress.stages.values())
    made.store.close()  # moves the write-ahead log into the file
    figures = {"cpu_s": cpu, "wall_s": wall, "written": bytes_written() - written}
    print(json.dumps({**figures, "bytes": size_of(given.path), "run_id": result.run_id}))


if __name__ == "__main__":
    main()
