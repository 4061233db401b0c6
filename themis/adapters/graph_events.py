"""From a graph's event stream to its output, its trace and its token counts.

The stream is that of ``astream_events(version="v2")``: the root is the run without parents, and
what it ended with is the output. Steps stand in the order in which they began, which branches that
run side by side share from one execution to the next. Events of plumbing (hidden steps, chunks of a
stream) are not steps. Run ids are drawn anew each time and are left out of what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from themis.adapters.jsonable import jsonable
from themis.core.errors import ComponentError
from themis.core.models import TraceStep

_HIDDEN = "langsmith:hidden"
_INTERRUPT = "__interrupt__"
_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
}
_DETAILS = {
    "cached_tokens": ("input_token_details", "cache_read"),
    "reasoning_tokens": ("output_token_details", "reasoning"),
}


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


class GraphRun:
    """What the events of one execution tell, taken in one after the other."""

    def __init__(self) -> None:
        self.token_usage: dict[str, int] = {}
        self.output: Any = None
        self._root: str | None = None
        self._ended = False
        self._is_traced = False
        self._steps: list[_Step] = []
        self._open: dict[str, _Step] = {}

    @property
    def has_root(self) -> bool:
        """Whether any event was one of a run, so that the stream was the graph's execution."""
        return self._is_traced

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen, so that nothing was executed."""
        return not self._is_traced and not self._steps

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        if "run_id" not in event and "parent_ids" not in event:
            self._take_plain(event)
            return
        self._is_traced = True
        run_id = str(event.get("run_id", ""))
        kind = str(event.get("event", ""))
        data = event.get("data") or {}
        if kind.endswith("_start") and not event.get("parent_ids") and self._root is None:
            self._root = run_id
        if run_id == self._root:
            if kind.endswith("_end"):
                self._ended = True
                self.output = data.get("output")
            elif kind.endswith("_stream"):
                self.check_whole(data.get("chunk"))
        elif _HIDDEN not in (event.get("tags") or ()):
            self._take_step(run_id, event, kind, data)

    def trace(self) -> list[TraceStep]:
        """Return the steps in the order in which they began.

        A step that did not end, because it failed or the graph stopped, is marked unfinished.
        """
        for step in self._open.values():
            step.metadata["unfinished"] = True
        return [step.as_step() for step in self._steps]

    def finished(self) -> Any:
        """Return the output of the graph.

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
        if isinstance(state, Mapping) and _INTERRUPT in state:
            raise ComponentError(
                "the graph stopped at an interrupt and waits for an answer: give one that needs "
                "none"
            )

    def take_whole(self, name: str, given: Any, gave: Any) -> None:
        """Take in an execution of which nothing else was seen, as one step."""
        self._steps.append(_Step(name, "graph", given, gave))

    def count_messages(self, messages: Any) -> None:
        """Count the tokens of messages, where no event told of the models that made them."""
        for message in messages:
            self._count(message)

    def _take_plain(self, event: Mapping[str, Any]) -> None:
        """Keep an event that belongs to no run as a step, as it is."""
        data = event.get("data")
        data = data if isinstance(data, Mapping) else {"output": data}
        name, kind = str(event.get("name", "")), str(event.get("event", ""))
        self._steps.append(_Step(name, kind, data.get("input"), data.get("output")))

    def _take_step(self, run_id: str, event: Mapping[str, Any], kind: str, data: Any) -> None:
        if kind.endswith("_start"):
            self._begin(run_id, event, kind, data)
        elif kind.endswith(("_end", "_error")):
            step = self._open.pop(run_id, None)
            if step is None:
                step = self._begin(run_id, event, kind, data)
                del self._open[run_id]
            if step.given is None:
                step.given = data.get("input")
            step.gave = data.get("output", data.get("error"))
            if kind.endswith("_error"):
                step.metadata["failed"] = True
            if kind == "on_chat_model_end":
                self._count(data.get("output"))
        elif kind == "on_custom_event":  # one that a node sent of its own accord
            name = str(event.get("name", ""))
            self._steps.append(_Step(name, "custom", None, data, _metadata(event)))

    def _begin(
        self, run_id: str, event: Mapping[str, Any], kind: str, data: Mapping[str, Any]
    ) -> _Step:
        kind = kind.removeprefix("on_").rpartition("_")[0]
        step = _Step(str(event.get("name", "")), kind, data.get("input"), None, _metadata(event))
        self._steps.append(step)
        self._open[run_id] = step
        return step

    def _count(self, message: Any) -> None:
        usage = getattr(message, "usage_metadata", None) or {}
        counts = {name: usage.get(key) for name, key in _USAGE.items()}
        for name, (part, key) in _DETAILS.items():
            counts[name] = (usage.get(part) or {}).get(key)
        for name, count in counts.items():
            if type(count) is int:
                self.token_usage[name] = self.token_usage.get(name, 0) + count


def _metadata(event: Mapping[str, Any]) -> dict[str, Any]:
    known = event.get("metadata") or {}
    metadata: dict[str, Any] = {"depth": len(event.get("parent_ids") or ())}
    for name, key in (("node", "langgraph_node"), ("step", "langgraph_step")):
        if key in known:
            metadata[name] = jsonable(known[key])
    return metadata
