"""Watching a graph while it is executed as its owner would: by LangChain's callbacks.

A stream of events makes every model in the graph stream, and executes the graph under a stream's
defaults; a callback handler changes nothing. It is sync and runs inline: in nodes that run in
threads it is called there, and what it sees is in order. This module loads LangChain, and is loaded
where a graph of LangChain's is executed.
"""

from __future__ import annotations

import sys
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler

from themis.adapters.langgraph.graph_events import GraphRun
from themis.adapters.langgraph.graph_messages import is_from_model
from themis.core.errors import DefinitionError

_Base: Any = BaseCallbackHandler
try:
    from langgraph.callbacks import GraphCallbackHandler as _Base  # tells of interrupts
except ImportError:
    if "langgraph.pregel" in sys.modules:  # without it a draft would be taken for an answer
        raise DefinitionError(
            "this version of langgraph does not tell when a graph stops to wait: "
            "pip install 'langgraph>=1.2'",
            field="graph",
        ) from None


class Watching(_Base):  # type: ignore[misc]
    """Tells a ``GraphRun`` what happens."""

    run_inline = True
    raise_error = True

    def __init__(self, run: GraphRun) -> None:
        super().__init__()
        self._run = run

    def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> None:
        """Take in that a graph, a node or another runnable began."""
        given = None if inputs == {"input": ""} else inputs  # which is how "not known yet" is told
        self._begin(about.get("run_type") or "chain", serialized, given, about)

    def on_chain_end(self, outputs: Any, *, run_id: Any, **about: Any) -> None:
        """Take in what it gave."""
        self._run.end(str(run_id), outputs, given=about.get("inputs"))

    def on_chat_model_start(self, serialized: Any, messages: Any, **about: Any) -> None:
        """Take in what a chat model is asked."""
        self._begin("chat_model", serialized, {"messages": messages}, about)

    def on_llm_start(self, serialized: Any, prompts: Any, **about: Any) -> None:
        """Take in what a model that completes text is asked."""
        self._begin("llm", serialized, {"prompts": prompts}, about)

    def on_llm_end(self, response: Any, *, run_id: Any, **about: Any) -> None:
        """Take in what a model of either kind gave, and its tokens."""
        made = [one for batch in response.generations for one in batch]
        message = getattr(made[0], "message", None) if made else None
        gave = message if is_from_model(message) else _of_text_model(response)
        self._run.end(str(run_id), gave, told=response.llm_output)

    def on_tool_start(self, serialized: Any, input_str: str, **about: Any) -> None:
        """Take in a tool call."""
        self._begin("tool", serialized, about.get("inputs") or {}, about)

    def on_tool_end(self, output: Any, *, run_id: Any, **about: Any) -> None:
        """Take in what the tool gave."""
        self._run.end(str(run_id), output)

    def on_tool_error(self, error: BaseException, *, run_id: Any, **about: Any) -> None:
        """Take in that the tool failed."""
        self._run.end(str(run_id), error, failed=True)

    def on_retriever_start(self, serialized: Any, query: str, **about: Any) -> None:
        """Take in what a retriever is asked."""
        self._begin("retriever", serialized, {"query": query}, about)

    def on_retriever_end(self, documents: Any, *, run_id: Any, **about: Any) -> None:
        """Take in what it found."""
        self._run.end(str(run_id), documents)

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **about: Any) -> None:
        """Take in what a node sent of its own accord."""
        self._run.send(name, data, parent=str(run_id), metadata=about.get("metadata") or {})

    def on_interrupt(self, event: Any) -> None:
        """Take in that a graph stopped to wait."""
        self._run.interrupt(str(event.run_id))

    def _begin(self, kind: str, serialized: Any, given: Any, about: dict[str, Any]) -> None:
        above = about.get("parent_run_id")
        self._run.begin(
            str(about["run_id"]),
            _name(about.get("name"), serialized),
            kind,
            given,
            parent=None if above is None else str(above),
            tags=about.get("tags"),
            metadata=about.get("metadata"),
        )


def _name(name: str | None, serialized: Any) -> str:
    """Return a run's name, as LangChain's own events give it."""
    if name is not None:
        return name
    known = serialized or {}
    return str(known.get("name") or (known.get("id") or ["Unnamed"])[-1])


def _of_text_model(response: Any) -> dict[str, Any]:
    """Return what a model that completes text gave, as LangChain's own events tell it."""
    told = ("text", "generation_info", "type")
    generations = [
        [{name: getattr(one, name, None) for name in told} for one in batch]
        for batch in response.generations
    ]
    return {"generations": generations, "llm_output": response.llm_output}
