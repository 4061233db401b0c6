"""What is sent for an input, for every way of writing a prompt: a golden table."""

from __future__ import annotations

from typing import Any

import pytest

from themis.core.errors import DefinitionError
from themis.core.prompts import Example, PromptSpec

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
