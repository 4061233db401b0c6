"""Whole runs of graphs: one execution a sample, failures with their trace, hangs left behind.

Covers: themis.adapters.langgraph.graph_generator
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.adapters.langgraph.conftest import (
    Sums,
    two_nodes,
)
from tests.support.runs import experiment
from themis.adapters import langgraph
from themis.core.config import StorageConfig
from themis.core.models import Case, Dataset
from themis.testing.scripted import CountingMetric


def _questions(n: int) -> Dataset:
    return Dataset(
        dataset_id="sums",
        cases=[
            Case(case_id=f"c{i}", input={"question": f"{i}"}, expected_output=f"{i}!")
            for i in range(n)
        ],
    )


def _counted(counts: Counter[str]) -> Any:
    """Return a graph of one async and one sync node, which count their executions."""

    async def think(state: Sums) -> Sums:
        counts["think"] += 1
        return {"plan": state["question"]}

    def reply(state: Sums) -> Sums:
        counts["reply"] += 1
        return {"answer": f"{state['plan']}!"}

    return two_nodes(think, reply)


def test_each_sample_is_one_execution_and_resuming_is_none(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    graph = _counted(counts)
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})

    def run(metric: str, version: str | None) -> Any:
        return experiment(
            langgraph(graph, graph_id="g", graph_version=version, output_key="answer"),
            cases=_questions(5),
            samples=2,
            metrics=[CountingMetric(component_id=metric)],
            storage=storage,
        ).run(progress=False)

    result = run("one", "1")
    assert result.status == "completed"
    assert counts == {"think": 10, "reply": 10}
    for case in result.cases:
        for candidate in case.generated_candidates:
            assert [step.step_name for step in candidate.trace or []] == ["think", "reply"]
    assert run("one", "1").status == "completed"
    assert counts["think"] == 10  # the same run again
    assert run("two", "1").status == "completed"
    assert counts["think"] == 10  # another run of the same version
    assert run("two", None).status == "completed"
    assert counts["think"] == 20  # nobody vouches for the graph


def test_the_failing_nodes_error_is_data_with_the_steps_before_it() -> None:
    def broken(state: Sums) -> Sums:
        if state["question"] == "1":
            raise RuntimeError("no answer today")
        return {"answer": "0!"}

    graph = two_nodes(lambda state: {"plan": "add"}, broken)
    result = experiment(
        langgraph(graph, graph_id="sums", output_key="answer"), cases=_questions(3), metrics=[]
    ).run(progress=False)
    assert result.status == "partial_failure"
    (failure,) = result.cases[1].generation_failures
    assert (failure.category, failure.cause) == ("generation", "RuntimeError")
    assert failure.message == "langgraph/sums: no answer today"
    assert "in broken" in (failure.traceback or "")
    assert [(step.step_name, step.output) for step in failure.trace] == [
        ("think", {"plan": "add"}), ("reply", {}),
    ]  # fmt: skip
    assert failure.trace[1].metadata["unfinished"] is True
    assert failure.trace[1].input == {"question": "1", "plan": "add"}
    assert [len(case.generated_candidates) for case in result.cases] == [1, 0, 1]


def test_a_graph_that_hangs_is_left_and_the_others_go_on() -> None:
    ended: Counter[str] = Counter()

    async def wait(state: Sums) -> Sums:
        try:
            await asyncio.sleep(600 if state["question"] == "1" else 0)
        finally:
            ended[state["question"]] += 1
        return {}

    graph = two_nodes(wait, lambda state: {"answer": "4"})
    result = experiment(
        langgraph(graph, graph_id="g", output_key="answer"),
        cases=_questions(3), metrics=[], generation_timeout=3.0, generation_retry_attempts=1,
    ).run(progress=False)  # fmt: skip
    assert [len(case.generated_candidates) for case in result.cases] == [1, 0, 1]
    assert result.cases[1].generation_failures[0].category == "timeout"
    assert ended == {"0": 1, "1": 1, "2": 1}
