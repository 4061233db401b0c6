"""A run against an endpoint that may be killed at any moment: python worker.py settings.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from themis import Experiment, use
from themis.adapters import openai, openai_judge
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.errors import BudgetSpentError
from themis.core.models import Case, Dataset

SPENT = 3
"""Exit status of a run that its budget stopped."""


def make(settings: dict[str, Any]) -> Experiment:
    endpoint = {
        "base_url": settings["url"],
        "api_key": "key",
        "api_mode": settings.get("api_mode", "chat_completions"),
        "sampling": {"max_output_tokens": settings.get("cap", 16)},
    }
    judged = settings.get("judged", False)
    metrics: list[Any] = ["builtin/exact_match"]
    if judged:
        metrics.append(use("builtin/llm_rubric", rubric="Right?"))
    return Experiment(
        generation=GenerationConfig(
            generator=openai("scripted", **endpoint),
            candidate_policy={"num_samples": settings.get("samples", 1)},
        ),
        evaluation=EvaluationConfig(
            metrics=metrics, judge_models=[openai_judge("judge", **endpoint)] if judged else []
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": settings["db"]}),
        runtime=RuntimeConfig(
            max_concurrent_tasks=settings.get("concurrency", 8),
            generation_timeout=settings.get("timeout", 60.0),
            generation_retry_delay=0.001,
            judge_retry_delay=0.001,
            budget=settings.get("budget"),
        ),
        datasets=[
            Dataset(
                dataset_id="questions",
                cases=[
                    Case(case_id=f"c{n}", input=f"question {n}", expected_output=f"question {n}")
                    for n in range(settings["cases"])
                ],
            )
        ],
    )


def main() -> None:
    try:
        make(json.loads(Path(sys.argv[1]).read_text())).run(progress=False)
    except BudgetSpentError:
        sys.exit(SPENT)


if __name__ == "__main__":
    main()
