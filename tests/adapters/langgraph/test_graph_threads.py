"""Graphs that block: they hold up neither the loop, nor other samples, nor the program's end.

Covers: themis.adapters.langgraph.graph_generator, themis.adapters.transport.threads
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.adapters.langgraph.conftest import (
    CASE,
    Context,
    Sums,
    two_nodes,
)
from themis.adapters import langgraph


async def test_a_graph_that_only_blocks_runs_beside_the_loop(context: Context) -> None:
    seen: list[str] = []

    def invoke(payload: Any) -> Any:
        seen.append(threading.current_thread().name)
        return {"answer": payload["question"]}

    graph = SimpleNamespace(invoke=invoke)
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert result.final_output == "2+2"
    assert seen == ["themis-call"]
    assert [step.step_name for step in result.trace or []] == ["g"]


async def test_a_blocking_graph_that_raises_fails_the_sample(context: Context) -> None:
    def invoke(payload: Any) -> Any:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        await langgraph(SimpleNamespace(invoke=invoke), graph_id="g").generate(CASE, context())


HANGING = """
import threading
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
from tests.support.runs import experiment
from themis.adapters import langgraph
from themis.core.models import Case, Dataset

class State(TypedDict, total=False):
    n: int

def node(state):
    if state["n"] < 40:
        threading.Event().wait()  # more such nodes than the default executor has threads
    return {"n": state["n"]}

builder = StateGraph(State)
builder.add_node("node", node)
builder.add_edge(START, "node")
builder.add_edge("node", END)
cases = [Case(case_id=f"c{n}", input={"n": n}) for n in range(44)]
result = experiment(
    langgraph(builder.compile(), graph_id="g", output_key="n"),
    cases=Dataset(dataset_id="d", cases=cases), metrics=[], max_concurrent_tasks=64,
    generation_timeout=3.0, generation_retry_attempts=1,
).run(progress=False)
print([case.case_id for case in result.cases if case.generated_candidates])
"""


@pytest.mark.slow
def test_sync_nodes_that_hang_hold_up_neither_the_others_nor_the_program() -> None:
    said = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, check=True, timeout=120,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert said.stdout.strip() == str(["c40", "c41", "c42", "c43"])


async def test_a_loops_own_executor_is_left_as_it_is(context: Context) -> None:
    from concurrent.futures import ThreadPoolExecutor

    seen: list[str] = []

    def node(state: Sums) -> Sums:
        seen.append(threading.current_thread().name)
        return {"answer": "4"}

    own = ThreadPoolExecutor(1, thread_name_prefix="own")
    asyncio.get_running_loop().set_default_executor(own)
    graph = two_nodes(node, lambda state: {})
    await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert seen[0].startswith("own")


async def test_a_loop_without_an_executor_has_none_afterwards(context: Context) -> None:
    seen: list[bool] = []

    def node(state: Sums) -> Sums:
        seen.append(threading.current_thread().daemon)
        return {"answer": "4"}

    graph = two_nodes(node, lambda state: {})
    await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    seen.append(await asyncio.to_thread(lambda: threading.current_thread().daemon))
    assert seen == [True, False]
