"""The LangGraph adapter without LangGraph: a stand-in with the two calls that are used.

A compiled graph goes in its place: `langgraph(builder.compile(), graph_id="planner")`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from themis import Experiment
from themis.adapters import langgraph
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Case, Dataset


class StandInGraph:
    """Plans, then answers; its event stream tells of both steps."""

    async def ainvoke(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the final state."""
        return {**state, "plan": "add the terms", "answer": "4"}

    async def astream_events(
        self, state: dict[str, Any], *, version: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Tell what each step was given and gave."""
        assert version == "v2"
        plan = {"plan": "add the terms"}
        yield {"name": "plan", "event": "step", "data": {"input": state, "output": plan}}
        yield {
            "name": "answer",
            "event": "step",
            "data": {"input": plan, "output": {"answer": "4"}},
        }


def run_example() -> dict[str, object]:
    """Execute the graph once and show its trace."""
    experiment = Experiment(
        generation=GenerationConfig(
            generator=langgraph(StandInGraph(), graph_id="planner", output_key="answer")
        ),
        evaluation=EvaluationConfig(metrics=["builtin/exact_match"], parsers=["builtin/text"]),
        storage=StorageConfig(store="memory"),
        datasets=[
            Dataset(
                dataset_id="sums",
                cases=[Case(case_id="two", input={"question": "2+2"}, expected_output="4")],
            )
        ],
        seeds=[7],
    )
    result = experiment.run()
    candidate = result.cases[0].generated_candidates[0]
    return {
        "run_id": result.run_id,
        "status": result.status.value,
        "steps": [step.step_name for step in candidate.trace or []],
        "answer": candidate.final_output,
    }


if __name__ == "__main__":
    print(run_example())
