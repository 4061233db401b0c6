r"""One quantity is another only in the same unit; an amount is its number.

Covers: themis.catalog.units_in_text, themis.catalog.metrics.math, themis.catalog.math_in_text
"""

from __future__ import annotations

from typing import cast

import pytest

from themis.catalog.metrics.math import MathEquivalence
from themis.catalog.units_in_text import unit_of
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score


def _score(answer: str, expected: str) -> float:
    case = Case(case_id="c", input="?", expected_output=expected)
    found = MathEquivalence().score(ParsedOutput(value=answer), case, cast(ScoreContext, None))
    assert isinstance(found, Score)
    return found.value


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((f"{sign}10", "10") for sign in "$€£¥₹₩"),
        ("10", "€10"),
        ("-£1,234.50", "-1234.5"),
        ("10 €", "€10"),
        ("€10 or €12", "10 or 12"),
        ("18元", "18"),
        ("5 km", "5 kilometers"),
        ("$5", "5 dollars"),
        ("5 cm", "5"),
        (r"5\text{ cm}", "$5$ cm"),
    ],
)
def test_an_amount_is_its_number_and_a_unit_has_several_names(answer: str, expected: str) -> None:
    assert _score(answer, expected) == 1.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("5 cm", "5 m"),
        (r"5\text{ cm}", r"5\text{ m}"),
        ("x = 5 m", "5 cm"),
        ("5 kg", "5 g"),
        ("$10", "€10"),
        ("5 cents", "5 dollars"),
        ("€10", "11"),
        ("5 h", "5 min"),
    ],
)
def test_the_same_number_of_other_units_is_another_answer(answer: str, expected: str) -> None:
    assert _score(answer, expected) == 0.0


@pytest.mark.parametrize("text", ["2g + 3m", "5", "$5$", "x^2", "5 apples", "3t^2 s", "$x$"])
def test_what_is_no_quantity_has_no_unit(text: str) -> None:
    assert unit_of(text) is None
