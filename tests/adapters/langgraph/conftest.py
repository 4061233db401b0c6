"""Graphs that the tests of the LangGraph adapter execute: a stand-in, and real compiled ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from themis.core.contexts import GenerateContext
from themis.core.models import Case

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


class Sums(TypedDict, total=False):
    question: str
    plan: str
    answer: str


def two_nodes(first: Any, second: Any, **options: Any) -> Any:
    builder = StateGraph(Sums)
    builder.add_node("think", first)
    builder.add_node("reply", second)
    builder.add_edge(START, "think")
    builder.add_edge("think", "reply")
    builder.add_edge("reply", END)
    return builder.compile(**options)


def chat_graph(model: Any, *, sync: bool = False) -> StateGraph[Any]:
    async def chat(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def blocking(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", blocking if sync else chat)
    builder.add_edge(START, "chat")
    return builder


def says(text: str, **more: Any) -> AIMessage:
    usage = {
        "input_tokens": 5, "output_tokens": 2, "total_tokens": 7,
        "input_token_details": {"cache_read": 3}, "output_token_details": {"reasoning": 1},
    }  # fmt: skip
    return AIMessage(content=text, usage_metadata=usage, **more)
