"""The Responses API: its requests, and its answers in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from themis.adapters.model_apis.api import Api, Parts
from themis.adapters.model_apis.sampling import split_sampling
from themis.adapters.prompting.content import responses_content
from themis.adapters.transport.model_answers import Said, read_responses
from themis.core.base import JSONObject

_LAST_EVENTS = (
    "response.cancelled",
    "response.completed",
    "response.failed",
    "response.incomplete",
)


@dataclass(frozen=True)
class ResponsesApi(Api):
    """The Responses API.

    Args:
        takes_seed: whether a sample's seed is sent.
    """

    takes_seed: bool
    mode = "responses"
    tells_cuts = False

    def body(self, parts: Parts) -> JSONObject:
        """Return the request."""
        sampling, left_out = split_sampling(parts.sampling)
        body: JSONObject = {"model": parts.model, "input": responses_content(parts.content)}
        if parts.instructions is not None:
            body["instructions"] = parts.instructions
        if parts.seed is not None and self.takes_seed and "seed" not in left_out:
            body["seed"] = parts.seed
        body.update(_nested(sampling))
        if parts.stream:
            body["stream"] = True
        return body

    def target(self, body: JSONObject) -> tuple[str, JSONObject]:
        """Return the path of a call, and the body."""
        return "/responses", body

    def read(self, source: Any, endpoint: str) -> Said:
        """Return what was said in an answer."""
        return read_responses(source, endpoint)

    def pieces(self) -> PiecedResponse:
        """Return an answer of which nothing has come."""
        return PiecedResponse()


def _nested(sampling: JSONObject) -> JSONObject:
    """Return sampling parameters as the API nests them."""
    body: JSONObject = {}
    for name, value in sampling.items():
        if name == "response_format" and isinstance(value, dict):
            named = value.get("type") == "json_schema"
            asked = {"type": "json_schema", **value.get("json_schema", {})} if named else value
            body["text"] = {**body.get("text", {}), "format": asked}
        elif name == "reasoning_effort":
            body["reasoning"] = {**body.get("reasoning", {}), "effort": value}
        elif isinstance(value, dict) and isinstance(body.get(name), dict):
            body[name] = {**body[name], **value}
        else:
            body[name] = value
    return body


class PiecedResponse:
    """The Responses API sends the whole answer once more with its last event, or most of it."""

    def __init__(self) -> None:
        self.done = False
        self._whole: dict[str, Any] | None = None
        self._items: dict[int, Any] = {}
        self._begun: dict[int, Any] = {}
        self._texts: dict[int, dict[tuple[int, str], list[str]]] = {}

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""
        kind = str(event.get("type", ""))
        if kind in _LAST_EVENTS and isinstance(event.get("response"), dict):
            self._whole = event["response"]
            self.done = True
        elif kind == "response.output_item.added":
            self._begun[int(event.get("output_index") or 0)] = event.get("item")
        elif kind == "response.output_item.done":
            self._items[int(event.get("output_index") or 0)] = event.get("item")
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            part = int(event.get("content_index") or 0), kind.split(".")[1]
            texts = self._texts.setdefault(int(event.get("output_index") or 0), {})
            texts.setdefault(part, []).append(str(event.get("delta") or ""))
        return kind.endswith(".delta") and bool(event.get("delta"))

    def whole(self) -> dict[str, Any] | None:
        """Return the answer; None where the stream ended before it."""
        if self._whole is None or self._whole.get("output", []) != []:
            return self._whole
        made = {
            index: _message(texts, self._begun.get(index)) for index, texts in self._texts.items()
        }
        items = made | self._items
        if not items:
            return self._whole
        return {**self._whole, "output": [items[index] for index in sorted(items)]}


def _message(texts: dict[tuple[int, str], list[str]], begun: Any) -> dict[str, Any]:
    """Return the message of which only the pieces came, and perhaps how it began."""
    parts = [
        {"type": kind, "refusal" if kind == "refusal" else "text": "".join(texts[index, kind])}
        for index, kind in sorted(texts)
    ]
    head = begun if isinstance(begun, dict) else {}
    return {"type": "message", "role": "assistant", **head, "content": parts}
