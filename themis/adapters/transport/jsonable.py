"""Making JSON of what SDKs hand over, so that it can be kept as evidence.

Only for evidence and traces: what a user hands in is refused where it is not JSON, never bent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from themis.adapters.transport.lenient_json import mended_text

_DEEPEST = 64


def jsonable(value: Any, depth: int = 0) -> Any:
    """Return a JSON value for any object; what has no JSON form becomes its ``repr``."""
    if value is None or type(value) in (bool, int):
        return value
    if isinstance(value, Enum):
        return jsonable(value.value, depth)
    if isinstance(value, str):
        return mended_text(str(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {jsonable(str(key)): jsonable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((jsonable(item, depth + 1) for item in value), key=repr)
    return _of_object(value, depth)


def _of_object(value: Any, depth: int) -> Any:
    try:
        return _taken_apart(value, depth)
    except Exception:  # noqa: BLE001 - an object of any library; evidence is not worth an answer
        return repr(value)


def _taken_apart(value: Any, depth: int) -> Any:
    if is_message(value):
        return message_data(value, depth)
    if callable(dump := getattr(value, "model_dump", None)):
        return jsonable(dump(mode="json"), depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {one.name: jsonable(getattr(value, one.name), depth + 1) for one in fields}
    if callable(iso := getattr(value, "isoformat", None)):
        return str(iso())
    if callable(whole := getattr(value, "tolist", None)):  # an array of numpy's
        return jsonable(whole(), depth + 1)
    if callable(item := getattr(value, "item", None)):  # a number of some library's
        return jsonable(item(), depth + 1)
    if hasattr(value, "__dict__") and type(value).__name__ == "SimpleNamespace":
        return jsonable(vars(value), depth)
    return repr(value)


_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


def is_message(value: object) -> bool:
    """Return whether an object is a message of LangChain's, by its attributes."""
    return (
        not isinstance(value, (dict, type))
        and isinstance(getattr(value, "type", None), str)
        and hasattr(value, "content")
        and hasattr(value, "additional_kwargs")
    )


def message_data(message: Any, depth: int = 0) -> dict[str, Any]:
    """Return a message's role and content, with its tool calls where it has any.

    Ids are left out: they differ in each run.
    """
    data = {
        "role": _ROLES.get(message.type) or getattr(message, "role", message.type),
        "content": jsonable(message.content, depth + 1),
    }
    for name in ("tool_calls", "tool_call_id", "name"):
        if given := getattr(message, name, None):
            data[name] = jsonable(given, depth + 1)
    return data
