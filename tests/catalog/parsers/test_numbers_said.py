"""A declared number is what the answer comes to, in any script, or it is not read.

Covers: themis.catalog.numbers_in_text, themis.catalog.parsers.number_said,
themis.catalog.parsers.numbers
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.said_outputs import number_outputs
from themis.catalog.numbers_in_text import SCALE_SIGNS, SCALES, numbers_in
from themis.catalog.parsers.numbers import NumberIn
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult

SAID: list[tuple[str, float]] = [
    ("The answer is 6 * 7 = 42.", 42),
    ("#### 3 + 4 = 7", 7),
    ("Answer: 16 - 3 - 4 = 9", 9),
    ("\\boxed{6 \\times 7 = 42}", 42),
    ("$2^{10}$", 1024),
    ("\\boxed{1\\frac{1}{2}}", 1.5),
    ("5 million", 5000000),
    ("The answer is –5.", -5),
    ("Answer - 18", 18),
    ("答案是18。", 18),
    ("정답은 18입니다", 18),
    ("A: 18", 18),
    ("The answer is 20 - 5 = 15 apples.", 15),
    ("x = 5", 5),
    ("The answer is x = 5.", 5),
    ("\\boxed{x = 5}", 5),
    ("\\boxed{20 - 5 = 15 \\text{ apples}}", 15),
    ("The answer is 42 = 6 * 7", 42),
    ("The answer is 12 / 4 = 3 each.", 3),
    ("The answer is 20 apples - 5 apples = 15 apples", 15),
    ("The answer is 2 * 3 = 6 = 6", 6),
    ("The answer is $5 \\cdot 4 = 20$.", 20),
    ("The answer is $3 + $4 = $7", 7),
    ("\\boxed{2^{-3}}", 0.125),
    ("2^10", 1024),
    ("2**10", 1024),
    ("5²", 25),
    ("2¹⁰", 1024),
    ("1.5 million", 1500000),
    ("The answer is 3 billion dollars", 3000000000.0),
    ("$5 million", 5000000),
    ("5 thousand", 5000),
    ("10万", 100000),
    ("答案是3亿", 300000000),
    ("답은 5만", 50000),
    ("2.5 lakh", 250000),
    ("1万2千", 12000),
    ("-5", -5),
    ("−5", -5),
    ("‑5", -5),
    ("﹣5", -5),
    ("–5", -5),
    ("The answer is −5", -5),
    ("The answer is ‑5", -5),
    ("The answer is - 5", -5),
    ("The answer is: -5", -5),
    ("答えは11です。", 11),
    ("উত্তর: ১৮", 18),
    ("उत्तर है १८", 18),
    ("الإجابة: ١٨", 18),
    ("답: １８", 18),
    ("คำตอบคือ ๑๘", 18),
    ("উত্তর হল 29টি।", 29),
    ("共18个", 18),
    ("合計18個です", 18),
    ("الإجابة هي ١٬٢٣٤", 1234),
    ("الإجابة هي ٣٫٥", 3.5),
    ("Answer – 18", 18),
    ("Answer: 18 - easy", 18),
    ("**Answer:** **18**", 18),
    ("The answer is **12** dollars.", 12),
    ("45^\\circ", 45),
    ("45°", 45),
    ("The answer is 18 m^2", 18),
    ("The answer is 18 m²", 18),
    ("5 m/s", 5),
    ("9.8 m/s^2", 9.8),
    ("The answer is 18 in 3 days", 18),
    ("The answer is 18 out of 20", 18),
    ("The answer is 15%.", 0.15),
    ("\\boxed{15\\%}", 0.15),
    ("1 1/2", 1.5),
    ("The answer is 1½ cups", 1.5),
    ("2 3/4 hours", 2.75),
    ("-1\\frac{1}{2}", -1.5),
    ("\\boxed{1 \\frac12}", 1.5),
    ("\\frac12", 0.5),
    ("-3/4", -0.75),
    ("The answer is 18! Great.", 18),
    ("A: $18", 18),
    ("The answer is $18.00 per day.", 18),
    ("The final answer is 3 apples, that is 3.", 3),
    ("10^6", 1000000),
    ("10⁶", 1000000),
    ("6.02×10^23", 6.02e23),
    ("The answer is 18 (since 9 * 2 = 18).", 18),
    ("The answer is about 3.14", 3.14),
    ("≈ 3.14", 3.14),
    ("The answer is 3 dozen", 36),
    ("5e3", 5000),
    ("The answer is 7/8 = 0.875", 0.875),
    ("The result is 18 for n = 3", 18),
    ("The answer is 1 000 000", 1000000),
    ("The answer is 50 000", 50000),
    ("The answer is -$5", -5),
    ("The answer is (5)", 5),
    ("The answer is f(3) = 9", 9),
    ("The answer is 9 = f(3)", 9),
    ("5 hundred thousand", 500000),
    ("The answer is 2 dozen eggs", 24),
    ("5 M", 5),
    ("300 K", 300),
]

UNREAD = [
    "The answer is 2 hours 30 minutes",
    "The answer is 3 + 4 = 7 and 2 + 2 = 4",
    "The answer is 5 + 3",
    "The answer is 6 * 7.",
    "\\boxed{2\\sqrt{3}}",
    "\\boxed{3\\pi}",
    "\\boxed{\\sqrt{16}}",
    "\\boxed{x^2}",
    "3 × 2^10",
    "\\boxed{2^{1/2}}",
    "2^x",
    "5 million 200 thousand",
    "3–5",
    "pages 3–5",
    "2 hours 30 minutes",
    "The answer is 5 feet 6 inches",
    "The answer is 2h 30min",
    "The answer is 5'6\"",
    "\\boxed{2\\text{ hours }30\\text{ minutes}}",
    "The answer is 3 dollars and 50 cents",
    "The answer is 1 hour, 30 minutes",
    "第3",
    "18 out of 20",
    "a dozen",
    "The answer is 5 km = 5000 m",
    "The answer is x = 3, y = 5",
    "The answer is x = 3 or x = 5",
    "The answer is 3 and 5",
    "H2O",
    "The answer is 10,5",
    "the answer is 1.234,56",
    "-(5)",
]


@pytest.mark.parametrize("pick", ["only", "last"])
@pytest.mark.parametrize(("text", "value"), SAID)
def test_a_number_is_what_the_answer_comes_to(
    parse_context: ParseContext, text: str, value: float, pick: Any
) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=text)
    assert NumberIn(pick=pick).parse(candidate, parse_context).value == value


@pytest.mark.parametrize("text", UNREAD)
def test_what_may_be_several_numbers_or_none_is_not_read(
    parse_context: ParseContext, text: str
) -> None:
    candidate = GenerationResult(candidate_id="c", final_output=text)
    with pytest.raises(ParseError):
        NumberIn().parse(candidate, parse_context)


def test_two_minus_signs_are_none() -> None:
    assert [one.value for one in numbers_in("-$-5")] == [5]
    assert [one.value for one in numbers_in("-$5, $-5")] == [-5, -5]


@pytest.mark.parametrize(("sign", "factor"), SCALE_SIGNS.items())
def test_a_scale_sign_multiplies(sign: str, factor: int | None) -> None:
    value = None if factor is None else 3 * factor
    assert [one.value for one in numbers_in(f"3{sign}")] == [value]


def test_scales_of_words_multiply_and_what_may_be_two_has_no_value() -> None:
    assert [one.value for one in numbers_in("3 Millionen")] == [3_000_000]
    assert [one.value for one in numbers_in("3 тысячи")] == [3_000]
    assert [one.value for one in numbers_in("3 करोड़")] == [30_000_000]
    assert SCALES["mil"] is None
    assert [one.value for one in numbers_in("3 mil")] == [None]
    assert [one.value for one in numbers_in("5千克")] == [5]
    assert [one.value for one in numbers_in("$5 M")] == [None]
    assert [one.value for one in numbers_in("3亿5000万, 1万2345")] == [350_000_000, 12345]


def test_every_generated_declaration_in_six_languages_is_read(parse_context: ParseContext) -> None:
    for said in number_outputs(1000, seed=5):
        candidate = GenerationResult(candidate_id="c", final_output=said.text)
        assert NumberIn().parse(candidate, parse_context).value == said.answer, said.text
