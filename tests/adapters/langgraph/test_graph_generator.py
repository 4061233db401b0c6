"""Graphs as generators: what they are given, and what of their state is the answer.

Covers: themis.adapters.langgraph.graph_generator, themis.adapters.langgraph.graph_messages
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models.fake_chat_models import (
    FakeMessagesListChatModel,
)
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.adapters.langgraph.conftest import (
    CASE,
    TEXT,
    Context,
    FakeGraph,
    Sums,
    two_nodes,
)
from themis.adapters import langgraph
from themis.core.errors import ComponentError, DefinitionError, ProviderError
from themis.core.hashing import check_json
from themis.core.models import Case
from themis.core.prompts import PromptSpec


async def test_without_an_output_key_the_whole_state_is_the_output(context: Context) -> None:
    graph = two_nodes(lambda state: {"plan": "add"}, lambda state: {"answer": "4"})
    result = await langgraph(graph, graph_id="sums").generate(CASE, context())
    assert result.final_output == {"question": "2+2", "plan": "add", "answer": "4"}


async def test_a_node_that_raises_fails_the_sample_with_its_own_error(context: Context) -> None:
    def broken(state: Sums) -> Sums:
        raise RuntimeError("no answer today")

    graph = two_nodes(lambda state: {"plan": "add"}, broken)
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

    graph = two_nodes(count, lambda state: {"answer": "4"}, checkpointer=InMemorySaver())
    generator = langgraph(graph, graph_id="sums", output_key="plan")
    outputs = [(await generator.generate(CASE, context())).final_output for _ in range(2)]
    assert outputs == ["x", "x"]


async def test_a_cancelled_sample_cancels_its_graph(context: Context) -> None:
    ended = asyncio.Event()

    async def wait(state: Sums) -> Sums:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return {}

    graph = two_nodes(wait, lambda state: {"answer": "4"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(langgraph(graph, graph_id="g").generate(CASE, context()), 0.2)
    await asyncio.wait_for(ended.wait(), 60)


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
    graph = two_nodes(lambda state: ran.append(state) or {}, lambda state: {"answer": "4"})
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


async def test_a_sample_can_be_found_in_the_graphs_memory(context: Context) -> None:
    saver = InMemorySaver()
    graph = two_nodes(
        lambda state: {"plan": "add"}, lambda state: {"answer": "4"}, checkpointer=saver
    )
    result = await langgraph(graph, graph_id="g", output_key="answer").generate(CASE, context())
    thread = (result.artifacts or {})["thread_id"]
    kept = saver.get({"configurable": {"thread_id": thread}})
    assert kept is not None
    assert kept["channel_values"]["answer"] == "4"


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


def test_a_fingerprint_without_the_function_that_it_names_is_refused() -> None:
    with pytest.raises(DefinitionError, match="and there is none"):
        langgraph(FakeGraph(), graph_id="g", fingerprint="v1")
