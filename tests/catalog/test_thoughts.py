"""Thoughts are no part of an answer, whatever parser or judge reads it.

Covers: themis.catalog.thoughts, themis.catalog.parsers.pick
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.growth import assert_linear
from themis.catalog.judged.scales import Scale
from themis.catalog.parsers.numbers import MathAnswer, NumberIn
from themis.catalog.parsers.presets import Gsm8kFlexible, MmluPro
from themis.catalog.parsers.text import ChoiceLetter, CodeText, Json, JsonIdentity, Regex, Text
from themis.catalog.thoughts import without_thoughts
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult

HARMONY = (
    "<|channel|>analysis<|message|>Maybe A.<|end|><|start|>assistant<|channel|>final<|message|>B"
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>The answer is A.</think>\n\nB", "B"),
        ("<thinking>A</thinking>B", "B"),
        ("<reasoning>A</reasoning>B", "B"),
        ("<THINK>A</THINK>B", "B"),
        ("[THINK]A[/THINK]B", "B"),
        ("<|begin_of_thought|>A<|end_of_thought|>B", "B"),
        ("<seed:think>A</seed:think>B", "B"),
        ("The template opened this: A.\n</think>\n\nB", "B"),
        ("<think>a <think> in it</think> A</think>B", "B"),
        ("<think>A</think>C<think>no</think>B", "B"),
        ("B<think>that was right</think>", "B"),
        ("A</think>B<think>that was right</think>", "B"),
        ("B <think>or is it", "B"),
        ("<think>A", ""),
        ("<think>A</think>", ""),
        ("<think>A</think><think>B", ""),
        (HARMONY, "B"),
        (f"{HARMONY}<|return|>", "B"),
        ("<|channel|>analysis<|message|>A", ""),
        ("<|channel|>final<|message|>B<|end|>", "B"),
        ("analysisWe weigh A.assistantfinalB", "B"),
        ('x = text.split("</think>")', 'x = text.split("</think>")'),
        ("Put it in `<think>` tags: B", "Put it in `<think>` tags: B"),
        ("a < b and b > c", "a < b and b > c"),
    ],
)
def test_what_stands_outside_of_thoughts_is_the_answer(text: str, answer: str) -> None:
    assert without_thoughts(text).strip() == answer


READ = [
    (ChoiceLetter(choices=4), "The answer is A.", "B", "B"),
    (NumberIn(), "The answer is 12 * 3 = 36", "37", 37),
    (MathAnswer(), r"\boxed{1}", r"\boxed{x}", "x"),
    (Json(), '{"a": 1}', '{"a": 2}', {"a": 2}),
    (JsonIdentity(), '{"a": 1}', '{"a": 2}', {"a": 2}),
    (Text(), "Hm.", "B", "B"),
    (Regex(pattern=r"\d+"), "1", "2", "2"),
    (CodeText(), "```python\ny = 2\n```", "```python\nx = 1\n```", "x = 1\n"),
]


@pytest.mark.parametrize(("parser", "thought", "said", "value"), READ)
@pytest.mark.parametrize(
    "form", ["<think>{}</think>\n{}", "{}\n</think>\n{}", "<reasoning>{}</reasoning>\n\n{}"]
)
def test_no_parser_reads_a_thought(
    parse_context: ParseContext, parser: Any, thought: str, said: str, value: Any, form: str
) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=form.format(thought, said))
    assert parser.parse(candidate, parse_context).value == value


@pytest.mark.parametrize(("parser", "thought", "said", "value"), READ)
def test_a_thought_that_never_ends_holds_no_answer(
    parse_context: ParseContext, parser: Any, thought: str, said: str, value: Any
) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=f"<think>{thought}\n{said}")
    with pytest.raises(ParseError, match="thoughts and no answer") as caught:
        parser.parse(candidate, parse_context)
    assert caught.value.reason == "nothing_found"


def test_thoughts_are_kept_where_asked_for(parse_context: ParseContext) -> None:
    text = "<think>7</think>8"
    candidate = GenerationResult(candidate_id="c", final_output=text)
    assert Text(thoughts="keep").parse(candidate, parse_context).value == text
    with pytest.raises(ParseError, match="2 numbers"):
        NumberIn(thoughts="keep").parse(candidate, parse_context)


def test_the_field_s_conventions_read_the_output_as_it_is(parse_context: ParseContext) -> None:
    text = "<think>The answer is A.</think>The answer is B."
    candidate = GenerationResult(candidate_id="c", final_output=text)
    assert MmluPro().parse(candidate, parse_context).value == "A"
    assert MmluPro(thoughts="drop").parse(candidate, parse_context).value == "B"
    never = GenerationResult(candidate_id="c", final_output="<think>15")
    assert Gsm8kFlexible().parse(never, parse_context).value == "15"


def test_a_judge_s_thoughts_are_no_verdict() -> None:
    scale = Scale.of("pass_fail")
    said = HARMONY.replace("Maybe A.", "VERDICT: PASS").replace("|>B", "|>VERDICT: FAIL")
    assert scale.read(said).value == "fail"
    twice = "<think>a</think>VERDICT: PASS<think>b</think>VERDICT: FAIL"
    assert scale.read(twice).value == "fail"
    with pytest.raises(ParseError, match="within its reasoning"):
        scale.read("<|channel|>analysis<|message|>VERDICT: PASS")


@pytest.mark.parametrize("text", ["<think>" * 20_000, "</think>a" * 20_000,
    "<think>a</think>" * 10_000, "<|channel|>final<|message|>" * 5_000])  # fmt: skip
def test_long_texts_are_read_in_time_that_grows_with_their_length(text: str) -> None:
    assert_linear(without_thoughts, text)
