"""The field's extraction conventions give what the field's harness gives, verdict for verdict.

The reference is the harness's filter and metric, written here from their published definition.

Covers: themis.catalog.parsers.presets, themis.catalog.registry
"""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.growth import assert_linear
from themis.catalog.registry import make
from themis.core.errors import ParseError
from themis.core.models import GenerationResult

NUMBERS = ([",", r"\$", r"(?s).*#### ", r"\.$"], True, False)
LETTERS: tuple[list[str], bool, bool] = ([], True, True)
HARNESS: dict[str, tuple[str, int, tuple[list[str], bool, bool], str]] = {
    "gsm8k_strict": (r"#### (\-?[0-9\.\,]+)", 0, NUMBERS, "1234"),
    "gsm8k_flexible": (r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1, NUMBERS, "1234"),
    "gsm8k_cot_strict": (r"The answer is (\-?[0-9\.\,]+).", 0, NUMBERS, "1234"),
    "mmlu_flan_cot": (r"(?<=answer is )(.*)(?=.)", 0, LETTERS, "(B)"),
    "mmlu_flan_cot_strict": (
        r"((?<=The answer is )(.*)(?=.)|(?<=answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
        r"|(?<=The final answer: )(.*)(?=.))",
        0,
        LETTERS,
        "(B)",
    ),
    "mmlu_generative": (r"^(.*?)(?=\n|$)", 0, LETTERS, "B"),
    "mmlu_pro": (r"answer is \(?([ABCDEFGHIJ])\)?", 0, LETTERS, "B"),
}


def filtered(pattern: str, which: int, answer: str) -> str:
    """The harness's RegexFilter."""
    matches: list[Any] = re.compile(pattern).findall(answer)
    if not matches:
        return "[invalid]"
    match = matches[which]
    if isinstance(match, tuple):
        groups = [group for group in match if group]
        match = groups[0] if groups else "[invalid]"
    return str(match).strip()


def is_right(found: str, right: str, settings: tuple[list[str], bool, bool]) -> bool:
    """The harness's exact_match."""
    patterns, ignore_case, ignore_punctuation = settings
    for pattern in patterns:
        found, right = re.sub(pattern, "", found), re.sub(pattern, "", right)
    if ignore_case:
        found, right = found.lower(), right.lower()
    if ignore_punctuation:
        table = str.maketrans("", "", string.punctuation)
        found, right = found.translate(table), right.translate(table)
    return found == right


SAID = ["#### ", "The answer is ", "answer is ", "The answer: ", "The final answer: "]
FOUND = ["1234", "1,234", "$1,234.", "-1234", "12", "(B)", "B", "b", "(B", "B.", "(A)", "Paris"]
PIECES = st.sampled_from([*SAID, *FOUND, ".", "\n", " ", "é", "x"])


@pytest.mark.parametrize("name", HARNESS)
@given(answer=st.lists(PIECES, min_size=1, max_size=7).map("".join))
def test_a_convention_gives_the_harnesss_verdict(name: str, answer: str) -> None:
    pattern, which, settings, right = HARNESS[name]
    parser, _ = make(f"builtin/{name}", "parser")
    expected = is_right(filtered(pattern, which, answer), right, settings)
    candidate = GenerationResult(candidate_id="c", final_output=answer)
    try:
        value = parser.parse(candidate, None).value
    except ParseError:
        assert not expected
        return
    assert (value == right.strip("()")) == expected


@pytest.mark.parametrize(
    ("name", "answer", "value"),
    [
        ("gsm8k_strict", "so 5 * 3 = 15\n#### 1,234", "1234"),
        ("gsm8k_flexible", "It costs $1,234.", "1234"),
        ("gsm8k_cot_strict", "5 * 3 = 15. The answer is 15.", "15"),
        ("mmlu_flan_cot", "Let's think. The answer is (B).", "B"),
        ("mmlu_flan_cot_strict", "The final answer: (C).", "C"),
        ("mmlu_generative", " D\nbecause", "D"),
        ("mmlu_pro", "The answer is (J).", "J"),
    ],
)
def test_a_convention_reads_what_it_is_for(name: str, answer: str, value: str) -> None:
    parser, _ = make(f"builtin/{name}", "parser")
    candidate = GenerationResult(candidate_id="c", final_output=answer)
    assert parser.parse(candidate, None).value == value
    assert_linear(
        lambda text: parser.parse(GenerationResult(candidate_id="c", final_output=text), None),
        answer,
    )


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("gsm8k_strict", "The answer is 15.", "nothing_found"),
        ("gsm8k_flexible", "fifteen", "nothing_found"),
        ("mmlu_flan_cot", "The answer is Paris.", "invalid"),
        ("mmlu_pro", "(B)", "nothing_found"),
        ("mmlu_pro", "", "nothing_found"),
    ],
)
def test_why_a_convention_reads_nothing_is_said(name: str, answer: str, said: str) -> None:
    parser, _ = make(f"builtin/{name}", "parser")
    with pytest.raises(ParseError) as caught:
        parser.parse(GenerationResult(candidate_id="c", final_output=answer), None)
    assert caught.value.reason == said


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1" * 200_000, "1" * 200_000),
        ("1." * 100_000, ("1." * 100_000)[:-1]),
        ("#### 1 " * 30_000, "1"),
    ],
    ids=["digits", "stops", "marks"],
)
def test_long_answers_are_read_in_time_that_grows_with_their_length(
    answer: str, value: str
) -> None:
    parser, _ = make("builtin/gsm8k_flexible", "parser")
    candidate = GenerationResult(candidate_id="c", final_output=answer)
    assert parser.parse(candidate, None).value == value
