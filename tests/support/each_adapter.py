"""The adapters that ask endpoints, each with what its endpoint says when it answers "4".

for adapter in ADAPTERS:
    generator = adapter.make(url, stream=True)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from themis.adapters import anthropic, gemini, http, openai


class Adapter(NamedTuple):
    """One way to ask."""

    name: str
    make: Callable[..., Any]
    """Makes a generator for an address; with ``stream=True`` one that is answered in pieces."""
    body: bytes
    """A whole answer."""
    events: tuple[bytes, ...] = ()
    """The same as server-sent events; none where it does not stream."""

    def __repr__(self) -> str:
        return self.name


def _openai(mode: str) -> Callable[..., Any]:
    return lambda url, **more: openai("m", base_url=url, api_key="k", api_mode=mode, **more)


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _events(*events: Any, last: bytes = b"") -> tuple[bytes, ...]:
    made = [
        (f"event: {one['type']}\n".encode() if "type" in one else b"")
        + b"data: "
        + _json(one)
        + b"\n\n"
        for one in events
    ]
    return (*made, last) if last else tuple(made)


_USED = {"prompt_tokens": 9, "completion_tokens": 1}
_CHAT = {"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop", "index": 0}
_RESPONSE = {
    "id": "r",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "4"}]}],
    "usage": {"input_tokens": 9, "output_tokens": 1},
}
_MESSAGE = {"type": "message", "role": "assistant", "usage": {"input_tokens": 9}}
_GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "4"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1},
}

ADAPTERS = (
    Adapter(
        "openai-chat",
        _openai("chat_completions"),
        _json({"choices": [_CHAT], "usage": _USED}),
        _events(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "4"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": _USED},
            last=b"data: [DONE]\n\n",
        ),
    ),
    Adapter(
        "openai-responses",
        _openai("responses"),
        _json(_RESPONSE),
        _events(
            {"type": "response.output_text.delta", "output_index": 0, "delta": "4"},
            {"type": "response.completed", "response": _RESPONSE},
        ),
    ),
    Adapter(
        "anthropic",
        lambda url, **more: anthropic(
            "m", base_url=url, api_key="k", sampling={"max_output_tokens": 9}, **more
        ),
        _json({**_MESSAGE, "content": [{"type": "text", "text": "4"}], "stop_reason": "end_turn"}),
        _events(
            {"type": "message_start", "message": {**_MESSAGE, "content": []}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "4"},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 1},
            },
            {"type": "message_stop"},
        ),
    ),
    Adapter(
        "gemini",
        lambda url, **more: gemini("m", base_url=url, api_key="k", **more),
        _json(_GEMINI),
        _events(_GEMINI),
    ),
    Adapter(
        "http",
        lambda url, **more: http(url, body={"q": "{{ input }}"}, answer="a", **more),
        _json({"a": "4"}),
    ),
)
