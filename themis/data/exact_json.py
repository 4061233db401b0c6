"""Reading JSON objects and arrays exactly: integers of any size, and duplicate keys refused.

orjson is quick, but silently keeps the last of two equal keys and rounds integers past 64 bits. If
its result may have lost something, the standard library reads the text again and reports
duplicates.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

_DEEPEST = 100
_EXACT = 2.0**53
"""A float from here on may be an integer that orjson rounded."""


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text.

    Raises:
        ValueError: the text is no JSON, no object, has a key twice, or is nested too deep.
    """
    value = _read(text)
    if type(value) is not dict:
        raise ValueError(f"a JSON object is wanted, not a {type(value).__name__}")
    return value


def read_array(text: str) -> list[Any]:
    """Return the JSON array in a text; raises as ``read_object`` does."""
    value = _read(text)
    if type(value) is not list:
        raise ValueError(f"a JSON array is wanted, not a {type(value).__name__}")
    return value


def _read(text: str) -> Any:
    try:
        value = orjson.loads(text)
        exact = _colons(value, 0) == text.count(":")
    except (ValueError, _DoubtError):
        exact = False
    # A colon that is written as an escape is not counted.
    if not exact or "\\u003a" in text or "\\u003A" in text:
        value = _read_slowly(text)
    return value


class _DoubtError(Exception):
    """orjson may have changed a value."""


class _TwiceError(Exception):
    """An object has a key twice, so that its value is ambiguous."""


def _read_slowly(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except _TwiceError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _colons(value: Any, depth: int) -> int:
    """Count the colons in a value's JSON text: one for each key, and those in its strings.

    If an object has a key twice, the original text has more colons.
    """
    kind = type(value)
    if kind is str:
        return int(value.count(":"))
    if kind is dict:
        if depth > _DEEPEST:
            raise _DoubtError
        count = len(value)
        for key, item in value.items():
            count += key.count(":")
            count += item.count(":") if type(item) is str else _colons(item, depth + 1)
        return count
    if kind is list:
        if depth > _DEEPEST:
            raise _DoubtError
        return sum([_colons(item, depth + 1) for item in value])
    if kind is float and (value == 0.0 or not -_EXACT < value < _EXACT):
        raise _DoubtError
    return 0


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key '{twice}' stands twice")
    return found
