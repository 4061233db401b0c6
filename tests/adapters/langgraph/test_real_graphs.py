"""Real compiled graphs, each by itself and under Themis: equal outputs, equal usage, one execution.

``python -m tests.adapters.langgraph.test_real_graphs`` prints them as a table.

Covers: themis.adapters.langgraph.graph_callbacks, themis.adapters.langgraph.graph_call
"""

from __future__ import annotations

import asyncio
import json
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt

from themis import RuntimeConfig, evaluate
from themis.adapters import langgraph
from themis.adapters.langgraph.graph_callbacks import Watching
from themis.adapters.langgraph.graph_events import GraphRun
from themis.core.config import StorageConfig


@dataclass
class Seen:
    """What happened in the graphs of a test, whoever called them."""

    nodes: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    usage: Counter[str] = field(default_factory=Counter)

    def of_all(self) -> dict[str, Any]:
        return {
            "nodes": dict(self.nodes),
            "models": dict(self.models),
            "usage": dict(self.usage) or None,
        }


class Model(BaseChatModel):
    """Says what it is told to, and counts; its usage comes only when it is asked for the whole."""

    seen: Any
    says: Any

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any
    ) -> ChatResult:
        said = self.says(messages)
        message = said if isinstance(said, AIMessage) else AIMessage(said)
        tokens = {"input_tokens": 5 + len(messages), "output_tokens": 2}
        message.usage_metadata = {**tokens, "total_tokens": sum(tokens.values())}  # type: ignore[typeddict-item]
        self.seen.models["whole"] += 1
        self.seen.usage["prompt_tokens"] += tokens["input_tokens"]
        self.seen.usage["completion_tokens"] += tokens["output_tokens"]
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.seen.models["streamed"] += 1
        said = self.says(messages)
        message = said if isinstance(said, AIMessage) else AIMessage(said)
        calls: Any = [
            {"name": one["name"], "args": json.dumps(one["args"]), "id": one["id"], "index": 0}
            for one in message.tool_calls
        ]
        chunk = AIMessageChunk(content=message.content, tool_call_chunks=calls)
        yield ChatGenerationChunk(message=chunk)


class Sum(TypedDict, total=False):
    question: str
    n: int
    answer: str
    parts: Annotated[list[str], operator.add]


@dataclass
class Bonus:
    bonus: int


@dataclass
class Built:
    """A graph, what it is given, and how."""

    graph: Any
    given: Any
    options: dict[str, Any] = field(default_factory=dict)
    """Of ``langgraph``; ``config`` and ``context`` also when it is called by itself."""
    steps: list[str] | None = None
    """The names of its steps, within nodes too, functions on edges left out."""


Builder = Callable[[Seen], Built]


def counted(seen: Seen, name: str, node: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def called(state: Any) -> Any:
        seen.nodes[name] += 1
        return node(state)

    return called


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def chat(seen: Seen, says: Any, name: str = "chat") -> Callable[[Any], Any]:
    model = Model(seen=seen, says=says)

    async def node(state: Any) -> Any:
        seen.nodes[name] += 1
        return {"messages": [await model.ainvoke(state["messages"])]}

    return node


def of_many_steps(seen: Seen) -> Built:
    builder = StateGraph(Sum)
    builder.add_node("step", counted(seen, "step", lambda state: {"n": state.get("n", 0) + 1}))
    builder.add_node("end", counted(seen, "end", lambda state: {"answer": str(state["n"])}))
    builder.add_edge(START, "step")
    builder.add_conditional_edges(
        "step", lambda state: "end" if state["n"] >= 40 else "step", ["step", "end"]
    )
    graph = builder.compile().with_config({"recursion_limit": 100, "tags": ["long"]})
    return Built(graph, {"question": "x"}, {"output_key": "answer"}, ["step"] * 40 + ["end"])


def with_a_context(seen: Seen) -> Built:
    def node(state: Sum, runtime: Runtime[Bonus]) -> Sum:
        seen.nodes["node"] += 1
        return {"answer": str(3 + runtime.context.bonus)}

    builder = StateGraph(Sum, context_schema=Bonus)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    options = {"output_key": "answer", "context": Bonus(1)}
    return Built(builder.compile(), {"question": "x"}, options, ["node"])


def that_sums_up(seen: Seen) -> Built:
    def shorten(state: Any) -> Any:
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("1+3?")]}

    builder = StateGraph(MessagesState)
    builder.add_node("first", chat(seen, lambda messages: "Let me think.", "first"))
    builder.add_node("shorten", counted(seen, "shorten", shorten))
    builder.add_node("second", chat(seen, lambda messages: "4", "second"))
    builder.add_edge(START, "first")
    builder.add_edge("first", "shorten")
    builder.add_edge("shorten", "second")
    steps = ["first", "Model", "shorten", "second", "Model"]
    return Built(builder.compile(), asked("What is 1+3?"), {}, steps)


