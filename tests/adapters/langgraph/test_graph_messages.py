"""What a graph's models said: found wherever it was said, whatever becomes of the history.

Covers: themis.adapters.langgraph.graph_messages, themis.adapters.langgraph.graph_events
"""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from tests.adapters.langgraph.conftest import CASE, Context, Sums, says, two_nodes
from themis.adapters import langgraph
from themis.core.models import Case

TALK = Case(
    case_id="talk",
    input=[
        {"role": "user", "content": "1+3?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Sure?"},
    ],
)
CUT = {"finish_reason": "length"}
CALL = {"name": "add", "args": {"a": 1}, "id": "call-1", "type": "tool_call"}


async def result_of(graph: Any, context: Context, case: Case = TALK, **options: Any) -> Any:
    return await langgraph(graph, graph_id="g", **options).generate(case, context())


def steps(*nodes: Any) -> Any:
    """Return a graph of messages, its nodes one after the other."""
    return (
        StateGraph(MessagesState)
        .add_sequence([(f"n{place}", node) for place, node in enumerate(nodes)])
        .add_edge(START, "n0")
        .compile()
    )


def forget(state: Any) -> Any:
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}


def sum_up(state: Any) -> Any:
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("1+3.")]}


def drop_two(state: Any) -> Any:
    return {"messages": [RemoveMessage(id=one.id) for one in state["messages"][:2]]}


def nothing(state: Any) -> Any:
    return {}


def pass_on(state: Any) -> Any:
    return {"messages": state["messages"]}


@pytest.mark.parametrize("before", [nothing, forget, sum_up, drop_two, pass_on])
@pytest.mark.parametrize("words", ["4", "Yes."])  # "4" was said before, in what was given
async def test_how_an_answer_ended_is_known_whatever_became_of_the_history(
    context: Context, before: Any, words: str
) -> None:
    def answer(state: Any) -> Any:
        return {"messages": [AIMessage(words, response_metadata=CUT, tool_calls=[CALL])]}

    result = await result_of(steps(before, answer), context)
    assert result.final_output == words
    assert result.artifacts["finish_reason"] == "length"
    assert [call["id"] for call in result.artifacts["tool_calls"]] == ["call-1"]


async def test_calls_that_were_made_before_the_history_was_cut_are_kept(context: Context) -> None:
    def call(state: Any) -> Any:
        return {"messages": [AIMessage("", tool_calls=[CALL]), ToolMessage("4", tool_call_id="1")]}

    def answer(state: Any) -> Any:
        return {"messages": [("ai", "4")]}

    result = await result_of(steps(call, sum_up, answer), context)
    assert [one["name"] for one in result.artifacts["tool_calls"]] == ["add"]
    assert "finish_reason" not in result.artifacts
    assert [one.content for one in result.conversation] == ["1+3.", "4"]


@pytest.mark.parametrize("node", [nothing, drop_two, pass_on])
async def test_what_was_given_is_nothing_that_the_graph_said(context: Context, node: Any) -> None:
    given = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    ]}  # fmt: skip
    case = Case(case_id="c", input=[*TALK.input, given])  # type: ignore[misc]
    result = await result_of(steps(node), context, case)
    assert "tool_calls" not in result.artifacts


REFUSALS = [
    {"response_metadata": {"finish_reason": "content_filter"}},
    {"response_metadata": {"stop_reason": "refusal"}},
    {"response_metadata": {"incomplete_details": {"reason": "content_filter"}}},
    {"additional_kwargs": {"refusal": "I cannot help with that."}},
]


@pytest.mark.parametrize("said", REFUSALS)
@pytest.mark.parametrize("words", ["I cannot.", ""])
async def test_a_refusal_is_one_where_the_state_has_no_messages(
    context: Context, said: Any, words: str
) -> None:
    model = FakeMessagesListChatModel(responses=[AIMessage(words, **said)])

    def ask(state: Sums) -> Sums:
        return {"answer": str(model.invoke(state["question"]).content)}

    graph = two_nodes(ask, nothing)
    for one in (graph, graph | RunnableLambda(lambda state: {"answer": state["answer"]})):
        result = await result_of(one, context, CASE, output_key="answer")
        assert result.artifacts["finish_reason"] in ("content_filter", "refusal")


async def test_an_answer_ended_as_the_message_did_whose_words_it_has(context: Context) -> None:
    grade = FakeMessagesListChatModel(
        responses=[AIMessage("good", response_metadata={"finish_reason": "stop"})]
    )
    write = FakeMessagesListChatModel(responses=[AIMessage("Once upon a", response_metadata=CUT)])

    def tell(state: Sums) -> Sums:
        return {"answer": f"A story: {write.invoke('x').content}"}

    def check(state: Sums) -> Sums:
        return {"plan": str(grade.invoke("x").content)}

    result = await result_of(two_nodes(tell, check), context, CASE, output_key="answer")
    assert result.artifacts["finish_reason"] == "length"


