"""JSON inside of prose: the whole text, fenced blocks, or values that stand between words.

The clearest place decides: a text that is JSON, else its fences, else what stands in the prose.
Broken JSON is not repaired.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from themis.catalog.fences import Block, fenced_blocks, without_blocks
from themis.core.base import JSONValue
from themis.core.errors import DefinitionError, ParseError
from themis.core.hashing import check_json

_TOO_DEEP = "nested too deeply to be read"
_OPENING = re.compile(r"[{\[]")


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
        return _checked(_DECODER.decode(text))
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
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        start = opening.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
            found.append(Found(_checked(value), "prose"))
        except RecursionError:  # and from the next bracket on it would be as deep
            raise ParseError(
                f"what begins with {text[start : start + 20]!r} is {_TOO_DEEP}", reason="invalid"
            ) from None
        except ValueError as error:
            if broken is None and text[start] == "{":
                broken = f"what begins with {text[start : start + 20]!r} is not JSON: {error}"
            position = start + 1
    return found, broken


def _refuse_constant(name: str) -> JSONValue:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _checked(value: JSONValue) -> JSONValue:
    try:
        return check_json(value)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
