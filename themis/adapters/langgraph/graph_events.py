"""What is seen of a graph's execution: its steps, its tokens, what its models said, its end.

It is told by callbacks (``graph_callbacks``) or, of a stand-in, by the events that it streams in
the form of ``astream_events(version="v2")``. Steps stand in the order in which they began, which
branches that run side by side share from one execution to the next. Plumbing (hidden steps, chunks
of a stream) is no step. Run ids are drawn anew each time and are left out of what is kept.

A graph may shorten its history, so that a message is known by where it came from and never by its
place in a list: what a node gave, and was not given before, is what it said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from themis.adapters.langgraph.graph_messages import (
    is_from_model,
    messages_in,
    messages_of,
    text_of,
    usage_of,
)
from themis.adapters.transport.jsonable import jsonable
from themis.core.errors import ComponentError
from themis.core.models import TraceStep

_HIDDEN = "langsmith:hidden"
_INTERRUPT = "__interrupt__"
_NODE = "langgraph_node"


@dataclass
class _Step:
    """A step as far as it is known."""

    name: str
    kind: str
    given: Any = None
    gave: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_step(self) -> TraceStep:
        return TraceStep(
            step_name=self.name,
            step_type=self.kind,
            input=jsonable(self.given if self.given is not None else {}),
            output=jsonable(self.gave if self.gave is not None else {}),
            metadata=self.metadata,
        )


@dataclass
class _Run:
    """A run within the execution: the whole, a node, a model, a tool."""

    kind: str
    depth: int
    is_node: bool
    within_node: bool
    step: _Step | None
    """None of the whole and of what is hidden."""


class GraphRun:
    """What is seen of one execution. Nodes may run side by side, in threads."""

    def __init__(self) -> None:
        self.token_usage: dict[str, int] = {}
        self.output: Any = None
        self.states: list[list[Any]] = []
        """The messages that graphs ended with, those within nodes left out."""
        self._lock = threading.RLock()
        self._root: str | None = None
        self._ended = False
        self._waits = False
        self._steps: list[_Step] = []
        self._runs: dict[str, _Run] = {}
        self._given: set[object] = set()
        self._held: list[Any] = []  # what is known by the object that it is must not be freed
        self._known: set[object] = set()
        self._said: list[Any] = []
        self._models_said: list[Any] = []

    @property
    def has_root(self) -> bool:
        """Whether anything was one of a run, so that what was seen was the graph's execution."""
        return bool(self._runs)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen, so that nothing was executed."""
        return not self._runs and not self._steps

    # ------------------------------------------------------------------ what happens

    def begin(
        self,
        run_id: str,
        name: str,
        kind: str,
        given: Any,
        *,
        parent: str | None = None,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in that a run began; the first is the whole."""
        metadata = metadata or {}
        with self._lock:
            above = self._runs.get(parent or "")
            depth = 0 if self._root is None else 1 if above is None else above.depth + 1
            is_node = metadata.get(_NODE) == name
            step = None
            if self._root is None:
                self._root = run_id
            elif _HIDDEN not in (tags or ()):
                facts = {**_facts(depth, metadata), "unfinished": True}
                step = _Step(name, kind, given, None, facts)
                self._steps.append(step)
            within = above is not None and (above.is_node or above.within_node)
            self._runs[run_id] = _Run(kind, depth, is_node, within, step)
            if is_node:
                self._see_given(given)

    def end(
        self, run_id: str, gave: Any, *, given: Any = None, failed: bool = False, told: Any = None
    ) -> None:
        """Take in that a run ended.

        Args:
            run_id: the run.
            gave: its output, or the error that it failed with.
            given: its input, where only its end tells it.
            failed: whether it failed.
            told: what a model's integration told beside its message.
        """
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return
            if run_id == self._root:
                self._ended = not failed
                self.output = gave
            if run.step is not None:
                run.step.given = given if run.step.given is None else run.step.given
                run.step.gave = gave
                run.step.metadata.update({"failed": True} if failed else {})
                run.step.metadata.pop("unfinished", None)
            if failed:
                return
            if run.kind in ("chat_model", "llm"):
                self._models_said += [gave] if is_from_model(gave) else []
                self._count(usage_of(gave, told))
            elif run.is_node:
                self._see_said(gave)
            elif not run.within_node and (messages := messages_of(gave)) is not None:
                self.states.append(messages)

    def send(self, name: str, data: Any, *, parent: str, metadata: Mapping[str, Any]) -> None:
        """Take in what a node sent of its own accord."""
        with self._lock:
            above = self._runs.get(parent)
            depth = above.depth if above is not None else 1
            facts = _facts(depth, metadata)
            self._steps.append(_Step(name, "custom", None, data, facts))

    def interrupt(self, run_id: str) -> None:
        """Take in that a graph stopped to wait; one that a node called is that node's affair."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or not (run.is_node or run.within_node):
                self._waits = True

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in the next event of a stream."""
        if "run_id" not in event and "parent_ids" not in event:
            self._take_plain(event)
            return
        run_id, kind = str(event.get("run_id", "")), str(event.get("event", ""))
        data = event.get("data") or {}
        above = event.get("parent_ids") or ()
        about: dict[str, Any] = {
            "parent": str(above[-1]) if above else None,
            "tags": event.get("tags"),
            "metadata": event.get("metadata"),
        }
        name, of = str(event.get("name", "")), kind.removeprefix("on_").rpartition("_")[0]
        if kind.endswith("_start"):
            self.begin(run_id, name, of, data.get("input"), **about)
        elif kind.endswith(("_end", "_error")):
            if run_id not in self._runs:
                self.begin(run_id, name, of, data.get("input"), **about)
            failed = kind.endswith("_error")
            gave = data.get("output", data.get("error"))
            self.end(run_id, gave, given=data.get("input"), failed=failed)
        elif kind == "on_custom_event":
            metadata = event.get("metadata") or {}
            self.send(name, data, parent=run_id, metadata=metadata)
        elif kind.endswith("_stream") and run_id == self._root:
            self.check_whole(data.get("chunk"))

    def take_whole(self, name: str, given: Any, gave: Any) -> None:
        """Take in an execution of which nothing else was seen, as one step."""
        self._steps.append(_Step(name, "graph", given, gave))

    # ------------------------------------------------------------------ what came of it

    def trace(self) -> list[TraceStep]:
        """Return the steps in the order in which they began.

        A step that did not end, because it failed or the graph stopped, is marked unfinished.
        """
        with self._lock:
            return [step.as_step() for step in self._steps]

    def finished(self) -> Any:
        """Return the output of a graph whose stream told it.

        Raises:
            ComponentError: the graph was started and did not end.
        """
        if not self._ended:
            raise ComponentError("the graph's event stream stopped before the graph ended")
        return self.output

    def check_whole(self, state: Any) -> None:
        """Refuse the state of a graph that waits for a person in place of ending.

        Raises:
            ComponentError: it stopped at an interrupt.
        """
        if self._waits or (isinstance(state, Mapping) and _INTERRUPT in state):
            raise ComponentError(
                "the graph stopped at an interrupt and waits for an answer: give one that needs "
                "none"
            )

    def answers(self, messages: list[Any] | None, payload: Any) -> list[Any]:
        """Return what the graph's nodes said, in order; what its models said, if that is nothing.

        Args:
            messages: those that it ended with, for what no step was seen to give.
            payload: what it was given: the messages in it are not its own.
        """
        given = [_gist(one) for one in messages_of(payload) or ()]
        made = [one for one in self._said if one.id or _gist(one) not in given]
        known = {key for one in self._said for key in _keys(one)}
        made += [
            one
            for one in messages or ()
            if is_from_model(one) and not known & _keys(one) and _gist(one) not in given
        ]
        return made or list(self._models_said)

    def answer(self, output: Any, made: list[Any], messages: list[Any] | None) -> Any:
        """Return the message that is the answer: how it ended is how the answer ended.

        It is the message whose words are in the output, else the last of those it ended with.
        None, where the graph made its answer of something else.
        """
        texts = list(_texts(output))
        said = [
            (text.strip(), one)
            for one in (*reversed(made), *reversed(self._models_said))
            if isinstance(text := text_of(one.content), str)
        ]
        equal = [one for text, one in said if text in texts and (text or output == text)]
        within = [
            (len(text), -place, one)
            for place, (text, one) in enumerate(said)
            if text and any(text in whole for whole in texts)
        ]
        if equal or within:
            return equal[0] if equal else max(within, key=lambda found: found[:2])[2]
        known = {key for one in made for key in _keys(one)}
        last = [one for one in messages or () if is_from_model(one) and known & _keys(one)]
        return last[-1] if last else None

    def count_unseen(self, made: list[Any]) -> None:
        """Count the tokens of messages that no model was seen to give: those a node made itself."""
        counted = [(_gist(one), usage_of(one)) for one in self._models_said]
        for one in made:
            if (usage := usage_of(one)) and (_gist(one), usage) not in counted:
                self._count(usage)

    def _count(self, usage: Mapping[str, int]) -> None:
        for name, count in usage.items():
            self.token_usage[name] = self.token_usage.get(name, 0) + count

    def _see_given(self, given: Any) -> None:
        for one in messages_in(given):
            if is_from_model(one) and not self._known & _keys(one):
                self._given |= _keys(one)
                self._held.append(one)

    def _see_said(self, gave: Any) -> None:
        for one in messages_in(gave):
            if is_from_model(one) and not (self._known | self._given) & _keys(one):
                self._said.append(one)
                self._known |= _keys(one)

    def _take_plain(self, event: Mapping[str, Any]) -> None:
        """Keep an event that belongs to no run as a step, as it is."""
        data = event.get("data")
        data = data if isinstance(data, Mapping) else {"output": data}
        name, kind = str(event.get("name", "")), str(event.get("event", ""))
        self._steps.append(_Step(name, kind, data.get("input"), data.get("output")))


def _facts(depth: int, known: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"depth": depth}
    for name, key in (("node", _NODE), ("step", "langgraph_step")):
        if key in known:
            metadata[name] = jsonable(known[key])
    return metadata


def _keys(message: Any) -> set[object]:
    """Return what a message is known by: the object that it is, and its id once it has one."""
    named = getattr(message, "id", None)
    return {("object", id(message)), ("id", named)} if named else {("object", id(message))}


def _gist(message: Any) -> tuple[str, str]:
    """Return who said a message, and what it says."""
    if isinstance(message, Mapping):
        role, content = message.get("role"), message.get("content")
    else:
        role, content = message.type, message.content
    role = "assistant" if role in ("ai", "AIMessageChunk") else str(role)
    return role, repr(text_of(content))


def _texts(output: Any) -> Iterator[str]:
    """Yield the texts in an output."""
    if isinstance(output, str):
        yield output.strip()
    elif isinstance(output, Mapping):
        for one in output.values():
            yield from _texts(one)
    elif isinstance(output, list):
        for one in output:
            yield from _texts(one)
