"""A LangGraph graph, or anything with its calls, as a generator.

Each sample is one execution. A graph's behaviour lies in code that Themis does not see, so that its
answers are reused across runs only where ``graph_version`` vouches for it. It is executed as by
itself, under its own config, limits and retries, and watched by callbacks; a checkpointer is given
a thread of its own for each execution.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal

from themis.adapters.langgraph.graph_call import GraphCall, fields_of, takes_messages
from themis.adapters.langgraph.graph_events import GraphRun
from themis.adapters.langgraph.graph_messages import (
    calls_of,
    content_of,
    conversation_of,
    ended_by,
    messages_of,
)
from themis.adapters.prompting.input_builder import (
    InputBuilder,
    builder_fingerprint,
    built_input,
    fields_read,
)
from themis.adapters.prompting.messages import chat_messages
from themis.adapters.transport.jsonable import jsonable
from themis.adapters.transport.meanings import told_reason
from themis.adapters.transport.threads import daemon_threads, in_daemon_thread
from themis.core.base import JSONObject, JSONValue
from themis.core.config_roles import OBJECT
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError, DefinitionError, ProviderError, did_you_mean
from themis.core.hashing import digest_value, text
from themis.core.models import Case, GenerationResult
from themis.core.prompts import PromptSpec, is_messages

_CALLS = ("astream_events", "ainvoke", "invoke")


class LangGraphGenerator:
    """Generates by executing a graph once a sample.

    ``langgraph`` makes it, and says what its arguments are; ``call`` is the graph with its config
    and context.
    """

    version = "1"

    def __init__(
        self,
        call: GraphCall,
        *,
        graph_version: str | None,
        input_builder: InputBuilder | None,
        output_key: str | None,
        fingerprint: str | None,
    ) -> None:
        self.component_id = f"langgraph/{call.graph_id}"
        self.graph_id = call.graph_id
        self.graph_version = graph_version
        self.output_key = output_key
        self.max_output_tokens = None
        self.users_function = input_builder
        self.reads = fields_read(input_builder)
        self._call = call
        self._graph = call.graph
        self._input_builder = input_builder
        self._fields = fields_of(call.graph)
        self._takes_messages = takes_messages(call.graph)
        vouched = fingerprint is not None or graph_version is not None
        settings = call.fingerprinted(vouched)
        if fingerprint is not None and settings:
            settings["settings"] = fingerprint
        declared = None if settings and input_builder is None else fingerprint
        self.fingerprinted = {
            "graph_id": self.graph_id,
            "graph_version": graph_version,
            "input_builder": builder_fingerprint(input_builder, declared),
            "output_key": output_key,
            **settings,
        }
        self._fingerprint = text(digest_value("graph", self.fingerprinted))

    @property
    def reuse_across_runs(self) -> bool:
        """Whether answers may be reused in another run: only where a version vouches for them."""
        return self.graph_version is not None

    def fingerprint(self) -> str:
        """Return a digest over the graph's name and version and how it is called and read."""
        return self._fingerprint

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Execute the graph and return its output, its trace and, of a message state, the messages.

        Raises:
            ComponentError: the graph stopped before its end, or its output lacks ``output_key``.
        """
        payload = self._payload(case, ctx.prompt_spec or PromptSpec())
        run = GraphRun()
        arguments, artifacts = self._arguments(run)
        started = time.perf_counter()
        try:
            with daemon_threads():
                state = await self._execute(payload, arguments, run)
            output = self._output(state)
        except Exception as error:
            said = self._explained(error)
            with suppress(Exception):  # the error itself is what counts
                said.trace_so_far = run.trace()  # type: ignore[attr-defined]
            if said is error:
                raise
            raise said from error
        latency_ms = (time.perf_counter() - started) * 1000
        messages = messages_of(state)
        if messages is None and run.states:  # of a graph whose state something else took up
            messages = run.states[-1]
        made = run.answers(messages, payload)
        run.count_unseen(made)
        if self.output_key is not None:
            artifacts["state"] = jsonable(state)
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=output,
            trace=run.trace(),
            conversation=conversation_of(messages),
            artifacts={**artifacts, **_told_by(made, run.answer(output, made, messages))},
            token_usage=run.token_usage or None,
            latency_ms=latency_ms,
        )

    async def _execute(self, payload: Any, arguments: dict[str, Any], run: GraphRun) -> Any:
        """Return the final state; the graph runs exactly once."""
        if not self._call.is_runnable and callable(getattr(self._graph, "astream_events", None)):
            await self._stream(payload, arguments, run)
            if run.has_root:
                return run.finished()
        is_async = callable(getattr(self._graph, "ainvoke", None))
        if is_async and not (self._call.is_runnable and await self._call.is_sync()):
            state = await self._graph.ainvoke(payload, **arguments)
        else:
            state = await in_daemon_thread(lambda: self._graph.invoke(payload, **arguments))
        run.check_whole(state)
        if run.is_empty:
            run.take_whole(self.graph_id, payload, state)
        return state

    async def _stream(self, payload: Any, arguments: dict[str, Any], run: GraphRun) -> None:
        """Take in the events of a stand-in; a graph of LangChain's is watched by callbacks."""
        try:
            stream = self._graph.astream_events(payload, version="v2", **arguments)
            async with aclosing(stream):  # so that a cancelled sample cancels its graph
                async for event in stream:
                    run.add(event)
        except NotImplementedError:
            if not run.is_empty:
                raise
            # A stand-in has the method and raises this: nothing has run yet.

    def _arguments(self, run: GraphRun) -> tuple[dict[str, Any], JSONObject]:
        """Return the arguments of an execution, and what is kept of them as evidence."""
        artifacts: JSONObject = {"graph_id": self.graph_id}
        if self.graph_version is not None:
            artifacts["graph_version"] = self.graph_version
        handlers: tuple[Any, ...] = ()
        if self._call.is_runnable:
            from themis.adapters.langgraph.graph_callbacks import Watching  # loads LangChain

            handlers = (Watching(run),)
        arguments, thread_id = self._call.arguments(handlers)
        if thread_id is not None:
            artifacts["thread_id"] = thread_id  # by which its checkpoints are found
        return arguments, artifacts

    def _explained(self, error: Exception) -> Exception:
        """Return an error, with what it comes from where a node met no context."""
        is_nothing = isinstance(error, (AttributeError, TypeError)) and "NoneType" in str(error)
        if is_nothing and self._call.lacks_context():
            return ComponentError(f"{self._call.wants_context()} ({error})")
        return error

    def _payload(self, case: Case, spec: PromptSpec) -> Any:
        """Return what the graph is given.

        Text and chat messages become the messages of a graph that takes them; anything else is
        given as it is.
        """
        given: JSONValue = case.input
        if self._input_builder is not None:
            given = built_input(self._input_builder, case)
        content = spec.render_input(given, metadata=case.metadata)
        if self._takes_messages and (isinstance(content, str) or is_messages(content)):
            return {"messages": chat_messages(content, spec.instructions)}
        if spec.instructions is not None:
            raise ProviderError(
                f"graph '{self.graph_id}' is not given messages, so that PromptSpec.instructions "
                "have no place: put them there with input_builder=",
                fatal=True,
            )
        if self._fields and not isinstance(content, Mapping):
            builder = "what input_builder= gave" if self._input_builder else "the case's input"
            raise ComponentError(
                f"graph '{self.graph_id}' has a state of fields ({', '.join(self._fields)}), and "
                f"{builder} is {_kind(content)}: make an object of it with input_builder=, as in "
                f"langgraph(..., input_builder=lambda case: {{'{self._fields[0]}': case.input}})"
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
            return content_of(state[self.output_key])
        if isinstance(state, Mapping) and set(state) == {"messages"} and state["messages"]:
            return content_of(state["messages"][-1])
        return content_of(state)


def langgraph(
    graph: Annotated[Any, OBJECT],
    *,
    graph_id: str,
    graph_version: str | None = None,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    output_key: str | None = None,
    config: Mapping[str, Any] | None = None,
    context: Any = None,
    interrupts: Literal["refuse"] = "refuse",
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
        config: a ``RunnableConfig`` (``recursion_limit``, ``configurable``, ``tags``, ...) to call
            it with. What it was given by ``with_config`` holds without being said here.
        context: what nodes find in ``runtime.context``, of a graph with a ``context_schema``: an
            object of that schema, or its fields.
        interrupts: "refuse": a graph that stops to wait for a person is an error of its case.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it, and
            for what stands in ``config`` and ``context``, where it is no value.

    Raises:
        DefinitionError: an argument is not what it must be, or the graph wants a context.
    """
    if not any(callable(getattr(graph, name, None)) for name in _CALLS):
        raise DefinitionError(
            f"graph is a {type(graph).__name__} with neither ainvoke() nor invoke(): "
            "give a compiled graph, such as builder.compile()",
            field="graph",
        )
    if not graph_id:
        raise DefinitionError("graph_id is empty: give the graph a name", field="graph_id")
    if interrupts != "refuse":
        raise DefinitionError(
            f"interrupts is {interrupts!r}, and there is 'refuse' only: nobody is there to answer "
            "a graph that waits",
            field="interrupts",
        )
    return LangGraphGenerator(
        GraphCall(graph, graph_id, config, context),
        graph_version=graph_version,
        input_builder=input_builder,
        output_key=output_key,
        fingerprint=fingerprint,
    )


def _kind(value: JSONValue) -> str:
    names = {str: "text", list: "a list", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")


def _told_by(made: list[Any], answer: Any) -> JSONObject:
    """Return the tool calls of what was said, and why the answer ended."""
    told: JSONObject = {}
    calls = [call for message in made for call in calls_of(message)]
    if calls:
        told["tool_calls"] = calls
    reason = None if answer is None else ended_by(answer)
    if reason is not None:
        told["finish_reason"] = reason.word
    if note := told_reason(reason):
        told["note"] = note
    return told
