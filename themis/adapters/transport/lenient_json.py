"""Reading the JSON that endpoints send: as it is where it is right, else what can be read of it.

An answer is paid for, and is not thrown away for a byte order mark, for a number that JSON has no
word for, for a character that was cut in half, or for one place that nobody could store: what is
nested too deep is "...", an integer of thousands of digits stays text. What comes out is always
plain JSON; what is no JSON at all is refused. What a user hands in is never read by these rules.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

DEEPEST = 100
"""Levels that are kept of JSON that is nested too deep to be stored."""
_BOM = b"\xef\xbb\xbf"
_LARGEST_MENDED = 4 * 2**20  # bytes: it is read a character at a time, while the run waits
_MOST_DIGITS = 4000  # of an integer that Python reads back
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def read_json(raw: bytes) -> Any:
    """Return the JSON value in an answer's bytes.

    NaN and numbers out of range become text, half a character becomes U+FFFD.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return stored_as_it_is(raw)
    except orjson.JSONDecodeError:
        return mended(_read_mended(raw))


def read_piece(raw: bytes) -> Any:
    """Return the JSON value in one piece of an answer, in which half a character may stand.

    Its other half may begin the next piece: ``mended`` is for the whole.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return stored_as_it_is(raw)
    except orjson.JSONDecodeError:
        return _read_mended(raw)


def stored_as_it_is(raw: bytes) -> Any:
    """Return the value of JSON text that is right, and that can be written again.

    Raises:
        orjson.JSONDecodeError: it is not, or is nested too deep.
    """
    value = orjson.loads(raw)
    if raw.count(b"[") + raw.count(b"{") > DEEPEST:  # else it cannot be too deep
        try:
            orjson.dumps(value)
        except TypeError:
            raise orjson.JSONDecodeError("nested too deep", "", 0) from None
    return value


def _read_mended(raw: bytes) -> Any:
    if len(raw) > _LARGEST_MENDED:
        raise ValueError("too large to be mended")
    said = pruned(raw).removeprefix(_BOM).decode(json.detect_encoding(raw), "replace")
    return json.loads(
        said, strict=False, parse_constant=str, parse_float=_number, parse_int=_integer
    )


def pruned(raw: bytes) -> bytes:
    """Return JSON text in which whatever is nested deeper than is kept is the text "..."."""
    kept: list[bytes] = []
    depth = start = 0
    for found in _TOKENS.finditer(raw):
        if found[0] in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(raw[start : found.start()] + b'"..."')
        elif found[0] in b"]}":
            if depth == DEEPEST + 1:
                start = found.end()
            depth -= 1
    return b"".join([*kept, raw[start:]]) if kept else raw


def mended(value: Any) -> Any:
    """Return a JSON value whose texts have no half characters: joined, or else U+FFFD."""
    if isinstance(value, str):
        return mended_text(value)
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended_text(name): mended(item) for name, item in value.items()}
    return value


def mended_text(text: str) -> str:
    """Return a text without half characters: joined, or else U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _integer(said: str) -> int | str:
    return int(said) if len(said) <= _MOST_DIGITS else said


def _number(said: str) -> float | str:
    found = float(said)
    return found if math.isfinite(found) else said
