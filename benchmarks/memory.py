"""Peak memory of a run whose cases are streamed from a file.

python -m benchmarks.memory CASES PATH
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.trivial import Echo
from themis import Experiment
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Dataset


def main() -> None:
    """Run and print the figures as JSON."""
    cases, path = int(sys.argv[1]), sys.argv[2]
    data = Path(path).with_suffix(".jsonl")
    with data.open("w") as lines:
        for index in range(cases):
            question = {"q": f"{index}+1"}
            one = {"case_id": f"c{index}", "input": question, "expected_output": question}
            lines.write(json.dumps(one) + "\n")
    made = Experiment(
        generation=GenerationConfig(generator=Echo()),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match"], parsers=["builtin/json_identity"]
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": path}),
        datasets=[Dataset.from_jsonl(str(data))],
    )
    cpu, wall = time.process_time(), time.perf_counter()
    result = made.run(progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.metrics["builtin/exact_match"].n_scored == cases
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made.store.close()
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_kib": peak}))


if __name__ == "__main__":
    main()
