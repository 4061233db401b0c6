"""Reading one JSON object exactly: every digit of a number, and no key twice.

orjson is quick, but keeps the last of two equal keys and rounds integers past 64 bits, both in
silence. Where what it gave cannot be all of the text, the standard library reads it again and says
what is wrong.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

_DEEPEST = 100
_EXACT = 2.0**53
"""From here on a float may have been an integer that orjson had no room for."""


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a text holds.

    Raises:
        ValueError: it is no JSON, no object, has a key twice, or is nested too deep.
    """
    try:
        value = orjson.loads(text)
        exact = _colons(value, 0) == text.count(":")
    except (ValueError, _DoubtError):
        exact = False
    # A colon that is written as an escape hides from the count.
    if not exact or "\\u003a" in text or "\\u003A" in text:
        value = _read_slowly(text)
    if type(value) is not dict:
        raise ValueError(f"a JSON object is wanted, not a {type(value).__name__}")
    return value


class _DoubtError(Exception):
    """The quick reader may have changed a value."""


class _TwiceError(Exception):
    """An object has a key twice: which of the values is meant, nobody can say."""


def _read_slowly(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except _TwiceError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _colons(value: Any, depth: int) -> int:
    """Count the colons of a value's shortest text: one for each key, and those in its strings.

    The text of an object with a key twice has more of them than what was read of it.
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
