"""The vLLM adapter without a server: a stand-in client that answers Chat Completions.

With a server, leave `client=` out: `vllm("my-model", base_url="http://localhost:8000/v1")`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from themis import Experiment
from themis.adapters import vllm
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Case, Dataset


class StandInCompletions:
    """Answers the Chat Completions API's `create` with the number of messages it was sent."""

    async def create(self, **request: Any) -> SimpleNamespace:
        """Answer one request."""
        said = str(len(request["messages"]))
        return SimpleNamespace(
            id="chat-1",
            choices=[SimpleNamespace(message=SimpleNamespace(content=said), finish_reason="stop")],
            usage=SimpleNamespace(prompt_tokens=3, completion_tokens=1),
            headers={},
            model_dump=lambda mode="json": {"choices": [{"message": {"content": said}}]},
        )


class StandInClient:
    """What of the SDK's client the adapter uses."""

    chat = SimpleNamespace(completions=StandInCompletions())


def run_example() -> dict[str, object]:
    """Ask the stand-in one question by chat."""
    generator = vllm(
        "stand-in-model",
        base_url="http://localhost:8000/v1",
        client=StandInClient(),
        api_mode="chat_completions",
        instructions="Answer with only the final number.",
        sampling={"top_k": 20, "max_output_tokens": 16},
    )
    experiment = Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(),
        storage=StorageConfig(store="memory"),
        datasets=[Dataset(dataset_id="sums", cases=[Case(case_id="two", input="What is 1+1?")])],
        seeds=[7],
    )
    result = experiment.run()
    return {
        "run_id": result.run_id,
        "status": result.status.value,
        "api_mode": generator.api_mode,
        "answer": result.cases[0].generated_candidates[0].final_output,
    }


if __name__ == "__main__":
    print(run_example())
