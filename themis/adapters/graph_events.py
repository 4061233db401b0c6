"""From a graph's event stream to its output, its trace and its token counts.

The stream is that of ``astream_events(version="v2")``: the root is the run without parents, and
what it ended with is the output. Events of plumbing (hidden steps, chunks of a stream) are not
steps. Run ids are drawn anew each time and are left out of what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.adapters.jsonable import jsonable
from themis.core.errors import ComponentError
from themis.core.models import TraceStep

_HIDDEN = "langsmith:hidden"
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


class GraphRun:
    """What the events of one execution tell, taken in one after the other."""

    def __init__(self) -> None:
        self.trace: list[TraceStep] = []
        self.token_usage: dict[str, int] = {}
        self.output: Any = None
        self._root: str | None = None
        self._ended = False
        self._is_traced = False
        self._inputs: dict[str, Any] = {}

    @property
    def has_root(self) -> bool:
        """Whether any event was one of a run, so that the stream was the graph's execution."""
        return self._is_traced

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        if "run_id" not in event and "parent_ids" not in event:
            self._take_plain(event)
            return
        self._is_traced = True
        run_id = str(event.get("run_id", ""))
        kind = str(event.get("event", ""))
        data = event.get("data") or {}
        if kind.endswith("_start"):
            self._inputs[run_id] = data.get("input")
            if not event.get("parent_ids"):
                self._root = self._root or run_id
        elif kind.endswith(("_end", "_error")):
            given = self._inputs.pop(run_id, data.get("input"))
            if run_id == self._root and kind.endswith("_end"):
                self._ended = True
                self.output = data.get("output")
            elif run_id != self._root and _HIDDEN not in (event.get("tags") or ()):
                self._take_step(event, kind, given, data)

    def finished(self) -> Any:
        """Return the output of the graph.

        Raises:
            ComponentError: the graph was started and did not end.
        """
        if not self._ended:
            raise ComponentError("the graph's event stream stopped before the graph ended")
        return self.output

    def _take_plain(self, event: Mapping[str, Any]) -> None:
        """Keep an event that belongs to no run as a step, as it is."""
        data = event.get("data")
        data = data if isinstance(data, Mapping) else {"output": data}
        self.trace.append(
            TraceStep(
                step_name=str(event.get("name", "")),
                step_type=str(event.get("event", "")),
                input=jsonable(data.get("input", {})),
                output=jsonable(data.get("output", {})),
            )
        )

    def _take_step(
        self, event: Mapping[str, Any], kind: str, given: Any, data: Mapping[str, Any]
    ) -> None:
        known = event.get("metadata") or {}
        metadata: dict[str, Any] = {"depth": len(event.get("parent_ids") or ())}
        for name, key in (("node", "langgraph_node"), ("step", "langgraph_step")):
            if key in known:
                metadata[name] = jsonable(known[key])
        if kind.endswith("_error"):
            metadata["failed"] = True
        self.trace.append(
            TraceStep(
                step_name=str(event.get("name", "")),
                step_type=kind.removeprefix("on_").rpartition("_")[0],
                input=jsonable(given if given is not None else {}),
                output=jsonable(data.get("output", data.get("error", {}))),
                metadata=metadata,
            )
        )
        if kind == "on_chat_model_end":
            self._count(getattr(data.get("output"), "usage_metadata", None) or {})

    def _count(self, usage: Mapping[str, Any]) -> None:
        for name, key in _USAGE.items():
            if type(usage.get(key)) is int:
                self.token_usage[name] = self.token_usage.get(name, 0) + usage[key]
