"""A run that shows its progress at every commit: python shown.py folder

Before it ends it copies the write-ahead log, which closing the store would take over into the file.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from themis import Experiment
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset
from themis.experiment import progress
from themis.testing import CountingMetric, ScriptedGenerator

progress.SECONDS_BETWEEN_LINES = 0.0


def main() -> None:
    folder = Path(sys.argv[1])
    one = Experiment(
        generation=GenerationConfig(
            generator=ScriptedGenerator(wait=lambda: asyncio.sleep(0.02)),
            candidate_policy={"num_samples": 2},
        ),
        evaluation=EvaluationConfig(metrics=[CountingMetric()]),
        storage=StorageConfig(store="sqlite", parameters={"path": str(folder / "runs.db")}),
        runtime=RuntimeConfig(max_concurrent_tasks=8),
        datasets=[
            Dataset(
                dataset_id="data",
                cases=[Case(case_id=f"c{n}", input=n, expected_output=n) for n in range(150)],
            )
        ],
    )
    one.run(progress=True)
    shutil.copy(folder / "runs.db", folder / "kept.db")
    shutil.copy(folder / "runs.db-wal", folder / "kept.db-wal")
    one.store.close()


if __name__ == "__main__":
    main()
