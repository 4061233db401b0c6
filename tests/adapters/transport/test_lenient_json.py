"""An answer that cannot be read in one place is read in all others, and can be stored.

Covers: themis.adapters.transport.lenient_json
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from themis.adapters.transport.lenient_json import DEEPEST, read_json, read_piece
from themis.core.base import JSONValue
from themis.core.hashing import check_json, decode, encode


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth


ODD = {
    "a lone surrogate": (b'"x\\ud800y"', "x\ufffdy"),
    "an integer of 100,000 digits": (b"9" * 100_000, "9" * 100_000),
    "one below zero": (b"-" + b"9" * 100_000, "-" + "9" * 100_000),
    "NaN": (b"NaN", "NaN"),
    "a number out of range": (b"1e999", "1e999"),
    "bytes that are no text": (b'"\xff"', "\ufffd"),
    "a bare control character": (b'"a\x01\nb"', "a\x01\nb"),
    "brackets within a text": (b'"' + b'\\"[{' * 300 + b'"', '"[{' * 300),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("read", [read_json, read_piece])
def test_what_stands_beside_an_odd_place_is_read(odd: str, read: Any) -> None:
    raw, value = ODD[odd]
    found = read(b'{"before": "said", "odd": ' + raw + b', "after": [1, {"b": null}]}')
    assert found["before"] == "said"
    assert found["after"] == [1, {"b": None}]
    if read is read_json:
        assert found["odd"] == value
        assert decode(encode(check_json(found))) == found


@pytest.mark.parametrize("depth", [300, 900, 1_100, 20_000])
def test_what_is_nested_too_deep_is_kept_to_a_depth(depth: int) -> None:
    found = read_json(b'{"before": "]", "odd": ' + nested(depth) + b', "after": {"b": 1}}')
    assert (found["before"], found["after"]) == ("]", {"b": 1})
    assert depth_of(found["odd"]) < DEEPEST + 1
    assert "..." in json.dumps(found["odd"])
    assert decode(encode(check_json(found))) == found


def test_of_two_fields_of_one_name_the_last_counts() -> None:
    assert read_json(b'{"a": 1, "a": NaN, "a": 2}') == {"a": 2}


def test_a_wide_answer_is_as_it_was() -> None:
    value: JSONValue = [{"a": [index]} for index in range(1000)]
    assert read_json(orjson.dumps(value)) == value


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": 1} more', b"[" * 2_000_000, b"\xff\xfe"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(raw)
