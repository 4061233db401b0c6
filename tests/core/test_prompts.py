"""What is sent for an input, for every way of writing a prompt: a golden table.

Covers: themis.core.prompts
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.core.errors import DefinitionError
from themis.core.hashing import canonical
from themis.core.prompts import Example, PromptSpec, as_text, is_messages

SAY = "2+2?"
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2+2?"},
]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]
ASK = {"question": "2+2?", "n": 4}
EXAMPLE = [{"input": "1+1?", "output": 2}]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


SYSTEM, EARLIER = TALK[0], TALK[1:3]
TABLE: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("nothing, text", {}, SAY, SAY),
    ("nothing, messages", {}, TALK, TALK),
    ("nothing, object", {}, ASK, ASK),
    ("nothing, number", {}, 7, 7),
    ("instructions go apart", {"instructions": "Be good."}, SAY, SAY),
    ("prefix, text", {"prefix": "Q:"}, SAY, "Q:\n2+2?"),
    ("prefix that ends in a blank", {"prefix": "Q: "}, SAY, "Q: 2+2?"),
    ("suffix, text", {"suffix": "A:"}, SAY, "2+2?\nA:"),
    ("suffix that begins with a line", {"suffix": "\n\nA:"}, SAY, "2+2?\n\nA:"),
    ("both, text", {"prefix": "Q:", "suffix": "A:"}, SAY, "Q:\n2+2?\nA:"),
    ("both, number", {"prefix": "Q:", "suffix": "A:"}, 7, "Q:\n7\nA:"),
    ("both, null", {"prefix": "Q:"}, None, "Q:\nnull"),
    ("both, object", {"prefix": "Q:"}, {"a": [1, "é"]}, 'Q:\n{"a":[1,"é"]}'),
    (
        "both, messages",
        {"prefix": "Q:", "suffix": "A:"},
        TALK,
        [SYSTEM, *EARLIER, user("Q:\n2+2?\nA:")],
    ),
    (
        "both, messages of parts",
        {"prefix": "Q: ", "suffix": "A:"},
        PARTS,
        [
            user(
                [
                    {"type": "text", "text": "Q: "},
                    {"type": "text", "text": "2+2?"},
                    {"type": "text", "text": "A:"},
                ]
            )
        ],
    ),
    ("messages without a user", {"prefix": "Q:"}, [SYSTEM], [SYSTEM, user("Q:")]),
    ("a block of text", {"blocks": [{"text": "Know this."}]}, SAY, "Know this.\n\n2+2?"),
    (
        "titled blocks",
        {"blocks": [{"title": "Rules", "text": "Be kind."}, {"title": "Empty"}]},
        SAY,
        "## Rules\nBe kind.\n\n## Empty\n\n2+2?",
    ),
    ("a block of data", {"blocks": [{"k": [1, 2]}]}, SAY, '{"k":[1,2]}\n\n2+2?'),
    (
        "prefix, block, suffix",
        {"prefix": "P", "blocks": [{"text": "B"}], "suffix": "S"},
        SAY,
        "P\nB\n\n2+2?\nS",
    ),
    ("examples as turns", {"examples": EXAMPLE}, SAY, [user("1+1?"), said("2"), user(SAY)]),
    (
        "examples as turns, with a prefix",
        {"examples": EXAMPLE, "prefix": "Q:"},
        SAY,
        [user("1+1?"), said("2"), user("Q:\n2+2?")],
    ),
    (
        "examples as turns, messages",
        {"examples": EXAMPLE},
        TALK,
        [SYSTEM, user("1+1?"), said("2"), *TALK[1:]],
    ),
    (
        "examples as text",
        {"examples": EXAMPLE, "examples_as": "text", "prefix": "P"},
        SAY,
        "P\n1+1?\n2\n\n2+2?",
    ),
    (
        "examples as text, messages",
        {"examples": EXAMPLE, "examples_as": "text"},
        TALK,
        [SYSTEM, *EARLIER, user("1+1?\n2\n\n2+2?")],
    ),
    (
        "an example that is the case itself is left out",
        {"examples": [*EXAMPLE, {"input": SAY, "output": 4}]},
        SAY,
        [user("1+1?"), said("2"), user(SAY)],
    ),
    (
        "the case alone as example leaves the input as it is",
        {"examples": [{"input": {"n": 4.0, "question": SAY}, "output": 4}]},
        ASK,
        ASK,
    ),
    ("template, text", {"template": "Solve {{ input }}"}, SAY, "Solve 2+2?"),
    ("template, object", {"template": "{{ question }} ({{ input.n }})"}, ASK, "2+2? (4)"),
    ("template, metadata", {"template": "{{ input }} {{ metadata.topic }}"}, SAY, "2+2? sums"),
    (
        "template keeps its last line",
        {"template": "{{ input }}\n", "suffix": "A:"},
        SAY,
        "2+2?\nA:",
    ),
    ("template keeps its own last line", {"template": "{{ input }}\n"}, SAY, "2+2?\n"),
    ("white space before a suffix", {"suffix": " A:"}, SAY, "2+2? A:"),
    ("white space after a prefix", {"prefix": "Q: "}, SAY, "Q: 2+2?"),
    (
        "examples come after what a developer says",
        {"examples": EXAMPLE},
        [{"role": "developer", "content": "Be brief."}, user(SAY)],
        [{"role": "developer", "content": "Be brief."}, user("1+1?"), said("2"), user(SAY)],
    ),
    (
        "a talk without a user's turn gets one",
        {"prefix": "Go on."},
        [SYSTEM],
        [SYSTEM, user("Go on.")],
    ),
    ("template escapes nothing", {"template": "<{{ input }}>"}, "a<b", "<a<b>"),
    (
        "template and examples",
        {"template": "Q {{ input }}", "examples": EXAMPLE},
        SAY,
        [user("Q 1+1?"), said("2"), user("Q 2+2?")],
    ),
    (
        "template, prefix and suffix",
        {"template": "T {{ input }}", "prefix": "P", "suffix": "S"},
        SAY,
        "P\nT 2+2?\nS",
    ),
]


@pytest.mark.parametrize(
    ("spec", "given", "sent"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_an_input_is_sent_as_the_table_says(spec: dict[str, Any], given: Any, sent: Any) -> None:
    made = PromptSpec(**spec)
    assert made.render_input(given, metadata={"topic": "sums"}) == sent


def test_rendering_changes_nothing_it_was_given() -> None:
    given = [dict(message) for message in TALK]
    PromptSpec(prefix="P", suffix="S", examples=EXAMPLE).render_input(given)
    assert given == TALK


@pytest.mark.parametrize(
    ("template", "named"),
    [("{{ topic }}", "topic"), ("{{ input.missing }}", "missing"), ("{{ metadata.x }}", "x")],
)
def test_a_field_that_is_missing_is_named(template: str, named: str) -> None:
    with pytest.raises(DefinitionError, match=named) as refused:
        PromptSpec(template=template).render_input({"question": 1})
    assert refused.value.field == "template"


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ input + 1 }}", "{{ input.x.y.z }}"])
def test_a_template_that_cannot_be_filled_is_refused_as_such(template: str) -> None:
    with pytest.raises(DefinitionError, match="template"):
        PromptSpec(template=template).render_input("text")


@pytest.mark.parametrize("template", ["{{ input", "{% for %}", "{{ }}"])
def test_a_template_that_is_none_is_refused_when_it_is_written(template: str) -> None:
    with pytest.raises(DefinitionError, match="template"):
        PromptSpec(template=template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ input.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_a_template_stays_in_its_sandbox(template: str) -> None:
    with pytest.raises(DefinitionError):
        PromptSpec(template=template).render_input("x")


def test_an_empty_spec_knows_that_it_is_and_who_reads_metadata() -> None:
    assert PromptSpec().is_empty()
    assert not PromptSpec(prefix="x").is_empty()
    assert PromptSpec(template="{{ metadata.a }}").uses_metadata()
    assert not PromptSpec(template="{{ input }}").uses_metadata()
    assert PromptSpec(examples=[Example(input=1, output=2)]) == PromptSpec(
        examples=[{"input": 1, "output": 2}]
    )


def test_an_example_with_a_wrong_field_is_refused_naming_it() -> None:
    with pytest.raises(DefinitionError, match="outpt"):
        PromptSpec(examples=[{"input": 1, "outpt": 2}])


# ── equal identity, equal prompt ──────────────────────────────────────────────────────────────────

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def rewritten(value: Any) -> Any:
    """Return a value of the same identity, written another way."""
    if isinstance(value, dict):
        return {key: rewritten(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [rewritten(item) for item in value]
    if type(value) is int and float(value) == value:
        return float(value)
    if type(value) is float and value.is_integer():
        return int(value)
    return value


@given(value=values, metadata=st.dictionaries(st.text(max_size=3), values, max_size=3))
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"prefix": "Q:"},
        {"template": "{{ input }} of {{ metadata }}"},
        {"template": "{% for key in input or () %}{{ key }},{% endfor %}", "only": (dict, list)},
        {"examples": [{"input": 1, "output": 2}], "examples_as": "text"},
    ],
)
def test_what_has_one_key_is_one_prompt_however_it_is_written(
    spec: dict[str, Any], value: Any, metadata: dict[str, Any]
) -> None:
    only = spec.get("only", object)
    if not isinstance(value, only):
        return
    prompt = PromptSpec(**{name: part for name, part in spec.items() if name != "only"})
    other = rewritten(value)
    assert canonical(value) == canonical(other)
    sent = prompt.render_input(value, metadata=metadata)
    again = prompt.render_input(other, metadata=rewritten(metadata))
    assert json.dumps(sent) == json.dumps(again)  # the order of keys included
    assert as_text(value) == as_text(other)


@given(value=values)
def test_the_material_of_a_spec_is_one_prompt_however_it_is_written(value: Any) -> None:
    def sent(part: Any) -> str:
        spec = PromptSpec(
            blocks=[{"title": part, "more": part}, {"text": part}],
            examples=[{"input": part, "output": part}],
            template="Q: {{ input }}",
        )
        return json.dumps(spec.render_input("2+2"))

    assert sent(value) == sent(rewritten(value))


def test_an_order_that_matters_is_written_as_text() -> None:
    text = '{"question": "q", "answers": [1.0]}'
    assert PromptSpec(prefix="Q:").render_input(text) == f"Q:\n{text}"
    assert as_text({"question": "q", "answers": [1.0]}) == '{"answers":[1],"question":"q"}'


def test_empty_texts_are_none() -> None:
    spec = PromptSpec(instructions="", prefix="", suffix="")
    assert spec == PromptSpec()
    assert spec.is_empty()


def test_only_an_assistants_message_may_be_without_content() -> None:
    calls = {"tool_calls": [{"id": "1"}]}
    assert is_messages([{"role": "assistant", **calls}])
    assert not is_messages([{"role": "user", **calls}])
    assert not is_messages([{"role": "assistant"}])
