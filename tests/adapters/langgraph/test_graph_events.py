"""What a graph's events tell: its trace, its tokens, its end, each read once.

Covers: themis.adapters.langgraph.graph_events
"""

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models.fake_chat_models import (
    FakeMessagesListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from tests.adapters.langgraph.conftest import (
    CASE,
    TEXT,
    Context,
    FakeGraph,
    Sums,
    chat_graph,
    says,
    two_nodes,
)
from themis.adapters import langgraph
from themis.core.errors import ComponentError
from themis.core.hashing import check_json


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


async def test_a_compiled_graph_runs_once_and_its_nodes_are_the_trace(context: Context) -> None:
    runs: list[str] = []

    async def think(state: Sums) -> Sums:
        runs.append("think")
        return {"plan": "add"}

    async def reply(state: Sums) -> Sums:
        runs.append("reply")
        return {"answer": "4"}

    generator = langgraph(two_nodes(think, reply), graph_id="sums", output_key="answer")
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


async def test_a_stream_that_stops_early_is_no_answer(context: Context) -> None:
    async def stream(payload: Any, *, version: str) -> AsyncIterator[Any]:
        yield {"event": "on_chain_start", "name": "g", "run_id": "1", "parent_ids": [], "data": {}}

    graph = SimpleNamespace(astream_events=stream)
    with pytest.raises(ComponentError, match="stopped before the graph ended"):
        await langgraph(graph, graph_id="g").generate(CASE, context())


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


USED = {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 3, "reasoning_tokens": 1}


@pytest.mark.parametrize("sync", [False, True])
async def test_the_tokens_of_models_within_nodes_are_counted(context: Context, sync: bool) -> None:
    model = FakeMessagesListChatModel(responses=[says("4")])
    generator = langgraph(chat_graph(model, sync=sync).compile(), graph_id="chat")
    assert (await generator.generate(TEXT, context())).token_usage == USED


async def test_a_model_that_streams_is_one_step_with_its_whole_answer(context: Context) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage(content="hello wide world")]))
    inner = chat_graph(model).compile()
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
        says("", tool_calls=[call]),
        says("4", response_metadata={"finish_reason": "max_tokens"}),
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
    model = FakeMessagesListChatModel(responses=[says("4")])
    compiled = chat_graph(model).compile()
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

    graph = two_nodes(unfinished, lambda state: {"answer": "4"})
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
    compiled = two_nodes(ask, lambda state: {"answer": "4"}, checkpointer=InMemorySaver(), **breaks)
    only_whole = SimpleNamespace(ainvoke=compiled.ainvoke, checkpointer=compiled.checkpointer)
    generator = langgraph(compiled if streams else only_whole, graph_id="g")
    with pytest.raises(ComponentError, match="stopped at an interrupt and waits for an answer"):
        await generator.generate(CASE, context())


async def test_what_a_node_sends_of_its_own_accord_is_a_step(context: Context) -> None:
    async def think(state: Sums) -> Sums:
        await adispatch_custom_event("looked_up", {"hits": 3})
        return {"plan": "add"}

    graph = two_nodes(think, lambda state: {"answer": "4"})
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    steps = [(step.step_name, step.step_type, step.output) for step in result.trace or []]
    assert steps == [
        ("think", "chain", {"plan": "add"}), ("looked_up", "custom", {"hits": 3}),
        ("reply", "chain", {"answer": "4"}),
    ]  # fmt: skip
