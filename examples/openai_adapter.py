"""The OpenAI adapter without an account: a stand-in client that answers like the SDK's.

With a key in `OPENAI_API_KEY`, leave `client=` out and name a real model.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from themis import Experiment, InMemoryRunStore, PromptSpec
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Case, Dataset


class StandInResponses:
    """Answers the Responses API's `create`, always with 4."""

    async def create(self, **request: Any) -> SimpleNamespace:
        """Answer one request."""
        answer = {"id": "resp-1", "output_text": "4"}
        return SimpleNamespace(
            **answer,
            headers={"x-ratelimit-remaining-requests": "59", "x-request-id": "req-1"},
            usage=SimpleNamespace(input_tokens=len(request["input"].split()), output_tokens=1),
            model_dump=lambda mode="json": answer,
        )


class StandInClient:
    """What of the SDK's client the adapter uses."""

    responses = StandInResponses()


def run_example() -> dict[str, object]:
    """Ask the stand-in one question and show what is kept of its answer."""
    store = InMemoryRunStore()
    experiment = Experiment(
        generation=GenerationConfig(
            generator=openai(
                "stand-in-model",
                client=StandInClient(),
                instructions="Answer with only the final number.",
                sampling={"temperature": 0.2, "max_output_tokens": 16},
            ),
            prompt_spec=PromptSpec(prefix="A question:"),
        ),
        evaluation=EvaluationConfig(),
        storage=StorageConfig(store="memory"),
        datasets=[Dataset(dataset_id="sums", cases=[Case(case_id="two", input="What is 2+2?")])],
        seeds=[7],
    )
    result = experiment.run(store=store)
    candidate = result.cases[0].generated_candidates[0]
    artifacts = candidate.artifacts or {}
    return {
        "run_id": result.run_id,
        "status": result.status.value,
        "answer": candidate.final_output,
        "artifact_keys": sorted(artifacts),
        "request": artifacts["request"],
    }


if __name__ == "__main__":
    print(run_example())
