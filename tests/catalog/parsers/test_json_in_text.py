"""JSON is found in prose and fences, held to a schema, and never repaired or guessed.

Covers: themis.catalog.parsers.json_in_text, themis.catalog.parsers.json_schema,
themis.catalog.parsers.text
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.catalog.parsers import json_in_text
from themis.catalog.parsers.text import Json
from themis.core.contexts import ParseContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.hashing import canonical
from themis.core.models import GenerationResult

OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers()),
    min_size=1,
    max_size=4,
)
SCHEMA = {
    "type": "object",
    "required": ["answer"],
    "properties": {"answer": {"type": "integer"}},
}


@pytest.fixture
def parse(parse_context: ParseContext) -> Any:
    def read(output: Any, **params: Any) -> Any:
        candidate = GenerationResult(candidate_id="c", final_output=output)
        return Json(**params).parse(candidate, parse_context).value

    return read


def reason(parse: Any, output: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ParseError) as caught:
        parse(output, **params)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("  [1, 2]\n", [1, 2]),
        ("42", 42),
        ('"text"', "text"),
        ('Sure! Here it is:\n```json\n{"a": 1}\n```\nAnything else?', {"a": 1}),
        ('Here it is: ```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}```', {"a": 1}),
        ('~~~JSON\n{"a": "```"}\n~~~', {"a": "```"}),
        ('1. First\n    ```json\n    {"a": 1}\n    ```', {"a": 1}),
        ('The answer is {"a": {"b": [1, {"c": "}"}]}}, I think.', {"a": {"b": [1, {"c": "}"}]}}),
        ('Not {this}, but {"a": 1}.', {"a": 1}),
        ('```python\nx = {}\n```\nso {"a": 1}', {"a": 1}),
        ('I say "{" and mean {"a": 1}', {"a": 1}),
        ('{"a": 1} and again {"a": 1.0}', {"a": 1}),
        ("```json\n{bad}\n```\n```json\n[1]\n```", [1]),
        ("[" * 200 + "]" * 200, json.loads("[" * 200 + "]" * 200)),
        ({"a": 1}, {"a": 1}),
        ([1, "x"], [1, "x"]),
    ],
)
def test_json_is_found(parse: Any, text: Any, value: Any) -> None:
    assert canonical(parse(text, expect="any" if value != {"a": 1} else "object")) == canonical(
        value
    )


@given(OBJECTS)
def test_any_object_between_words_is_found_whole(value: dict[str, Any]) -> None:
    from themis.catalog.parsers.json_in_text import json_in

    for text in (f"So: {json.dumps(value)} is it.", f"```json\n{json.dumps(value, indent=1)}\n```"):
        found = json_in(text)
        assert [one.value for one in found] == [value]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no JSON here", "nothing_found"),
        ("", "nothing_found"),
        (None, "nothing_found"),
        ("   ", "nothing_found"),
        ('{"a": 1', "invalid"),
        ('{"a": NaN}', "invalid"),
        ("```json\n{'a': 1}\n```", "invalid"),
        ('{"a": "\\ud800"}', "invalid"),
        ("[" * 100_000, "invalid"),
        ('{"a":' * 50_000, "invalid"),
        ("[" * 300 + "1," * 50_000, "invalid"),
        ('{"' * 50_000, "invalid"),
        ("[" * 201 + "]" * 201, "invalid"),
        ("x " + "[" * 201 + "]" * 201, "invalid"),
        ('{"a": 1} or {"a": 2}', "ambiguous"),
        ('see [1]: {"a": 1}', "ambiguous"),
    ],
)
def test_why_there_is_no_value_is_said(parse: Any, text: Any, said: str) -> None:
    assert reason(parse, text)[0] == said


def test_what_begins_as_json_and_is_none_is_gone_through_so_often_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = 0

    class Counting(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> Any:
            nonlocal read
            try:
                return super().raw_decode(s, idx)
            except json.JSONDecodeError as error:
                read += error.pos
                raise

    monkeypatch.setattr(json_in_text, "_DECODER", Counting())
    for hostile in ("[" * 300 + "1," * 5_000, '{"' * 5_000, '{"a":1 ' * 2_000, "[1 " * 5_000):
        read = 0
        with pytest.raises(ParseError):
            json_in_text.json_in(f"x {hostile}")
        assert read < 50 * len(hostile)


@pytest.mark.parametrize("size", [10, 1_990, 2_000, 5_000])
def test_a_value_is_found_however_long_it_is(parse: Any, size: int) -> None:
    for value in ({"a": "b" * size}, {"a" * size: [1]}, {"a": list(range(size))}):
        assert parse(f'So [1 and {{"x" are none: {json.dumps(value)}.') == value


def test_the_policy_for_several_values_is_the_users(parse: Any) -> None:
    text = '```json\n{"a": 1}\n```\nor rather\n```json\n{"a": 2}\n```'
    assert parse(text, pick="first") == {"a": 1}
    assert parse(text, pick="last") == {"a": 2}
    assert parse('see [1]: {"a": 1}', expect="object") == {"a": 1}
    assert parse('see [1]: {"a": 1}', expect="array") == [1]
    assert reason(parse, "[1]", expect="object") == (
        "invalid",
        "the text holds JSON, and no object among it",
    )


def test_a_schema_passes_over_what_does_not_meet_it(parse: Any) -> None:
    text = 'An example is {"question": 1}. My answer: {"answer": 4}'
    assert parse(text, schema=SCHEMA) == {"answer": 4}
    said = reason(parse, '{"answer": "4"}', schema=SCHEMA)
    assert said == (
        "invalid",
        "the JSON does not meet the schema: '4' is not of type 'integer' (at $.answer)",
    )


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match="schema is no valid JSON Schema"):
        Json(schema={"type": "strin"})
    with pytest.raises(DefinitionError, match="must be a JSON Schema, as an object"):
        Json(schema="{}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schema", "target"),
    [
        ({"$ref": "#/$defs/missing"}, "#/$defs/missing"),
        ({"properties": {"a": {"items": {"$ref": "#/$defs/b"}}}, "$defs": {}}, "#/$defs/b"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "other.json"}}}, "other.json"),
        ({"anyOf": [{"$ref": "#anchor"}]}, "#anchor"),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "items": {"$ref": "#/definitions/a"},
            },
            "#/definitions/a",
        ),
    ],
)
def test_a_schema_whose_references_lead_nowhere_is_refused(schema: Any, target: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(f"'{target}' refers to nothing in it")):
        Json(schema=schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"enum": [{"$ref": "#/nothing"}, 1]},
        {"$id": "http://e.x/r", "$ref": "c#k", "$defs": {"a": {"$id": "c", "$anchor": "k"}}},
    ],
)
def test_a_schema_may_refer_to_what_is_in_it(parse: Any, schema: Any) -> None:
    assert parse("1", schema=schema) == 1


def test_what_a_schema_refers_to_is_never_fetched(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *where: asked.append(where))
    with pytest.raises(Exception, match=r"http://localhost:9/schema"):
        parse("{}", schema={"$ref": "http://localhost:9/schema"})
    assert asked == []
