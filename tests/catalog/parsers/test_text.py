"""The parsers json_identity and text: which value they give, and which text they refuse.

Covers: themis.catalog.parsers, themis.catalog.parsers.text
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.catalog.parsers.text import JsonIdentity, Text
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def results(*outputs: Any) -> list[GenerationResult]:
    return [
        GenerationResult(candidate_id=f"c{index}", final_output=output)
        for index, output in enumerate(outputs)
    ]


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_json_identity_gives_a_value_as_it_is(value: Any) -> None:
    parsed = JsonIdentity().parse(results(value)[0], None)  # type: ignore[arg-type]
    assert parsed.value == value


@pytest.mark.parametrize(
    ("text", "value"), [('{"answer": "4"}', {"answer": "4"}), (" 4 ", 4), ('"x"', "x")]
)
def test_json_identity_reads_json_text(parse_context: ParseContext, text: str, value: Any) -> None:
    assert JsonIdentity().parse(results(text)[0], parse_context).value == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [("four", "invalid"), ("", "nothing_found"), ("NaN", "invalid"), ("1e999", "invalid"),
     ("{", "invalid"), ("[" * 100_000, "invalid"), ('"\\ud800"', "invalid")],
)  # fmt: skip
def test_json_identity_refuses_other_text(
    parse_context: ParseContext, text: str, reason: str
) -> None:
    with pytest.raises(ParseError) as caught:
        JsonIdentity().parse(results(text)[0], parse_context)
    assert caught.value.reason == reason


def test_text_is_stripped_and_other_values_become_json_text(parse_context: ParseContext) -> None:
    outputs = [" four \n", {"answer": 4}, 4]
    values = [Text().parse(one, parse_context).value for one in results(*outputs)]
    assert values == ["four", '{"answer":4}', "4"]


@pytest.mark.parametrize("output", ["", " \n", None])
def test_no_text_is_nothing_found(parse_context: ParseContext, output: Any) -> None:
    with pytest.raises(ParseError) as caught:
        Text().parse(results(output)[0], parse_context)
    assert caught.value.reason == "nothing_found"
