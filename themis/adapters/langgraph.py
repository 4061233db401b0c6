"""A LangGraph graph, or anything with its calls, as a generator.

Each sample is one execution. A graph's behaviour lies in code that Themis does not see, so that its
answers are reused across runs only where ``graph_version`` vouches for it. The graph's own limits,
retries and memory are its own; a checkpointer is given a thread of its own for each execution.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any

from themis.adapters.building import InputBuilder, built_input
from themis.adapters.finish_reasons import finish_reason_of
from themis.adapters.functions import fingerprint_function
from themis.adapters.graph_events import GraphRun
from themis.adapters.jsonable import is_message, jsonable, message_data
from themis.adapters.requests import chat_messages
from themis.adapters.threads import daemon_threads, in_daemon_thread
from themis.core.base import JSONObject, JSONValue
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError, DefinitionError, ProviderError, did_you_mean
from themis.core.hashing import digest_value, text
from themis.core.models import Case, GenerationResult, Message
from themis.core.prompts import PromptSpec, is_messages

_CALLS = ("astream_events", "ainvoke", "invoke")
_TEXTS = ("text", "output_text")
_WORDLESS = (
    "function_call", "invalid_tool_call", "reasoning", "redacted_thinking", "thinking", "tool_call",
    "tool_use",
)  # fmt: skip
"""Parts of a message that say nothing to the one who asked."""


class LangGraphGenerator:
    """Generates by executing a graph once a sample."""

    version = "1"

    def __init__(
        self,
        graph: Any,
        *,
        graph_id: str,
        graph_version: str | None,
        input_builder: InputBuilder | None,
        output_key: str | None,
        fingerprint: str | None,
    ) -> None:
        if not any(callable(getattr(graph, name, None)) for name in _CALLS):
            raise DefinitionError(
                f"graph is a {type(graph).__name__} with neither ainvoke() nor invoke(): "
                "give a compiled graph, such as builder.compile()",
                field="graph",
            )
        if not graph_id:
            raise DefinitionError("graph_id is empty: give the graph a name", field="graph_id")
        self.component_id = f"langgraph/{graph_id}"
        self.graph_id = graph_id
        self.graph_version = graph_version
        self.output_key = output_key
        self.max_output_tokens = None
        self.users_function = input_builder
        everything = {"input", "expected_output", "metadata"}
        self.reads = frozenset({"input"} if input_builder is None else everything)
        self._graph = graph
        self._input_builder = input_builder
        self.fingerprinted = {
            "graph_id": graph_id,
            "graph_version": graph_version,
            "input_builder": None
            if input_builder is None
            else fingerprint_function(input_builder, fingerprint),
            "output_key": output_key,
        }
        self._fingerprint = text(digest_value("graph", self.fingerprinted))

    @property
    def reuse_across_runs(self) -> bool:
        """Whether answers may be reused in another run: only where a version vouches for them."""
        return self.graph_version is not None

    def fingerprint(self) -> str:
        """Return a digest over the graph's name and version and how it is fed and read."""
        return self._fingerprint

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Execute the graph and return its output, its trace and, of a message state, the messages.

        Raises:
            ComponentError: the graph stopped before its end, or its output lacks ``output_key``.
        """
        payload = self._payload(case, ctx.prompt_spec or PromptSpec())
        options, artifacts = self._options()
        run = GraphRun()
        started = time.perf_counter()
        try:
            with daemon_threads():
                state = await self._execute(payload, options, run)
            output = self._output(state)
        except Exception as error:
            with suppress(Exception):  # the error itself is what counts
                error.trace_so_far = run.trace()  # type: ignore[attr-defined]
            raise
        latency_ms = (time.perf_counter() - started) * 1000
        made = _messages_made(state, payload)
        if not run.has_root:
            run.count_messages(made)
        if self.output_key is not None:
            artifacts["state"] = jsonable(state)
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=output,
            trace=run.trace(),
            conversation=_conversation(state),
            artifacts={**artifacts, **_told_by(made)},
            token_usage=run.token_usage or None,
            latency_ms=latency_ms,
        )

    async def _execute(self, payload: Any, options: dict[str, Any], run: GraphRun) -> Any:
        """Return the final state; the graph runs exactly once."""
        if callable(getattr(self._graph, "astream_events", None)):
            await self._stream(payload, options, run)
            if run.has_root:
                return run.finished()
        if callable(getattr(self._graph, "ainvoke", None)):
            state = await self._graph.ainvoke(payload, **options)
        else:
            state = await in_daemon_thread(lambda: self._graph.invoke(payload, **options))
        run.check_whole(state)
        if run.is_empty:
            run.take_whole(self.graph_id, payload, state)
        return state

    async def _stream(self, payload: Any, options: dict[str, Any], run: GraphRun) -> None:
        try:
            stream = self._graph.astream_events(payload, version="v2", **options)
            async with aclosing(stream):  # so that a cancelled sample cancels its graph
                async for event in stream:
                    run.take(event)
        except NotImplementedError:
            if not run.is_empty:
                raise
            # A graph that lives elsewhere has the method and says so: nothing has run yet.

    def _options(self) -> tuple[dict[str, Any], JSONObject]:
        """Return the arguments of an execution, and what is kept of them as evidence."""
        artifacts: JSONObject = {"graph_id": self.graph_id}
        if self.graph_version is not None:
            artifacts["graph_version"] = self.graph_version
        if not getattr(self._graph, "checkpointer", None):
            return {}, artifacts
        thread_id = uuid.uuid4().hex
        artifacts["thread_id"] = thread_id  # by which its checkpoints are found
        return {"config": {"configurable": {"thread_id": thread_id}}}, artifacts

    def _payload(self, case: Case, spec: PromptSpec) -> Any:
        """Return what the graph is given.

        Text and chat messages become the messages of a graph that has them in its state; anything
        else is given as it is.
        """
        given: JSONValue = case.input
        if self._input_builder is not None:
            given = built_input(self._input_builder, case)
        content = spec.render_input(given, metadata=case.metadata)
        takes_messages = "messages" in (getattr(self._graph, "channels", None) or ())
        if takes_messages and (isinstance(content, str) or is_messages(content)):
            return {"messages": chat_messages(content, spec.instructions)}
        if spec.instructions is not None:
            raise ProviderError(
                f"graph '{self.graph_id}' is not given messages, so that PromptSpec.instructions "
                "have no place: put them there with input_builder=",
                fatal=True,
            )
        fields = _state_fields(self._graph)
        if fields and not isinstance(content, Mapping):
            builder = "what input_builder= gave" if self._input_builder else "the case's input"
            raise ComponentError(
                f"graph '{self.graph_id}' has a state of fields ({', '.join(fields)}), and "
                f"{builder} is {_kind(content)}: make an object of it with input_builder=, as in "
                f"langgraph(..., input_builder=lambda case: {{'{fields[0]}': case.input}})"
            )
        return content

    def _output(self, state: Any) -> JSONValue:
        if self.output_key is not None:
            if not isinstance(state, Mapping) or self.output_key not in state:
                known = list(map(str, state)) if isinstance(state, Mapping) else []
                raise ComponentError(
                    f"graph '{self.graph_id}' ended without output_key '{self.output_key}'"
                    f"{did_you_mean(self.output_key, known)}"
                )
            return _content(state[self.output_key])
        if isinstance(state, Mapping) and set(state) == {"messages"} and state["messages"]:
            return _content(state["messages"][-1])
        return jsonable(state)


def langgraph(
    graph: Any,
    *,
    graph_id: str,
    graph_version: str | None = None,
    input_builder: InputBuilder | None = None,
    output_key: str | None = None,
    fingerprint: str | None = None,
) -> LangGraphGenerator:
    """Return a generator that executes a graph.

    Args:
        graph: a compiled graph, or anything with ``astream_events``, ``ainvoke`` or ``invoke``.
        graph_id: its name; part of identity.
        graph_version: its version; raise it when the graph's behaviour changes. Without one,
            answers are reused within their run only.
        input_builder: makes the graph's input of a case.
        output_key: the part of the final state that is the answer. By default it is the last
            message of a state that is messages only, else the whole state.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.

    Raises:
        DefinitionError: an argument is not what it must be.
    """
    return LangGraphGenerator(
        graph,
        graph_id=graph_id,
        graph_version=graph_version,
        input_builder=input_builder,
        output_key=output_key,
        fingerprint=fingerprint,
    )


def _state_fields(graph: Any) -> list[str]:
    """Return the fields of a StateGraph's state; none where it has no fields, or is none."""
    channels = [str(name) for name in getattr(graph, "channels", None) or ()]
    if "__start__" not in channels:  # not made by a StateGraph: who knows what it takes
        return []
    return [name for name in channels if not name.startswith(("__", "branch:"))]


