"""One JSON object, read exactly: as the standard library reads it, and no key twice.

Covers: themis.data.exact_json
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themis.data import exact_json
from themis.data.exact_json import read_object

TEXT = st.text(max_size=12) | st.sampled_from(
    ["", ":", '":"', "\\u003a", "a:b", "\\", "日本", "\x7f"]
)
NUMBERS = (
    st.integers()
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**40, 2**53 + 1])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal with their types: 1, 1.0 and True differ."""
    return repr(one) == repr(other)


@settings(deadline=None)
@given(value=OBJECTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_was_written_is_read(value: dict[str, Any], ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert _same(read_object(text), json.loads(text))


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, bool]:
    """Return an object's text, its keys drawn with repetition, and whether one stands twice."""
    keys = draw(st.lists(st.sampled_from(["a", "b", "a:", "é"]), max_size=4))
    escaped = draw(st.booleans())
    values = [json.dumps(draw(VALUES)) for _ in keys]
    pairs = []
    for key, value in zip(keys, values, strict=True):
        name = json.dumps(key)
        if escaped:
            name = name.replace(":", "\\u003a")
            value = value if "\\" in value else value.replace('"a:b"', '"a\\u003Ab"')
        pairs.append(f"{name}: {value}")
    inner = "{" + ", ".join(pairs) + "}"
    text = draw(st.sampled_from([inner, f'{{"deep": [{{"x": {inner}}}]}}']))
    return text, len(set(keys)) < len(keys)


@settings(max_examples=300, deadline=None)
@given(_texts())
def test_a_key_that_stands_twice_is_always_seen(drawn: tuple[str, bool]) -> None:
    text, is_twice = drawn
    if is_twice:
        with pytest.raises(ValueError, match="stands twice"):
            read_object(text)
    else:
        assert _same(read_object(text), json.loads(text))


def test_ordinary_lines_are_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(text: str) -> Any:
        raise AssertionError(f"read again: {text}")

    monkeypatch.setattr(exact_json, "_read_slowly", slowly)
    value = {"q": "What is 2 + 2? Say: four", "n": [1, -2.5, True, None], "é\n": {"a": '\\ " :'}}
    for ascii_only in (True, False):
        assert read_object(json.dumps(value, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": ', "not JSON: "),
        ("{'a': 1}", "not JSON: "),
        ('{"a": 1} 2', "not JSON: Extra data"),
        ("[1]", "a JSON object is wanted, not a list"),
        ("null", "a JSON object is wanted, not a NoneType"),
        ('{"a": ' * 100_000, "not JSON: "),
    ],
)
def test_what_is_no_object_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_object(text)