class SyncOnly(InMemorySaver):
    """A saver as SqliteSaver is: its async methods are there, and say that they are not."""

    async def aget_tuple(self, *args: Any, **more: Any) -> Any:
        raise NotImplementedError("This saver has no async methods.")

    aput = aput_writes = aget_tuple


def with_a_sync_saver(seen: Seen) -> Built:
    model = Model(seen=seen, says=lambda messages: "4")

    def node(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", counted(seen, "chat", node))
    builder.add_edge(START, "chat")
    return Built(builder.compile(checkpointer=SyncOnly()), asked("1+3?"), {}, ["chat", "Model"])


def of_a_model_with_usage_when_whole(seen: Seen) -> Built:
    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat(seen, lambda messages: "4"))
    builder.add_edge(START, "chat")
    return Built(builder.compile(), asked("1+3?"), {}, ["chat", "Model"])


def of_parallel_branches(seen: Seen) -> Built:
    model = Model(seen=seen, says=lambda messages: f"{messages[-1].content}!")

    def plan(state: Sum) -> Command[Any]:
        seen.nodes["plan"] += 1
        return Command(goto=[Send("work", {"question": str(n)}) for n in range(4)])

    def work(state: Sum) -> Sum:
        seen.nodes["work"] += 1
        return {"parts": [str(model.invoke(state["question"]).content)]}

    builder = StateGraph(Sum)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    return Built(builder.compile(), {"question": "x"}, {"output_key": "parts"})


def with_a_subgraph(seen: Seen) -> Built:
    inner = StateGraph(MessagesState)
    inner.add_node("inner_chat", chat(seen, lambda messages: "3+1 it is", "inner_chat"))
    inner.add_edge(START, "inner_chat")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile())
    outer.add_node("last", chat(seen, lambda messages: "4", "last"))
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "last")
    saver = InMemorySaver()
    steps = ["inner", "LangGraph", "inner_chat", "Model", "last", "Model"]
    return Built(outer.compile(checkpointer=saver), asked("1+3?"), {}, steps)


def before_a_function(seen: Seen) -> Built:
    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat(seen, lambda messages: "The answer is 4"))
    builder.add_edge(START, "chat")

    def last_word(state: Any) -> str:
        seen.nodes["last_word"] += 1
        return str(state["messages"][-1].content).rpartition(" ")[2]

    chain = builder.compile(checkpointer=InMemorySaver()) | RunnableLambda(last_word)
    return Built(chain, asked("1+3?"), {}, ["LangGraph", "chat", "Model", "last_word"])


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def that_calls_tools(seen: Seen) -> Built:
    def says(messages: list[Any]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(str(messages[-1].content))
        call = {"name": "add", "args": {"a": 1, "b": 3}, "id": "call-1", "type": "tool_call"}
        return AIMessage("", tool_calls=[call])

    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat(seen, says))
    builder.add_node("tools", ToolNode([add]))
    builder.add_edge(START, "chat")
    builder.add_conditional_edges("chat", tools_condition)
    builder.add_edge("tools", "chat")
    steps = ["chat", "Model", "tools_condition", "tools", "add", "chat", "Model", "tools_condition"]
    return Built(builder.compile(), asked("1+3?"), {}, steps)


