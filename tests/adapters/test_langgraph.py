"""Graphs as generators: a stand-in's, and real compiled ones, each executed once a sample."""

from __future__ import annotations

import asyncio
import json
import operator
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models.fake_chat_models import (
    FakeMessagesListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from tests.support.runs import experiment
from themis.adapters import langgraph
from themis.core.config import StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError, DefinitionError, ProviderError
from themis.core.hashing import check_json
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.testing.scripted import CountingMetric

Context = Callable[..., GenerateContext]
CASE = Case(case_id="case-1", input={"question": "2+2"})
TEXT = Case(case_id="case-1", input="What is 2+2?")


class FakeGraph:
    def __init__(self) -> None:
        self.calls = 0

    async def ainvoke(self, payload: object) -> object:
        self.calls += 1
        return {"answer": "4", "input": payload}

    async def astream_events(self, payload: object, *, version: str) -> AsyncIterator[Any]:
        assert version == "v2"
        yield {
            "name": "plan",
            "event": "step",
            "data": {"input": payload, "output": {"proposed_answer": "4"}},
        }


async def test_a_stand_ins_stream_is_the_trace_and_its_call_gives_the_output(
    context: Context,
) -> None:
    graph = FakeGraph()
    result = await langgraph(graph, graph_id="fake", output_key="answer").generate(CASE, context())
    assert (result.final_output, graph.calls) == ("4", 1)
    (step,) = result.trace or []
    assert (step.step_name, step.step_type) == ("plan", "step")
    assert (step.input, step.output) == ({"question": "2+2"}, {"proposed_answer": "4"})
    assert (result.artifacts or {})["graph_id"] == "fake"


class Sums(TypedDict, total=False):
    question: str
    plan: str
    answer: str


def _two_nodes(first: Any, second: Any, **options: Any) -> Any:
    builder = StateGraph(Sums)
    builder.add_node("think", first)
    builder.add_node("reply", second)
    builder.add_edge(START, "think")
    builder.add_edge("think", "reply")
    builder.add_edge("reply", END)
    return builder.compile(**options)


async def test_a_compiled_graph_runs_once_and_its_nodes_are_the_trace(context: Context) -> None:
    runs: list[str] = []

    async def think(state: Sums) -> Sums:
        runs.append("think")
        return {"plan": "add"}

    async def reply(state: Sums) -> Sums:
        runs.append("reply")
        return {"answer": "4"}

    generator = langgraph(_two_nodes(think, reply), graph_id="sums", output_key="answer")
    result = await generator.generate(CASE, context())
    assert runs == ["think", "reply"]
    assert result.final_output == "4"
    steps = result.trace or []
    assert [(step.step_name, step.step_type) for step in steps] == [
        ("think", "chain"), ("reply", "chain"),
    ]  # fmt: skip
    assert steps[1].input == {"question": "2+2", "plan": "add"}
    assert steps[1].output == {"answer": "4"}
    assert steps[1].metadata == {"depth": 1, "node": "reply", "step": 2}
    again = await generator.generate(CASE, context())
    assert again.trace == result.trace  # nothing drawn at random is in it


async def test_without_an_output_key_the_whole_state_is_the_output(context: Context) -> None:
    graph = _two_nodes(lambda state: {"plan": "add"}, lambda state: {"answer": "4"})
    result = await langgraph(graph, graph_id="sums").generate(CASE, context())
    assert result.final_output == {"question": "2+2", "plan": "add", "answer": "4"}


async def test_a_node_that_raises_fails_the_sample_with_its_own_error(context: Context) -> None:
    def broken(state: Sums) -> Sums:
        raise RuntimeError("no answer today")

    graph = _two_nodes(lambda state: {"plan": "add"}, broken)
    with pytest.raises(RuntimeError, match="no answer today"):
        await langgraph(graph, graph_id="sums").generate(CASE, context())


async def test_a_state_of_messages_becomes_the_conversation(context: Context) -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    model = FakeMessagesListChatModel(responses=[AIMessage(content="4", usage_metadata=usage)])

    async def chat(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat)
    builder.add_edge(START, "chat")
    generator = langgraph(builder.compile(), graph_id="chat")
    ctx = context(prompt_spec=PromptSpec(instructions="Be brief.", prefix="Q:"))
    result = await generator.generate(TEXT, ctx)
    assert result.final_output == "4"
    assert [(one.role, one.content) for one in result.conversation or []] == [
        ("system", "Be brief."), ("user", "Q:\nWhat is 2+2?"), ("assistant", "4"),
    ]  # fmt: skip
    assert result.token_usage == {"prompt_tokens": 5, "completion_tokens": 2}
    kinds = [step.step_type for step in result.trace or []]
    assert kinds == ["chain", "chat_model"]  # in the order in which they began
    check_json([step.model_dump() for step in result.trace or []])


async def test_a_graph_with_a_memory_starts_each_sample_afresh(context: Context) -> None:
    def count(state: Sums) -> Sums:
        return {"plan": state.get("plan", "") + "x"}

    graph = _two_nodes(count, lambda state: {"answer": "4"}, checkpointer=InMemorySaver())
    generator = langgraph(graph, graph_id="sums", output_key="plan")
    outputs = [(await generator.generate(CASE, context())).final_output for _ in range(2)]
    assert outputs == ["x", "x"]


async def test_a_graph_that_only_blocks_runs_beside_the_loop(context: Context) -> None:
    seen: list[str] = []

    def invoke(payload: Any) -> Any:
        seen.append(threading.current_thread().name)
        return {"answer": payload["question"]}

    graph = SimpleNamespace(invoke=invoke)
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert result.final_output == "2+2"
    assert seen == ["themis-graph"]
    assert [step.step_name for step in result.trace or []] == ["g"]


async def test_a_blocking_graph_that_raises_fails_the_sample(context: Context) -> None:
    def invoke(payload: Any) -> Any:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        await langgraph(SimpleNamespace(invoke=invoke), graph_id="g").generate(CASE, context())


async def test_a_stream_that_stops_early_is_no_answer(context: Context) -> None:
    async def stream(payload: Any, *, version: str) -> AsyncIterator[Any]:
        yield {"event": "on_chain_start", "name": "g", "run_id": "1", "parent_ids": [], "data": {}}

    graph = SimpleNamespace(astream_events=stream)
    with pytest.raises(ComponentError, match="stopped before the graph ended"):
        await langgraph(graph, graph_id="g").generate(CASE, context())


async def test_a_cancelled_sample_cancels_its_graph(context: Context) -> None:
    ended = asyncio.Event()

    async def wait(state: Sums) -> Sums:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return {}

    graph = _two_nodes(wait, lambda state: {"answer": "4"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(langgraph(graph, graph_id="g").generate(CASE, context()), 0.2)
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_stream_that_is_left_half_way_is_closed_at_once(context: Context) -> None:
    closed: list[bool] = []

    class Waiting:
        async def astream_events(self, payload: object, *, version: str) -> AsyncIterator[Any]:
            run = {"run_id": "1", "parent_ids": [], "name": "g"}
            try:
                yield {**run, "event": "on_chain_start", "data": {}}
                yield {**run, "event": "on_chain_stream", "data": {"chunk": {"__interrupt__": ()}}}
                yield {**run, "event": "on_chain_end", "data": {"output": {}}}
            finally:
                closed.append(True)

        async def ainvoke(self, payload: object) -> object:
            raise AssertionError("it was executed already")

    with pytest.raises(ComponentError, match="stopped at an interrupt"):
        await langgraph(Waiting(), graph_id="g").generate(CASE, context())
    assert closed == [True]


async def test_an_output_key_that_is_not_there_names_the_nearest(context: Context) -> None:
    with pytest.raises(ComponentError, match="without output_key 'anser'; did you mean 'answer'"):
        await langgraph(FakeGraph(), graph_id="g", output_key="anser").generate(CASE, context())


async def test_instructions_that_have_no_place_in_a_graph_are_refused(context: Context) -> None:
    ctx = context(prompt_spec=PromptSpec(instructions="Be brief."))
    with pytest.raises(ProviderError, match="have no place") as caught:
        await langgraph(FakeGraph(), graph_id="g").generate(CASE, ctx)
    assert caught.value.fatal


@pytest.mark.parametrize(
    ("given", "builder", "said"),
    [
        ("What is 2+2?", None, "the case's input is text"),
        (["2", "2"], None, "the case's input is a list"),
        (4, None, "the case's input is a number"),
        ("x", lambda case: case.input, "what input_builder= gave is text"),
    ],
)
async def test_a_state_of_fields_given_none_names_the_way_out(
    context: Context, given: Any, builder: Any, said: str
) -> None:
    ran: list[Any] = []
    graph = _two_nodes(lambda state: ran.append(state) or {}, lambda state: {"answer": "4"})
    made = langgraph(graph, graph_id="sums", input_builder=builder)
    with pytest.raises(ComponentError) as caught:
        await made.generate(Case(case_id="c", input=given), context())
    assert str(caught.value) == (
        f"graph 'sums' has a state of fields (question, plan, answer), and {said}: make an object "
        "of it with input_builder=, as in "
        "langgraph(..., input_builder=lambda case: {'question': case.input})"
    )
    assert ran == []


async def test_graphs_without_fields_are_given_text_as_it_is(context: Context) -> None:
    builder = StateGraph(str)
    builder.add_node("shout", lambda state: f"{state}!")
    builder.add_edge(START, "shout")
    builder.add_edge("shout", END)

    @entrypoint()
    def called(given: str) -> str:
        return f"{given}!"

    for graph in (builder.compile(), called):
        result = await langgraph(graph, graph_id="g").generate(TEXT, context())
        assert result.final_output == "What is 2+2?!"


async def test_an_input_builder_makes_what_the_graph_is_given(context: Context) -> None:
    generator = langgraph(
        FakeGraph(),
        graph_id="g",
        output_key="input",
        input_builder=lambda case: {"ask": case.input["question"]},
    )
    assert generator.reads == {"input", "expected_output", "metadata"}
    assert (await generator.generate(CASE, context())).final_output == {"ask": "2+2"}


async def test_a_graph_is_given_cases_of_one_key_alike(context: Context) -> None:
    given: list[str] = []

    def build(case: Case) -> Any:
        return case.input

    for builder in (None, build):
        for value in ({"b": 2.0, "a": {"d": 1, "c": 2}}, {"a": {"c": 2, "d": 1.0}, "b": 2}):
            graph = SimpleNamespace(invoke=lambda payload: given.append(json.dumps(payload)))
            made = langgraph(graph, graph_id="g", input_builder=builder)
            await made.generate(Case(case_id="1", input=value), context())
    assert given == ['{"a": {"c": 2, "d": 1}, "b": 2}'] * 4


def test_answers_are_reused_across_runs_only_where_a_version_vouches_for_them() -> None:
    plain = langgraph(FakeGraph(), graph_id="g")
    versioned = langgraph(FakeGraph(), graph_id="g", graph_version="2")
    assert (plain.reuse_across_runs, versioned.reuse_across_runs) == (False, True)
    assert plain.fingerprint() != versioned.fingerprint()
    assert plain.reads == {"input"}


@pytest.mark.parametrize(("graph", "graph_id"), [(object(), "g"), (FakeGraph(), "")])
def test_what_is_no_graph_is_refused(graph: Any, graph_id: str) -> None:
    with pytest.raises(DefinitionError, match="graph"):
        langgraph(graph, graph_id=graph_id)


# ── real graphs, in experiments ───────────────────────────────────────────────────────────────────


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

    return _two_nodes(think, reply)


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

    graph = _two_nodes(lambda state: {"plan": "add"}, broken)
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

    graph = _two_nodes(wait, lambda state: {"answer": "4"})
    result = experiment(
        langgraph(graph, graph_id="g", output_key="answer"),
        cases=_questions(3), metrics=[], generation_timeout=0.5, generation_retry_attempts=1,
    ).run(progress=False)  # fmt: skip
    assert [len(case.generated_candidates) for case in result.cases] == [1, 0, 1]
    assert result.cases[1].generation_failures[0].category == "timeout"
    assert ended == {"0": 1, "1": 1, "2": 1}


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


# ── real graphs of other shapes ───────────────────────────────────────────────────────────────────


class Parts(TypedDict, total=False):
    question: str
    parts: Annotated[list[str], operator.add]


async def test_branches_side_by_side_are_told_in_the_order_in_which_they_began(
    context: Context,
) -> None:
    runs: Counter[str] = Counter()

    def plan(state: Parts) -> Command[Any]:
        runs["plan"] += 1
        sends = [Send("work", {"question": str(n)}) for n in range(3)]
        return Command(update={"parts": ["plan"]}, goto=sends)

    async def work(state: Parts) -> Parts:
        runs["work"] += 1
        await asyncio.sleep(0.03 - 0.01 * int(state["question"]))  # the last ends first
        return {"parts": [state["question"]]}

    builder = StateGraph(Parts)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_edge("work", END)
    generator = langgraph(builder.compile(), graph_id="fan", output_key="parts")
    result = await generator.generate(CASE, context())
    assert result.final_output == ["plan", "0", "1", "2"]
    assert [(step.step_name, step.output) for step in (result.trace or [])[1:]] == [
        ("work", {"parts": [n]}) for n in ("0", "1", "2")
    ]
    assert runs == {"plan": 1, "work": 3}
    check_json([step.model_dump() for step in result.trace or []])


def _chat_graph(model: Any, *, sync: bool = False) -> StateGraph[Any]:
    async def chat(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def blocking(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", blocking if sync else chat)
    builder.add_edge(START, "chat")
    return builder


def _says(text: str, **more: Any) -> AIMessage:
    usage = {
        "input_tokens": 5, "output_tokens": 2, "total_tokens": 7,
        "input_token_details": {"cache_read": 3}, "output_token_details": {"reasoning": 1},
    }  # fmt: skip
    return AIMessage(content=text, usage_metadata=usage, **more)


USED = {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 3, "reasoning_tokens": 1}


@pytest.mark.parametrize("sync", [False, True])
async def test_the_tokens_of_models_within_nodes_are_counted(context: Context, sync: bool) -> None:
    model = FakeMessagesListChatModel(responses=[_says("4")])
    generator = langgraph(_chat_graph(model, sync=sync).compile(), graph_id="chat")
    assert (await generator.generate(TEXT, context())).token_usage == USED


async def test_a_model_that_streams_is_one_step_with_its_whole_answer(context: Context) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage(content="hello wide world")]))
    inner = _chat_graph(model).compile()
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    result = await langgraph(outer.compile(), graph_id="chat").generate(TEXT, context())
    assert result.final_output == "hello wide world"
    steps = [(step.step_name, step.step_type) for step in result.trace or []]
    assert steps == [
        ("inner", "chain"), ("LangGraph", "chain"), ("chat", "chain"),
        ("GenericFakeChatModel", "chat_model"),
    ]  # fmt: skip
    assert [step.metadata["depth"] for step in result.trace or []] == [1, 2, 3, 4]
    assert (result.trace or [])[3].output == {"role": "assistant", "content": "hello wide world"}


async def test_tool_calls_and_the_reason_of_the_end_are_kept_as_evidence(context: Context) -> None:
    call = {"name": "add", "args": {"a": 2}, "id": "call-1", "type": "tool_call"}
    answers = [
        _says("", tool_calls=[call]),
        _says("4", response_metadata={"finish_reason": "max_tokens"}),
    ]
    model = FakeMessagesListChatModel(responses=answers)

    async def chat(state: MessagesState) -> Command[Any]:
        said = await model.ainvoke(state["messages"])
        return Command(update={"messages": [said]}, goto="tool" if said.tool_calls else END)

    def tool(state: MessagesState) -> dict[str, Any]:
        return {"messages": [ToolMessage(content="4", tool_call_id="call-1")]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat)
    builder.add_node("tool", tool)
    builder.add_edge(START, "chat")
    builder.add_edge("tool", "chat")
    result = await langgraph(builder.compile(), graph_id="agent").generate(TEXT, context())
    artifacts = result.artifacts or {}
    assert artifacts["tool_calls"] == [{"id": "call-1", "name": "add", "arguments": {"a": 2}}]
    assert artifacts["finish_reason"] == "length"
    assert result.token_usage == {name: 2 * count for name, count in USED.items()}
    assert [one.role for one in result.conversation or []] == [
        "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert [step.step_name for step in result.trace or [] if step.metadata["depth"] == 1] == [
        "chat", "tool", "chat",
    ]  # fmt: skip


async def test_a_graph_without_a_stream_is_invoked_once_and_its_messages_are_counted(
    context: Context,
) -> None:
    model = FakeMessagesListChatModel(responses=[_says("4")])
    compiled = _chat_graph(model).compile()
    calls: list[Any] = []

    async def ainvoke(payload: Any) -> Any:
        calls.append(payload)
        return await compiled.ainvoke({"messages": [{"role": "user", "content": payload}]})

    result = await langgraph(SimpleNamespace(ainvoke=ainvoke), graph_id="g").generate(
        TEXT, context()
    )
    assert calls == ["What is 2+2?"]
    assert (result.final_output, result.token_usage) == ("4", USED)
    assert [(step.step_name, step.step_type) for step in result.trace or []] == [("g", "graph")]


async def test_a_graph_whose_stream_is_not_implemented_is_invoked_once(context: Context) -> None:
    calls: list[Any] = []

    async def ainvoke(payload: Any) -> Any:
        calls.append(payload)
        return {"answer": "4"}

    def astream_events(payload: Any, *, version: str) -> Any:
        raise NotImplementedError

    graph = SimpleNamespace(ainvoke=ainvoke, astream_events=astream_events)
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert (result.final_output, len(calls)) == ("4", 1)


async def test_a_node_that_is_not_implemented_is_never_run_a_second_time(context: Context) -> None:
    runs: list[str] = []

    def unfinished(state: Sums) -> Sums:
        runs.append("think")
        raise NotImplementedError("not yet")

    graph = _two_nodes(unfinished, lambda state: {"answer": "4"})
    with pytest.raises(NotImplementedError, match="not yet"):
        await langgraph(graph, graph_id="g").generate(CASE, context())
    assert runs == ["think"]


async def test_a_stream_that_breaks_off_is_no_second_execution(context: Context) -> None:
    calls: list[str] = []

    async def stream(payload: Any, *, version: str) -> AsyncIterator[Any]:
        calls.append("stream")
        yield {"event": "on_chain_start", "name": "g", "run_id": "1", "parent_ids": [], "data": {}}
        yield {"event": "on_chain_start", "name": "n", "run_id": "2", "parent_ids": ["1"]}

    async def ainvoke(payload: Any) -> Any:
        calls.append("ainvoke")

    graph = SimpleNamespace(astream_events=stream, ainvoke=ainvoke)
    with pytest.raises(ComponentError, match="stopped before the graph ended"):
        await langgraph(graph, graph_id="g").generate(CASE, context())
    assert calls == ["stream"]


@pytest.mark.parametrize(
    ("where", "streams"), [("in a node", True), ("in a node", False), ("before a node", True)]
)
async def test_a_graph_that_waits_for_a_person_gives_no_answer(
    context: Context, streams: bool, where: str
) -> None:
    def ask(state: Sums) -> Sums:
        return {"answer": interrupt("may I?") if where == "in a node" else "yes"}

    breaks = {"interrupt_before": ["reply"]} if where == "before a node" else {}
    compiled = _two_nodes(
        ask, lambda state: {"answer": "4"}, checkpointer=InMemorySaver(), **breaks
    )
    only_whole = SimpleNamespace(ainvoke=compiled.ainvoke, checkpointer=compiled.checkpointer)
    generator = langgraph(compiled if streams else only_whole, graph_id="g")
    with pytest.raises(ComponentError, match="stopped at an interrupt and waits for an answer"):
        await generator.generate(CASE, context())


async def test_a_sample_can_be_found_in_the_graphs_memory(context: Context) -> None:
    saver = InMemorySaver()
    graph = _two_nodes(
        lambda state: {"plan": "add"}, lambda state: {"answer": "4"}, checkpointer=saver
    )
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    thread = (result.artifacts or {})["thread_id"]
    kept = saver.get({"configurable": {"thread_id": thread}})
    assert kept is not None
    assert kept["channel_values"]["answer"] == "4"


async def test_what_a_node_sends_of_its_own_accord_is_a_step(context: Context) -> None:
    async def think(state: Sums) -> Sums:
        await adispatch_custom_event("looked_up", {"hits": 3})
        return {"plan": "add"}

    graph = _two_nodes(think, lambda state: {"answer": "4"})
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    steps = [(step.step_name, step.step_type, step.output) for step in result.trace or []]
    assert steps == [
        ("think", "chain", {"plan": "add"}), ("looked_up", "custom", {"hits": 3}),
        ("reply", "chain", {"answer": "4"}),
    ]  # fmt: skip


async def test_a_loops_own_executor_is_left_as_it_is(context: Context) -> None:
    from concurrent.futures import ThreadPoolExecutor

    seen: list[str] = []

    def node(state: Sums) -> Sums:
        seen.append(threading.current_thread().name)
        return {"answer": "4"}

    own = ThreadPoolExecutor(1, thread_name_prefix="own")
    asyncio.get_running_loop().set_default_executor(own)
    graph = _two_nodes(node, lambda state: {})
    await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert seen[0].startswith("own")


async def test_a_loop_without_an_executor_has_none_afterwards(context: Context) -> None:
    seen: list[bool] = []

    def node(state: Sums) -> Sums:
        seen.append(threading.current_thread().daemon)
        return {"answer": "4"}

    graph = _two_nodes(node, lambda state: {})
    await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    seen.append(await asyncio.to_thread(lambda: threading.current_thread().daemon))
    assert seen == [True, False]


PLUS = {"name": "add", "args": {"a": 2}, "id": "call-1"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("message", "output"),
    [
        (AIMessage([{"type": "text", "text": "fo"}, "ur"]), "four"),
        (AIMessage([{"type": "thinking", "thinking": "2+2"}, {"type": "text", "text": "4"}]), "4"),
        (AIMessage([{"type": "text", "text": "a"}, IMAGE]), [{"type": "text", "text": "a"}, IMAGE]),
        (AIMessage("", tool_calls=[PLUS]), [{"name": "add", "arguments": {"a": 2}}]),
        (AIMessage([{"type": "tool_use", "id": "call-1", "name": "add", "input": {"a": 2}}],
                   tool_calls=[PLUS]), [{"name": "add", "arguments": {"a": 2}}]),
        (AIMessage("I add.", tool_calls=[PLUS]), "I add."),
        (AIMessage("", invalid_tool_calls=[
            {"name": "add", "args": "{a", "id": "1", "error": None, "type": "invalid_tool_call"}
        ]), [{"name": "add", "arguments": "{a"}]),
        (AIMessage(""), ""),
    ],
)  # fmt: skip
async def test_the_answer_is_what_the_last_message_says(
    context: Context, message: AIMessage, output: Any
) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("chat", lambda state: {"messages": [message]})
    builder.add_edge(START, "chat")
    builder.add_edge("chat", END)
    result = await langgraph(builder.compile(), graph_id="agent").generate(TEXT, context())
    assert result.final_output == output


async def test_what_has_no_json_form_in_a_state_does_not_cost_the_answer(context: Context) -> None:
    class Stubborn:
        def model_dump(self, mode: str) -> Any:
            raise ValueError("never")

        def __repr__(self) -> str:
            return "<stubborn>"

    state = {"answer": "4", "other": Stubborn(), "grid": np.eye(2)}
    graph = SimpleNamespace(invoke=lambda payload: state)
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    assert (result.artifacts or {})["state"] == {
        "answer": "4", "other": "<stubborn>", "grid": [[1.0, 0.0], [0.0, 1.0]],
    }  # fmt: skip


def test_it_claims_no_cap_on_output_tokens() -> None:
    assert langgraph(FakeGraph(), graph_id="g").max_output_tokens is None
