"""Bodies by template: how they are filled, what they read, and what of them is identity.

Covers: themis.adapters.http.body_template
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.http.conftest import BODY, MESSAGES, OBJECT, TEXT, Context, sent
from themis.adapters import http
from themis.core.contexts import GenerateContext
from themis.core.errors import (
    DefinitionError,
    ProviderError,
)
from themis.core.models import Case
from themis.core.prompts import Example, PromptSpec

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    ("body", "case", "spec", "expected"),
    [
        ("{{ input }}", TEXT, None, "2+3"),
        ("{{ input }}", OBJECT, None, {"a": 2, "b": [3]}),
        (" {{- input -}} ", OBJECT, None, {"a": 2, "b": [3]}),
        ("{{ input.b[0] }}", OBJECT, None, 3),
        ("{{ input.b[0] + 1 }}", OBJECT, None, 4),
        ("Q: {{ input }}", TEXT, None, "Q: 2+3"),
        ("Q: {{ input }}, {{ seed }}, {{ instructions }}", OBJECT, None,
         'Q: {"a":2,"b":[3]}, 7, null'),
        (["{{ seed }}", "{{ sample_index }}", True, None, 1.5, "plain"], TEXT, None,
         [7, 0, True, None, 1.5, "plain"]),
        ("{{ input }}", TEXT, PromptSpec(prefix="Q:", suffix="A:"), "Q:\n2+3\nA:"),
        ("{{ input }}", TEXT, PromptSpec(instructions="Add."), "Add.\n\n2+3"),
        ({"q": "{{ input }}", "s": "{{ instructions }}"}, TEXT,
         PromptSpec(instructions="Add."), {"q": "2+3", "s": "Add."}),
        ("{{ messages }}", TEXT, PromptSpec(instructions="Add."),
         [{"role": "system", "content": "Add."}, {"role": "user", "content": "2+3"}]),
        ({"m": "{{ messages }}", "s": "{{ instructions }}"}, TEXT,
         PromptSpec(instructions="Add."),
         {"m": [{"role": "user", "content": "2+3"}], "s": "Add."}),
        ("{{ messages }}", MESSAGES, PromptSpec(examples=[Example(input="1+1", output="2")]),
         [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
          {"role": "user", "content": "2+3"}]),
        ("{{ case.metadata.items }} of {{ case.case_id }}", TEXT, None, "4 of case-1"),
        ("{% for x in input.b %}<{{ x }}>{% endfor %}", OBJECT, None, "<3>"),
        ("{{ case.expected_output }}", TEXT, None, "5"),
    ],
)  # fmt: skip
def test_a_body_is_filled(
    context: Context, body: Any, case: Case, spec: PromptSpec | None, expected: Any
) -> None:
    assert sent(body, case, context(prompt_spec=spec)) == expected


@given(st.text())
def test_a_text_in_a_case_is_never_a_template_or_a_reference(text: str) -> None:
    ctx = GenerateContext(
        run_id=None, case_id=None, dataset_id=None, case_key=None, seed=1,  # type: ignore[arg-type]
    )  # fmt: skip
    for said in (text, "env:HOME", "{{ seed }}"):
        case = Case.model_construct(case_id="c", input=said, expected_output=None, metadata={})
        assert sent({"q": "{{ input }}"}, case, ctx) == {"q": said}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abcd"), inner),
    max_leaves=6,
)


@given(PLAIN)
def test_a_body_without_templates_is_sent_as_it_is(body: Any) -> None:
    ctx = GenerateContext(
        run_id=None, case_id=None, dataset_id=None, case_key=None, seed=1,  # type: ignore[arg-type]
    )  # fmt: skip
    assert sent(body, TEXT, ctx) == body


TWICE = (
    Case(case_id="1", input={"b": 1, "a": [{"d": 2.0, "c": 0}]}, expected_output={"y": 1, "x": 2},
         metadata={"m": {"z": 1.0, "k": 2}}),
    Case(case_id="1", input={"a": [{"c": 0, "d": 2}], "b": 1.0}, expected_output={"x": 2, "y": 1},
         metadata={"m": {"k": 2, "z": 1}}),
)  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "{{ input }}",
        "Q: {{ input }}",
        {"messages": "{{ messages }}"},
        {"all": "{{ case }}"},
        "{{ case.expected_output }} {{ case.metadata.m }} {{ case.input.items() | list }}",
        {"z": "{{ input.a }}", "each": "{% for key in input %}{{ key }}{% endfor %}"},
    ],
)
@pytest.mark.parametrize("builder", [None, lambda case: {"text": json.dumps(case.input), "a": 1.0}])
def test_cases_of_one_key_are_one_request(body: Any, builder: Any, context: Context) -> None:
    made = http("http://localhost/x", body=body, answer=".", input_builder=builder)
    one, other = (json.dumps(made.request(case, context())) for case in TWICE)
    assert one == other


def _schema(*names: str) -> Any:
    return {
        "schema": {"properties": {name: {"type": "string"} for name in names}},
        "n": 1,
        "q": "?",
    }


def test_the_order_of_a_schema_is_kept_and_is_identity(context: Context) -> None:
    made = [http("http://h/x", body=_schema(*names), answer=".") for names in ("ab", "ba")]
    bodies = [one.request(TEXT, context())["body"] for one in made]
    assert [list(body["schema"]["properties"]) for body in bodies] == [["a", "b"], ["b", "a"]]
    assert made[0].fingerprint() != made[1].fingerprint()


def test_what_is_no_order_of_meaning_is_no_identity(context: Context) -> None:
    one = http("http://h/x", body=_schema("a"), answer=".")
    other = http("http://h/x", body={**dict(reversed(_schema("a").items())), "n": 1.0}, answer=".")
    assert one.fingerprint() == other.fingerprint()
    assert json.dumps(one.request(TEXT, context())) == json.dumps(other.request(TEXT, context()))


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ("{{ input }}", {"input"}),
        ("{{ messages }}", {"input"}),
        ("{{ case.metadata.topic }}", {"metadata"}),
        ("{{ case['metadata'] }} {{ input }}", {"metadata", "input"}),
        ("{{ case.case_id }}", set()),
        ("{{ case }}", {"input", "expected_output", "metadata"}),
        ("{{ case[seed] }}", {"input", "expected_output", "metadata"}),
        ({"a": "{{ case.expected_output }}", "b": ["{{ seed }}"]}, {"expected_output"}),
    ],
)
def test_what_the_body_names_is_what_is_read(body: Any, reads: set[str]) -> None:
    assert http("http://localhost/x", body=body, answer=".").reads == reads


def test_a_cap_that_is_written_in_the_body_itself_counts() -> None:
    body = {**BODY, "limit": 9}
    assert http("http://host/x", body=body, answer=".", max_output_tokens=9).max_output_tokens == 9


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{{ input.nothing }}", "has no attribute 'nothing'"),
        ("{{ input | int }}{{ 1 // 0 }}", "body cannot be filled: ZeroDivisionError"),
        ("{{ input.a }}", "no attribute 'a'"),
        ("{{ input.upper }}", "not a JSON value"),
        ("{{ input.__class__ }}", "unsafe"),
    ],
)
def test_a_template_that_a_case_cannot_fill_fails_that_case_in_one_line(
    context: Context, body: str, said: str
) -> None:
    with pytest.raises(DefinitionError, match=said) as caught:
        sent(body, TEXT, context())
    assert "\n" not in str(caught.value)


async def test_a_prompt_spec_that_has_no_place_in_the_body_stops_the_run(context: Context) -> None:
    generator = http("http://localhost:1/x", body={"q": "{{ case.input }}"}, answer=".")
    with pytest.raises(ProviderError, match="the prompt spec has no place") as caught:
        await generator.generate(TEXT, context(prompt_spec=PromptSpec(prefix="Q:")))
    assert caught.value.fatal
