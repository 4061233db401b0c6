"""Graphs as generators: a stand-in's, and real compiled ones, each executed once a sample."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from themis.adapters import langgraph
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError, DefinitionError, ProviderError
from themis.core.hashing import check_json
from themis.core.models import Case
from themis.core.prompts import PromptSpec

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
    assert kinds == ["chat_model", "chain"]
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


async def test_an_output_key_that_is_not_there_names_the_nearest(context: Context) -> None:
    with pytest.raises(ComponentError, match="without output_key 'anser'; did you mean 'answer'"):
        await langgraph(FakeGraph(), graph_id="g", output_key="anser").generate(CASE, context())


async def test_instructions_that_have_no_place_in_a_graph_are_refused(context: Context) -> None:
    ctx = context(prompt_spec=PromptSpec(instructions="Be brief."))
    with pytest.raises(ProviderError, match="have no place") as caught:
        await langgraph(FakeGraph(), graph_id="g").generate(CASE, ctx)
    assert caught.value.fatal


async def test_an_input_builder_makes_what_the_graph_is_given(context: Context) -> None:
    generator = langgraph(
        FakeGraph(),
        graph_id="g",
        output_key="input",
        input_builder=lambda case: {"ask": case.input["question"]},
    )
    assert generator.reads == {"input", "expected_output", "metadata"}
    assert (await generator.generate(CASE, context())).final_output == {"ask": "2+2"}


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
