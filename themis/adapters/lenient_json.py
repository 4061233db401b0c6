"""Reading the JSON that endpoints send: as it is where it is right, else what can be read of it.

An answer is paid for, and is not thrown away for a byte order mark, for a number that JSON has no
word for, or for a character that was cut in half. What comes out is always plain JSON; what is no
JSON at all is refused. What a user hands in is never read by these rules.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

_BOM = b"\xef\xbb\xbf"


def read_json(raw: bytes) -> Any:
    """Return the JSON value in an answer's bytes.

    NaN and numbers out of range become text, half a character becomes U+FFFD.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return mended(read_piece(raw))


def read_piece(raw: bytes) -> Any:
    """Return the JSON value in one piece of an answer, in which half a character may stand.

    Its other half may begin the next piece: ``mended`` is for the whole.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        said = raw.removeprefix(_BOM).decode("utf-8", "replace")
        try:
            return json.loads(said, parse_constant=str, parse_float=_number)
        except RecursionError:
            raise ValueError("nested too deep") from None


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


def _number(said: str) -> float | str:
    found = float(said)
    return found if math.isfinite(found) else said
