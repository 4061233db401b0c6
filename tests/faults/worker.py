"""A run that may be killed at any moment: python worker.py settings.json

Answers follow from case and sample alone, so that however often it is killed the scores must come
out the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig, use
from themis.core.errors import ProviderError
from themis.core.models import Case, Dataset
from themis.core.snapshot import RunSnapshot
from themis.experiment.experiment import Experiment
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge


def answer(case: Case, ctx: Any) -> Any:
    number = int(case.case_id[1:])
    return f"{number}" if (number * 7 + ctx.sample_index * 3) % 5 else f"not {number}"


def rate(prompt: Any, seed: Any) -> str:
    return f"VERDICT: {'PASS' if seed % 3 else 'FAIL'}"


def rating(prompt: Any, seed: Any) -> str:
    said = prompt.text.partition("The answer to rate:")[2]
    return f"VERDICT: {sum(said.encode()) % 11}"


def equal(value: Any, case: Case) -> bool:
    return bool(value == case.expected_output)


def hang(value: Any, case: Case) -> bool:
    time.sleep(3_600)
    return True


def make(settings: dict[str, Any]) -> Experiment:
    gate = Path(settings["gate"]) if "gate" in settings else None

    async def wait() -> None:
        while gate is not None and not gate.exists():
            await asyncio.sleep(0.002)
        if settings["wait_ms"]:
            await asyncio.sleep(settings["wait_ms"] / 1000)

    log = settings["log"]
    failures = {
        f"c{n}": [ProviderError("busy", status=503)] for n in range(0, settings["flaky"] * 3, 3)
    }
    selector = "builtin/best_of_n" if settings["selector"] else None
    judges = [
        ScriptedJudge(
            rating if selector else rate, wait=wait, log=log, component_id=f"judge/{number}"
        )
        for number in range(settings["judges"])
    ]
    metrics: list[Any] = [
        CountingMetric(
            hang if settings.get("hang") else equal,
            component_id=settings.get("metric", "counting/metric"),
        )
    ]
    if judges and not selector:
        metrics.append(use("builtin/panel_of_judges", rubric="Right?", name="panel"))
    return Experiment(
        generation=GenerationConfig(
            generator=ScriptedGenerator(answer, failures=failures, wait=wait, log=log),
            candidate_policy={"num_samples": settings["samples"]},
            selector=selector,
            reducer="builtin/majority_vote" if settings["reducer"] else None,
        ),
        evaluation=EvaluationConfig(
            metrics=metrics, parsers=[CountingParser()], judge_models=judges
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": settings["db"]}),
        runtime=RuntimeConfig(
            max_concurrent_tasks=settings["concurrency"],
            generation_retry_delay=0.001,
            drain_timeout=settings.get("drain_timeout", 30.0),
            existing_run_policy=settings.get("policy", "auto"),
            owner_wait=settings.get("owner_wait", 0.0),
        ),
        datasets=[
            Dataset(
                dataset_id="data",
                cases=[
                    Case(case_id=f"c{n}", input=n, expected_output=str(n))
                    for n in range(settings["cases"])
                ],
            )
        ],
    )


def snapshot(settings: dict[str, Any]) -> RunSnapshot:
    return make(settings).compile()


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    one = make(settings)
    result = one.run(progress=False)
    told = {
        "status": result.status.value,
        "run_id": result.run_id,
        "rows": [row.model_dump(mode="json") for row in result.score_rows()],
        "headline": [one.plain() for one in result.metrics.values()],
    }
    Path(settings["out"]).write_text(json.dumps(told))
    one.store.close()


if __name__ == "__main__":
    main()
