"""JSON inside of prose: the whole text, fenced blocks, or values that stand between words.

The clearest place decides: a text that is JSON, else its fences, else what stands in the prose.
Broken JSON is not repaired.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, NamedTuple

from themis.catalog.parsers.fences import Block, fenced_blocks, without_blocks
from themis.core.base import JSONValue
from themis.core.errors import DefinitionError, ParseError
from themis.core.hashing import check_json

_DEEPEST = 200
"""Levels of lists and objects; how many more could be kept depends on who asks."""
_TOO_DEEP = "nested too deeply to be read"
# Brackets behind which JSON may follow: others, of which a text may be full, need not be tried.
_OPENING = re.compile(
    r'\{(?=\s*["}])|(?<![A-Za-z0-9_])\[(?=\s*(?:[][{"\d-]|true|false|null))'  # "x[3]" has an index
)
_MOST_READINGS = 20
"""How many times over a text is gone through for what begins as JSON and is none."""
_NEAR = 2000
"""Characters in which most of that shows. Of a whole text the library counts all lines before a
place, to tell what is wrong there."""
_AT_LEAST = 16
"""Characters before the end of what was looked at where an error may be that of a cut."""


class Found(NamedTuple):
    """A JSON value in a text."""

    value: JSONValue
    where: str
    """whole, fence or prose."""


def read_json(text: str) -> JSONValue:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none, or holds NaN, an infinity or a lone surrogate; says where.
    """
    try:
        return _checked(_DECODER.decode(text), text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def json_in(text: str) -> list[Found]:
    """Return the JSON values of the clearest place that has any.

    Raises:
        ParseError: there is none; reason "invalid" where something begins as JSON and is not,
            else "nothing_found".
    """
    try:
        return [Found(read_json(text), "whole")]
    except ValueError:
        pass
    complaint: str | None = None
    fenced = []
    for block in fenced_blocks(text):
        try:
            fenced.append(Found(read_json(block.content), "fence"))
        except ValueError as error:
            if block.language and _may_be_json(block):
                complaint = complaint or f"a fenced block is not JSON: {error}"
    if fenced:
        return fenced
    found, broken = _in_prose(without_blocks(text, _may_be_json))
    if found:
        return found
    complaint = complaint or broken
    if complaint is not None:
        raise ParseError(complaint, reason="invalid")
    raise ParseError("the text holds no JSON", reason="nothing_found")


def _may_be_json(block: Block) -> bool:
    return block.language.lower() in ("", "json", "jsonc", "json5", "jsonl")


def _in_prose(text: str) -> tuple[list[Found], str | None]:
    """Return the objects and arrays that stand in a text, and what is wrong with the first other.

    A value inside of a value is not found again; one that is broken hides nothing after it.
    """
    found: list[Found] = []
    broken: str | None = None
    position = read = 0
    while (opening := _OPENING.search(text, position)) is not None:
        start = opening.start()
        try:
            value, position = _decoded(text, start)
            found.append(Found(_checked(value, text[start:position]), "prose"))
        except RecursionError:  # and from the next bracket on it would be as deep
            raise ParseError(
                f"what begins with {text[start : start + 20]!r} is {_TOO_DEEP}", reason="invalid"
            ) from None
        except ValueError as error:
            if broken is None and text[start] == "{":
                broken = _complaint(text, start, error)
            position = start + 1
            read += getattr(error, "pos", _NEAR)
        if read > _MOST_READINGS * (len(text) + 1000):
            raise ParseError("too much in the text begins as JSON and is none", reason="invalid")
    if not found and broken is None and (start := text.find("{")) >= 0:
        try:
            _DECODER.raw_decode(text, start)
        except ValueError as error:
            broken = _complaint(text, start, error)
    return found, broken


def _decoded(text: str, start: int) -> tuple[JSONValue, int]:
    """Return the object or array that begins at a place of a text, and where it ends.

    Raises:
        ValueError: there is none; its ``pos`` is about how many characters were gone through.
    """
    near = text[start : start + _NEAR]
    try:
        value, end = _DECODER.raw_decode(near)
        return value, start + end
    except json.JSONDecodeError as error:
        is_cut = error.pos > len(near) - _AT_LEAST or error.msg.startswith("Unterminated")
        if not is_cut or len(near) < _NEAR:
            raise
    return _DECODER.raw_decode(text, start)


def _complaint(text: str, start: int, error: ValueError) -> str:
    return f"what begins with {text[start : start + 20]!r} is not JSON: {error}"


def _refuse_constant(name: str) -> JSONValue:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _checked(value: JSONValue, source: str) -> JSONValue:
    if source.count("[") + source.count("{") > _DEEPEST and _is_too_deep(value):
        raise RecursionError
    try:
        return check_json(value)
    except DefinitionError as error:
        raise ValueError(str(error)) from None


def _is_too_deep(value: JSONValue) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        items = chain.from_iterable(one.values() if type(one) is dict else one for one in level)
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True