def that_goes_by_commands(seen: Seen) -> Built:
    def route(state: Sum) -> Command[Any]:
        seen.nodes["route"] += 1
        goto = "sum" if "+" in state["question"] else "other"
        return Command(update={"parts": [goto]}, goto=goto)

    builder = StateGraph(Sum)
    builder.add_node("route", route, destinations=("sum", "other"))
    builder.add_node("sum", counted(seen, "sum", lambda state: {"answer": "4"}))
    builder.add_node("other", counted(seen, "other", lambda state: {"answer": "?"}))
    builder.add_edge(START, "route")
    options = {"config": {"recursion_limit": 3, "metadata": {"team": "sums"}}}
    return Built(builder.compile(), {"question": "1+3"}, options, ["route", "sum"])


BUILDERS: list[Builder] = [
    of_many_steps, with_a_context, that_sums_up, with_a_sync_saver,
    of_a_model_with_usage_when_whole, of_parallel_branches, with_a_subgraph, before_a_function,
    that_calls_tools, that_goes_by_commands,
]  # fmt: skip


def alone(build: Builder) -> tuple[Any, dict[str, Any]]:
    """Return what a graph gives when its owner calls it, and what happened."""
    seen = Seen()
    built = build(seen)
    config = dict(built.options.get("config") or {})
    config["configurable"] = {"thread_id": "1"}
    more = {"context": built.options["context"]} if "context" in built.options else {}
    if isinstance(getattr(built.graph, "checkpointer", None), SyncOnly):
        state = built.graph.invoke(built.given, config, **more)
    else:
        state = asyncio.run(built.graph.ainvoke(built.given, config, **more))
    key = built.options.get("output_key", "messages")
    output = state[key] if isinstance(state, dict) and key in state else state
    is_messages = key == "messages" and output is not state
    return (output[-1].content if is_messages else output), seen.of_all()


def under_themis(build: Builder) -> tuple[Any, dict[str, Any], Any]:
    """Return what it gives when Themis executes it, what happened, and the candidate."""
    seen = Seen()
    built = build(seen)
    result = evaluate(
        model=langgraph(built.graph, graph_id="g", graph_version="1", **built.options),
        data=[{"case_id": "q", "input": built.given, "expected_output": "4"}],
        metric="builtin/exact_match",
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(generation_retry_attempts=1),
        progress=False,
    )
    assert result.status == "completed", result.cases[0].generation_failures
    (made,) = result.cases[0].generated_candidates
    return made.final_output, seen.of_all(), made


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_a_graph_does_under_themis_what_it_does_by_itself(build: Builder) -> None:
    by_itself, happened = alone(build)
    output, seen, made = under_themis(build)
    assert output == by_itself
    assert seen == happened
    assert made.token_usage == happened["usage"]
    steps = build(Seen()).steps
    if steps is not None:
        named = [step.step_name for step in made.trace if step.step_name != "Unnamed"]
        assert named == steps
    assert not any(step.metadata.get("unfinished") for step in made.trace)


async def _told_by_events(built: Built, config: Any, **more: Any) -> GraphRun:
    run = GraphRun()
    async for event in built.graph.astream_events(built.given, config, version="v2", **more):
        run.add(event)
    return run


async def _told_by_callbacks(built: Built, config: Any, **more: Any) -> GraphRun:
    run = GraphRun()
    await built.graph.ainvoke(built.given, {**config, "callbacks": [Watching(run)]}, **more)
    return run


@pytest.mark.parametrize(
    "build",
    [one for one in BUILDERS if one not in (with_a_sync_saver, before_a_function)],
    ids=lambda build: build.__name__,
)
def test_the_trace_is_that_of_langchains_own_events(build: Builder) -> None:
    told = []
    for way in (_told_by_events, _told_by_callbacks):
        built = build(Seen())
        config = {"recursion_limit": 100, "configurable": {"thread_id": "1"}}
        more = {"context": built.options["context"]} if "context" in built.options else {}
        told.append(asyncio.run(way(built, config, **more)).trace())
    by_events, by_callbacks = told
    if build is of_parallel_branches:  # in threads, which may overtake each other
        by_events, by_callbacks = (sorted(one, key=repr) for one in told)
    assert by_callbacks == by_events
    assert by_callbacks