async def test_an_answer_that_no_model_gave_did_not_end_as_a_models(context: Context) -> None:
    refusing = FakeMessagesListChatModel(
        responses=[AIMessage("I cannot.", response_metadata={"finish_reason": "content_filter"})]
    )

    def ask(state: Sums) -> Sums:
        return {"plan": str(refusing.invoke("x").content)}

    result = await result_of(
        two_nodes(ask, lambda state: {"answer": "4"}), context, CASE, output_key="answer"
    )
    assert "finish_reason" not in result.artifacts


# ------------------------------------------------------------------ tokens


async def test_tokens_of_a_node_that_streams_are_those_of_its_stream(context: Context) -> None:
    model = FakeMessagesListChatModel(responses=[says("4")])

    async def chat(state: Any) -> Any:
        parts = [part async for part in model.astream(state["messages"])]
        return {"messages": [("ai", "".join(str(part.content) for part in parts))]}

    result = await result_of(steps(chat), context)
    assert (result.token_usage["prompt_tokens"], result.token_usage["completion_tokens"]) == (5, 2)


async def test_tokens_of_a_message_that_a_node_made_are_counted_once(context: Context) -> None:
    model = FakeMessagesListChatModel(responses=[says("4")])

    def by_hand(state: Any) -> Any:
        return {"messages": [says("by hand")]}

    def copied(state: Any) -> Any:
        said: Any = model.invoke(state["messages"])
        return {"messages": [AIMessage(said.content, usage_metadata=said.usage_metadata)]}

    assert (await result_of(steps(by_hand), context)).token_usage["prompt_tokens"] == 5
    assert (await result_of(steps(copied), context)).token_usage["prompt_tokens"] == 5
    assert (await result_of(steps(by_hand, copied), context)).token_usage["prompt_tokens"] == 10


async def test_tokens_are_counted_where_an_integration_tells_them_otherwise(
    context: Context,
) -> None:
    class Completing(FakeListLLM):
        def _generate(self, *args: Any, **more: Any) -> LLMResult:
            made = super()._generate(*args, **more)
            used = {"prompt_tokens": 3, "completion_tokens": 1}
            return LLMResult(generations=made.generations, llm_output={"token_usage": used})

    told = {"token_usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    chat = FakeMessagesListChatModel(responses=[AIMessage("4", response_metadata=told)])
    complete = Completing(responses=["4"])

    def first(state: Sums) -> Sums:
        return {"plan": complete.invoke("x")}

    def second(state: Sums) -> Sums:
        return {"answer": str(chat.invoke("x").content)}

    result = await result_of(two_nodes(first, second), context, CASE, output_key="answer")
    assert result.token_usage == {"prompt_tokens": 8, "completion_tokens": 3}
    assert [(step.step_name, step.step_type) for step in result.trace] == [
        ("think", "chain"), ("Completing", "llm"), ("reply", "chain"),
        ("FakeMessagesListChatModel", "chat_model"),
    ]  # fmt: skip


# ------------------------------------------------------------------ the conversation


async def test_tool_calls_and_failed_results_stand_in_the_conversation(context: Context) -> None:
    def call(state: Any) -> Any:
        failed = ToolMessage("no such number", tool_call_id="call-1", status="error")
        return {"messages": [AIMessage("I add.", tool_calls=[CALL]), failed]}

    def in_parts(state: Any) -> Any:
        part = {"type": "tool_use", "id": "call-2", "name": "add", "input": {"a": 2}}
        calls = [{**CALL, "id": "call-2"}]
        return {"messages": [AIMessage([part], tool_calls=calls), AIMessage("4")]}

    result = await result_of(steps(call, in_parts), context)
    assert [one.content for one in result.conversation[3:]] == [
        {"content": "I add.", "tool_calls": [CALL]},
        {"content": "no such number", "status": "error", "tool_call_id": "call-1"},
        [{"type": "tool_use", "id": "call-2", "name": "add", "input": {"a": 2}}],
        "4",
    ]


async def test_a_turn_has_the_role_of_who_said_it(context: Context) -> None:
    class Own(TypedDict):
        messages: list[Any]

    said = [AIMessageChunk(content="4"), ChatMessage("5", role="critic"), {"role": "user",
        "content": "6"}]  # fmt: skip
    builder = StateGraph(Own)
    builder.add_node("say", lambda state: {"messages": said})
    builder.add_edge(START, "say")
    result = await result_of(builder.compile(), context)
    assert [(one.role, one.content) for one in result.conversation] == [
        ("assistant", "4"), ("critic", "5"), ("user", "6"),
    ]  # fmt: skip
