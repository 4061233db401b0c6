"""Numbers and mathematical answers are read as they are written, and never guessed.

Covers: themis.catalog.numbers_in_text, themis.catalog.parsers,
themis.catalog.parsers.answers_in_text, themis.catalog.parsers.numbers, themis.catalog.parsers.pick
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.growth import assert_linear
from themis.catalog.numbers_in_text import numbers_in, whole_number
from themis.catalog.parsers.answers_in_text import boxed, declared_answers
from themis.catalog.parsers.numbers import MathAnswer, NumberIn
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult


@pytest.fixture
def parse(parse_context: ParseContext) -> Any:
    def read(parser: Any, output: Any) -> Any:
        candidate = GenerationResult(candidate_id="c", final_output=output)
        return parser.parse(candidate, parse_context)

    return read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("-42", -42),
        ("−7", -7),
        ("+5", 5),
        ("3.0", 3.0),
        (".5", 0.5),
        ("007", 7),
        ("1,234", 1234),
        ("1,234,567.89", 1234567.89),
        ("1\u202f234", 1234),
        ("1'234'567", 1234567),
        ("1{,}000", 1000),
        ("$1,234.50", 1234.5),
        ("-$5", -5),
        ("$-5", -5),
        ("€5", 5),
        ("USD 5", 5),
        ("5 EUR", 5),
        ("50%", 0.5),
        ("50\\%", 0.5),
        ("12.5 percent", 0.125),
        ("3/4", 0.75),
        ("1 1/2", 1.5),
        ("½", 0.5),
        ("1½", 1.5),
        ("\\frac{3}{4}", 0.75),
        ("-\\dfrac{3}{4}", -0.75),
        ("1.5e-3", 0.0015),
        ("1.5 × 10^3", 1500),
        ("1.5\\times10^{-3}", 0.0015),
        ("2×10⁻³", 0.002),
        ("10^6", 1_000_000),
        ("٤٢", 42),
        ("４２", 42),
        ("5km", 5),
        ("x = - 5", -5),
        ("I have 3 apples.", 3),
        ("42, as I said: 42", 42),
        ("The answer is 42 apples, 6 more than yesterday.", 42),
        ("The answer is 42 and it took 3 steps.", 42),
        ("The answer is 3/4, or 0.75.", 0.75),
        ("The answer is 1.4142 or about 1.41.", 1.4142),
        ("The answer is 8, not 7.", 8),
        ("The answer is 3 or 4. Checking: the answer is 3.", 3),
        ("GPT-4 says 17", 17),
        ("The 1st of all is 5", 5),
        ("2 + 2 = 4, so the answer is 4.", 4),
        ("The answer is 42 apples, 6 more than before", 42),
        ("First 3, then 4.\n#### 7", 7),
        ("3 + 4 = \\boxed{7}", 7),
        ("The answer is $1,234.", 1234),
        ("The final answer is: $\\frac{1}{2}$", 0.5),
        (42, 42),
        (1.5, 1.5),
        ({"answer": 4}, 4),
    ],
)
def test_a_number_is_read(parse: Any, text: Any, value: float) -> None:
    assert parse(NumberIn(), text).value == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing_found"),
        (None, "nothing_found"),
        ("none", "nothing_found"),
        ("GPT-4", "nothing_found"),
        ("x2", "nothing_found"),
        ("10k", "nothing_found"),
        ("3,14", "ambiguous"),
        ("1234,567", "ambiguous"),
        ("3-5", "ambiguous"),
        ("12:30", "ambiguous"),
        ("2024-05-01", "ambiguous"),
        ("5/6/2024", "ambiguous"),
        ("1.2.3", "ambiguous"),
        ("1e999", "ambiguous"),
        ("1/0", "ambiguous"),
        ("3 or 4", "ambiguous"),
        ("The answer is 3 or 4.", "ambiguous"),
        ("The answer is 3, or maybe 4.", "ambiguous"),
        ("The answer is 3 apples and 4 pears.", "ambiguous"),
        ("The final answer: $3$ (or $4$)", "ambiguous"),
        ("#### 12 to 15", "ambiguous"),
        (r"\boxed{3 or 4}", "ambiguous"),
        ("The answer is 3. No, the answer is 4.", "ambiguous"),
        ("4 - 2", "ambiguous"),
        ("9" * 5000, "ambiguous"),
    ],
)
def test_why_there_is_no_number_is_said(parse: Any, text: Any, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(NumberIn(), text)
    assert caught.value.reason == said


def test_which_of_several_numbers_and_what_percent_means_are_the_users_to_say(parse: Any) -> None:
    assert parse(NumberIn(pick="first"), "3 or 4").value == 3
    assert parse(NumberIn(pick="last"), "3 or 4").value == 4
    assert parse(NumberIn(percent="number"), "50%").value == 50
    assert parse(NumberIn(), "50%").metadata == {"rule": "whole", "text": "50%", "percent": True}


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_every_integer_is_read_with_and_without_separators(number: int) -> None:
    for text in (
        str(number),
        f"{number:,}",
        f"so it is {number:_}",
        f"${number}$",
        f"#### {number}",
    ):
        assert [one.value for one in numbers_in(text)] == [number]
        assert whole_number(f" {number:,} ") == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_as_python_writes_it(number: float) -> None:
    assert [one.value for one in numbers_in(repr(number))] == [number]


@given(st.integers(-999, 999), st.integers(1, 999))
def test_every_fraction_is_read_in_both_forms(top: int, bottom: int) -> None:
    sign, size = ("-" if top < 0 else ""), abs(top)
    for text in (
        f"{top}/{bottom}",
        f"{sign}\\frac{{{size}}}{{{bottom}}}",
        f"\\frac{{{top}}}{{{bottom}}}",
    ):
        assert [one.value for one in numbers_in(text)] == [top / bottom]


@given(st.text())
def test_any_text_is_read_or_has_no_number(text: str) -> None:
    for one in numbers_in(text):
        assert one.value is None or isinstance(one.value, (int, float))


@pytest.mark.parametrize(
    "text",
    [
        "1st " * 50_000,
        "9" * 200_000 + "k",
        "1," * 100_000,
        "- " * 100_000,
        "1 " * 50_000,
        "$" * 100_000,
        "1/2/" * 50_000,
        "1.2.3 " * 30_000,
        "the answer is " * 20_000,
        "\\boxed{" * 20_000,
        "\\boxed " * 30_000,
        "<answer>" * 30_000,
        "####" * 50_000,
    ],
    ids=lambda text: text[:12],
)
def test_long_texts_are_read_in_time_that_grows_with_their_length(text: str) -> None:
    def declared(text: str) -> None:
        with suppress(ParseError):  # a box that is never closed
            declared_answers(text)

    assert_linear(numbers_in, text)
    assert_linear(declared, text)


# ── math_answer ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value", "rule"),
    [
        (r"so it is \boxed{\frac{1}{2}}.", r"\frac{1}{2}", "boxed"),
        (r"\boxed{\frac{1}{\sqrt{1+\frac{1}{x}}}}", r"\frac{1}{\sqrt{1+\frac{1}{x}}}", "boxed"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "boxed"),
        (r"first \boxed{1}, then \boxed{2}", "2", "boxed"),
        (r"$\boxed{42}$ is the answer; the answer is 7", "42", "boxed"),
        (r"\fbox{3}", "3", "boxed"),
        (r"\boxed 5$", "5", "boxed"),
        (r"\boxed{ $x$ }", "x", "boxed"),
        ("Some steps.\n#### 1,234", "1,234", "final"),
        ("The final answer is $x=5$. I hope it is correct.", "x=5", "final"),
        ("Final Answer: The final answer is (3, 4). I hope it is correct.", "(3, 4)", "final"),
        ("<answer>7</answer>", "7", "final"),
        ("The answer is 3. But no: the final answer is 4.", "4", "final"),
        ("The answer is 42.", "42", "said"),
        ("The answer is **12** dollars.", "12", "said"),
        (r"The answer is \(\sqrt{2}\).", r"\sqrt{2}", "said"),
        (r"The answer is 2\sqrt{3}.", r"2\sqrt{3}", "said"),
        ("The answer to 2+2 is 4.", "4", "said"),
        ("Answer: 3.14", "3.14", "said"),
        ("The answer is 3. The answer is 3.", "3", "said"),
        (r"The answer is $\frac{3}{4}$ or 0.75.", r"\frac{3}{4}", "said"),
        (r"The answer is $\sqrt{2}$, or about 1.41.", r"\sqrt{2}", "said"),
        ("The answer is 3, 4", "3, 4", "said"),
        ("The answer is 42 and it took 3 steps.", "42", "said"),
        ("##### A heading\n#### 42", "42", "final"),
        ("<answer>41<answer>42</answer>", "42", "final"),
        (r"So \boxed 5 and \boxed 6", "6", "boxed"),
        ("the answer is x = 5", "x = 5", "said"),
        (r"\frac{1}{2}", r"\frac{1}{2}", "whole"),
        ("$x^2 + 1$", "x^2 + 1", "whole"),
        (" 42 ", "42", "whole"),
        ("(1, 2)", "(1, 2)", "whole"),
        (42, "42", "whole"),
        ("1, 2, 3", "1, 2, 3", "whole"),
        ("2πr", "2πr", "whole"),
        ("xy", "xy", "whole"),
        (r"$\emptyset$", r"\emptyset", "whole"),
        (r"$\begin{pmatrix}1\\2\end{pmatrix}$", r"\begin{pmatrix}1\\2\end{pmatrix}", "whole"),
        (r"\[\begin{bmatrix}1 & 2\end{bmatrix}\]", r"\begin{bmatrix}1 & 2\end{bmatrix}", "whole"),
        ("The answer is 20 - 5 = 15 apples.", "15", "said"),
        ("The answer is 3 * 4 = 12 eggs", "12", "said"),
        (r"The roots are $\boxed{3}$ and $\boxed{5}$.", "3, 5", "boxed"),
        (r"$x = \boxed{3}$ or $x = \boxed{5}$", "3, 5", "boxed"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "1, 2, 3", "boxed"),
        (r"\boxed{1}. No: \boxed{2}, \boxed{3}", "2, 3", "boxed"),
    ],
)
def test_a_mathematical_answer_is_read(parse: Any, text: Any, value: str, rule: str) -> None:
    parsed = parse(MathAnswer(), text)
    assert (parsed.value, parsed.metadata["rule"]) == (value, rule)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing_found"),
        ("I do not know.", "nothing_found"),
        ("We get 3 and then 4 apples", "nothing_found"),
        ("The answer is 3 or 4.", "ambiguous"),
        ("The answer is $3$ or $4$.", "ambiguous"),
        ("The answer is $x=3$ or $x=4$.", "ambiguous"),
        ("The answer is $x^2$ or $y^2$.", "ambiguous"),
        ("The answer is 3, 4 and 5.", "ambiguous"),
        ("$1$, $2$", "ambiguous"),
        ("The answer is a tough one", "nothing_found"),
        ("The answer is not 5", "nothing_found"),
        ("If the answer is 5, pigs fly", "nothing_found"),
        (r"\boxed{\frac{1}{2}", "invalid"),
        (r"\boxed{}", "invalid"),
        ("The answer is 3. Wait, the answer is 4.", "ambiguous"),
        ("Я не знаю.", "nothing_found"),
        ("我不知道。", "nothing_found"),
        ("لا أعرف", "nothing_found"),
        ("Δεν ξέρω", "nothing_found"),
    ],
)
def test_why_there_is_no_answer_is_said(parse: Any, text: str, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(MathAnswer(), text)
    assert caught.value.reason == said


def test_the_last_number_is_taken_only_where_asked_for(parse: Any) -> None:
    text = "We get 3 and then 1,234 apples."
    parsed = parse(MathAnswer(fallback="last_number"), text)
    assert (parsed.value, parsed.metadata["rule"]) == ("1,234", "last_number")
    with pytest.raises(ParseError):
        parse(MathAnswer(), text)
    with pytest.raises(ParseError, match="no mathematical answer"):
        parse(MathAnswer(fallback="last_number"), "no number at all")


BRACED = st.recursive(
    st.text("ab1+ ", max_size=3),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}"),
    max_leaves=8,
)


@given(st.lists(BRACED, max_size=4).map("".join), st.text("ab $", max_size=5))
def test_boxes_are_read_however_deep_their_braces(content: str, around: str) -> None:
    text = f"{around}\\boxed{{{content}}}{around}"
    assert boxed(text) == [content.strip()]
