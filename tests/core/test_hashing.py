"""One canonical form, one digest: equal is what is equal as JSON, and nothing else.

Covers: themis.core.base, themis.core.hashing
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themis.core.errors import DefinitionError
from themis.core.hashing import (
    canonical,
    check_json,
    decode,
    digest,
    digest_parts,
    digest_value,
    encode,
    normal_form,
    normalise,
    text,
)

TEXT = st.one_of(
    st.text(max_size=8),
    st.text(alphabet='\0\n",:{}[]\\|/ é\u0301😀', max_size=6),
    st.sampled_from(
        ["1", "1.0", "true", "null", "[]", "{}", '"', "a\0b", "ı", "İ", "e\u0301", "é"]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.integers(2**63 - 2, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1e300, 5e-324, 1e16, 2.0**53, 0.1]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equality as JSON values: numbers by value, and nothing else across kinds."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(VALUES, VALUES)
@settings(max_examples=400)
def test_two_values_have_one_digest_exactly_if_they_are_equal_as_json(
    left: Any, right: Any
) -> None:
    assert (digest_value("x", left) == digest_value("x", right)) == same(left, right)


@given(VALUES)
@settings(max_examples=300)
def test_what_is_stored_reads_back_as_it_was(value: Any) -> None:
    back = decode(encode(value))
    assert same(back, value)
    assert canonical(back) == canonical(value)
    json.loads(encode(value))


@given(VALUES)
def test_a_value_taken_as_it_is_has_the_form_that_normalising_gives(value: Any) -> None:
    assert canonical(value) == canonical(normalise(value))
    assert same(json.loads(canonical(value)), normalise(value))


@given(VALUES)
def test_checking_returns_the_value_itself(value: Any) -> None:
    assert check_json(value) is value


@given(st.dictionaries(TEXT, SCALARS, min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


@given(st.lists(TEXT, max_size=5), st.lists(TEXT, max_size=5))
def test_lists_of_digests_do_not_run_into_each_other(left: list[str], right: list[str]) -> None:
    keys = [
        digest_parts("key", [digest_value("part", one) for one in side]) for side in (left, right)
    ]
    assert (keys[0] == keys[1]) == (left == right)


def test_numbers_are_one_kind_and_text_another() -> None:
    assert digest_value("x", 4) == digest_value("x", 4.0)
    assert digest_value("x", [4]) == digest_value("x", [4.0])
    assert digest_value("x", "4") != digest_value("x", 4)
    assert digest_value("x", 0.0) == digest_value("x", -0.0) == digest_value("x", 0)
    assert digest_value("x", True) != digest_value("x", 1)
    assert digest_value("x", None) != digest_value("x", "null")
    assert digest_value("x", 2**64) != digest_value("x", 2**64 + 1)
    assert digest_value("x", float(2**80)) == digest_value("x", 2**80)
    assert digest_value("x", 0.1 + 0.2) != digest_value("x", 0.3)


def test_composed_and_decomposed_letters_are_different_text() -> None:
    assert digest_value("x", "é") != digest_value("x", "e\u0301")


def test_keys_are_sorted_by_code_point() -> None:
    assert canonical({"\ue000": 1, "😀": 2, "z": 3, "Z": 4}) == (
        '{"Z":4,"z":3,"\ue000":1,"😀":2}'.encode()
    )
    big = canonical({"\ue000": 2**70, "😀": 2, "z": 3})
    assert big == f'{{"z":3,"\ue000":{2**70},"😀":2}}'.encode()


def test_a_digest_says_its_scheme_and_differs_by_kind() -> None:
    assert digest("a", b"x") != digest("b", b"x")
    assert text(digest_value("x", 1)).startswith("t1:")
    assert len(text(digest_value("x", 1))) == 3 + 32
    with pytest.raises(ValueError, match="16 bytes"):
        digest_parts("key", [b"short"])


def test_digests_are_what_they_always_were() -> None:
    """Identity: a change here changes every run id and belongs into the changelog."""
    assert text(digest_value("run", {"b": [1.0, -0.0, None], "a": "é"})) == GOLDEN
    assert canonical({"b": [1.0, -0.0, None], "a": "é"}) == '{"a":"é","b":[1,0,null]}'.encode()


GOLDEN = "t1:d6a66b9882e2017130d76124d5abbb7f"


class Text(str):
    pass


REFUSED = [
    (math.nan, "value is nan"),
    ({"a": [1, {"b": math.inf}]}, "value.a[1].b is inf"),
    ([0, "\ud83d"], "value[1] holds a lone surrogate"),
    ({"\udc00": 1}, "a key of value holds a lone surrogate"),
    ({1: "a"}, "value has the key 1"),
    ({"a": {None: 1}}, "value.a has the key None"),
    ((1, 2), "make it a list"),
    ({"a": {1, 2}}, "value.a is set"),
    (b"bytes", "decode it to text first"),
    ({"a": Text("x")}, "convert it to the plain type"),
    ({"when": __import__("datetime").datetime(2026, 1, 1)}, "use its isoformat()"),
    ([__import__("numpy").float64(1.5)], "value[0] is numpy.float64"),
    (object(), "value is object"),
]


@pytest.mark.parametrize(("value", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_is_not_json_is_refused_naming_the_place(value: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        check_json(value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(DefinitionError):
        canonical(value)


def test_the_place_is_named_under_the_fields_name() -> None:
    with pytest.raises(DefinitionError, match=r"metadata\.scores\[2\] is nan"):
        check_json({"scores": [1, 2, math.nan]}, "metadata")


def test_values_nested_beyond_reason_are_refused_in_words() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(DefinitionError, match="nested more than"):
        check_json(value)


def test_what_is_nested_too_deeply_has_no_digest_and_is_refused_in_words() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for work in (canonical, normal_form, check_json):
        with pytest.raises(DefinitionError, match="200 levels"):
            work(deep)


def test_text_with_a_lone_surrogate_has_no_digest() -> None:
    with pytest.raises(DefinitionError, match="lone surrogate"):
        digest_value("x", "a\ud800")


def test_a_key_is_made_of_digests_of_one_length_only() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        digest_parts("x", [b"short", digest("x", b"")])