def _kind(value: JSONValue) -> str:
    names = {str: "text", list: "a list", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")


def _content(value: Any) -> JSONValue:
    """Return what a message says, and of anything else its JSON form.

    That is its text, or the list of its tool calls if it has none.
    """
    if not is_message(value):
        return jsonable(value)
    said = _text_of(value.content)
    if said == "" and (calls := _calls_of(value)):
        return [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return said


def _text_of(content: Any) -> JSONValue:
    """Return the text of a message in parts; the parts, where one is neither text nor wordless."""
    if not isinstance(content, list):
        return jsonable(content)
    said = ""
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            said += part
        elif kind in _TEXTS and isinstance(part.get("text"), str):
            said += part["text"]
        elif kind not in _WORDLESS:
            return jsonable(content)
    return said


def _calls_of(message: Any) -> list[JSONObject]:
    """Return a message's tool calls; arguments that are no JSON stay the text they are."""
    made = [
        call
        for name in ("tool_calls", "invalid_tool_calls")
        for call in getattr(message, name, None) or ()
    ]
    return [
        {"id": call.get("id"), "name": call.get("name"), "arguments": jsonable(call.get("args"))}
        for call in made
    ]


def _conversation(state: Any) -> list[Message] | None:
    messages = state.get("messages") if isinstance(state, Mapping) else None
    if not isinstance(messages, (list, tuple)):
        return None
    said: list[JSONObject] = [
        message_data(one) if is_message(one) else one
        for one in messages
        if is_message(one) or is_messages([one])
    ]
    return [
        Message(role=str(one["role"]), content=jsonable(one["content"])) for one in said
    ] or None


def _messages_made(state: Any, payload: Any) -> list[Any]:
    """Return the model's messages in a state, those it was given left out."""
    messages = state.get("messages") if isinstance(state, Mapping) else None
    given = payload.get("messages") if isinstance(payload, Mapping) else None
    if not isinstance(messages, (list, tuple)):
        return []
    before = len(given) if isinstance(given, list) else 0
    return [one for one in messages[before:] if is_message(one) and one.type == "ai"]


def _told_by(messages: list[Any]) -> JSONObject:
    """Return the tool calls of messages, and why the last of them ended."""
    told: JSONObject = {}
    calls = [call for message in messages for call in _calls_of(message)]
    if calls:
        told["tool_calls"] = calls
    said = getattr(messages[-1], "response_metadata", None) or {} if messages else {}
    reason = finish_reason_of(said.get("finish_reason") or said.get("stop_reason"))
    if reason is not None:
        told["finish_reason"] = reason
    return told