def asking(seen: Seen) -> StateGraph[Any]:
    builder = StateGraph(Sum)
    builder.add_node("draft", counted(seen, "draft", lambda state: {"answer": "4"}))
    builder.add_node(
        "ask", counted(seen, "ask", lambda state: {"answer": interrupt("Is it right?")})
    )
    builder.add_edge(START, "draft")
    builder.add_edge("draft", "ask")
    return builder


def _inner(graph: Any, **options: Any) -> Any:
    return StateGraph(Sum).add_node("inner", graph).add_edge(START, "inner").compile(**options)


WAITING: dict[str, Callable[[Seen], Any]] = {
    "in a node": lambda seen: asking(seen).compile(checkpointer=InMemorySaver()),
    "in a node, no saver": lambda seen: asking(seen).compile(),
    "before a node": lambda seen: asking(seen).compile(interrupt_before=["ask"]),
    "after a node": lambda seen: asking(seen).compile(
        checkpointer=InMemorySaver(), interrupt_after=["draft"]
    ),
    "in a subgraph": lambda seen: _inner(asking(seen).compile(), checkpointer=InMemorySaver()),
    "before a function": lambda seen: (
        asking(seen).compile(interrupt_before=["ask"])
        | RunnableLambda(lambda state: {"answer": state["answer"]})
    ),
    "with a sync saver": lambda seen: asking(seen).compile(
        checkpointer=SyncOnly(), interrupt_before=["ask"]
    ),
}


def waited(where: str) -> tuple[Any, Seen]:
    seen = Seen()
    result = evaluate(
        model=langgraph(WAITING[where](seen), graph_id="g", output_key="answer"),
        data=[{"case_id": "q", "input": {"question": "x"}, "expected_output": "4"}],
        metric="builtin/exact_match",
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(generation_retry_attempts=1),
        progress=False,
    )
    return result, seen


@pytest.mark.parametrize("where", WAITING)
def test_a_graph_that_waits_for_a_person_is_an_error_of_its_case(where: str) -> None:
    result, seen = waited(where)
    (failure,) = result.cases[0].generation_failures
    assert "stopped at an interrupt and waits for an answer" in failure.message
    assert [row.value for row in result.score_rows()] == [None]
    assert seen.nodes["draft"] == 1


def test_a_graph_that_a_node_asks_and_answers_is_that_nodes_affair() -> None:
    seen = Seen()
    inner = asking(seen).compile(checkpointer=InMemorySaver())

    def node(state: Sum) -> Sum:
        config: Any = {"configurable": {"thread_id": "its own"}}
        assert "__interrupt__" in inner.invoke({"question": "x"}, config)
        return {"answer": inner.invoke(Command(resume="4"), config)["answer"]}

    graph = StateGraph(Sum).add_node("node", node).add_edge(START, "node").compile()
    result = evaluate(
        model=langgraph(graph, graph_id="g", output_key="answer"),
        data=[{"case_id": "q", "input": {"question": "x"}, "expected_output": "4"}],
        metric="builtin/exact_match",
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    assert result.metrics["builtin/exact_match"].value == 1.0


if __name__ == "__main__":
    for one in BUILDERS:
        itself, by_hand = alone(one)
        output, observed, candidate = under_themis(one)
        same = (output, observed, candidate.token_usage) == (itself, by_hand, by_hand["usage"])
        print(f"{'EQUAL' if same else 'DIFFERENT':9} {one.__name__}: {itself!r} {by_hand}")
        if not same:
            print(f"{'':9} under Themis: {output!r} {observed} {candidate.token_usage}")
    for place in WAITING:
        stopped, _ = waited(place)
        print(f"WAITS {place}: {stopped.cases[0].generation_failures[0].message}")
