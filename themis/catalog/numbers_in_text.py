r"""Numbers as people and models write them, read without guessing.

Read are signs, thousands separators, decimals, percent, currencies, scientific notation (1.5e-3,
1.5 × 10^3), fractions (3/4, 1 1/2, \frac{3}{4}, ½) and digits of other scripts. What looks like a
number and may be read in more than one way ("3,14", "3-5", "12:30", "2024-05-01") is a candidate
without a value. Digits inside words ("GPT-4", "x2", "1st", "10k") are no numbers.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_WHOLE = (
    r"(?:[0-9]{1,3}(?P<sep>[,'’_\u00a0\u2009\u202f])[0-9]{3}(?:(?P=sep)[0-9]{3})*(?![0-9])|[0-9]+)"
)
_CURRENCY = r"(?:(?:US|C|A)?[$€£¥₹]|(?:USD|EUR|GBP)\s?)"
_UNITS = (
    r"(?:km|cm|mm|kg|mg|g|lbs?|oz|ms|hrs?|mins?|mph|kph|ft|ml|mL|GB|MB|KB|kWh|kW|Hz|USD|EUR|GBP)"
)
_NUMBER = re.compile(
    rf"""
    (?<![\w.,/:])(?<![A-Za-z]-)
    (?:(?<=[0-9]\s)[-+](?=[0-9.])|(?P<sign>(?:[-+]|(?:(?<==\s)|(?<=:\s)|(?<=is\s))[-+]\s)))?
    {_CURRENCY}?\s?(?P<inner>-(?=[0-9.]))?
    (?:
      \\[dt]?frac\s*\{{\s*(?P<top>-?[0-9]+)\s*\}}\s*\{{\s*(?P<bottom>-?[0-9]+)\s*\}}
    | (?:(?P<mixed>[0-9]+)\s)?(?P<over>[0-9]+)\s?/\s?(?P<under>[0-9]+)
    | (?P<base>{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)
      (?:[eE](?P<e>[-+]?[0-9]+)
      | \s?(?:[x×*·⋅]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{{?\s?(?P<ten>[-+]?[0-9]+)\s?\}}?)?
    | 10\s?(?:\^|\*\*)\s?\{{?(?P<power>[-+]?[0-9]+)\}}?
    )
    (?:(?P<percent>\s?%|\s?percent\b)|{_UNITS}(?![\w])|(?![\w]))
    (?![.,:/'’^*-]?[0-9])(?!/)
    """,
    re.VERBOSE,
)
_LOOKS_LIKE_ONE = re.compile(
    r"(?<![\w.,/:])(?<![A-Za-z]-)[-+]?[0-9.](?:[0-9]|[.,:/'’_^*\u00a0\u2009\u202f-](?=[0-9]))*"
)
_LARGEST_EXPONENT = 400


class Number(NamedTuple):
    """A number in a text, or what looks like one."""

    value: int | float | None
    """None where it may be read in more than one way, or is beyond a float."""
    start: int
    end: int
    text: str
    is_percent: bool = False


def numbers_in(text: str, *, percent_is_fraction: bool = True) -> list[Number]:
    """Return the numbers of a text, in order; positions are those of ``plain_digits(text)``.

    Args:
        text: any text.
        percent_is_fraction: whether 50% is 0.5; else it is 50.
    """
    return list(_scan(plain_digits(text), percent_is_fraction))


def plain_digits(text: str) -> str:
    """Return a text with ASCII digits and signs, and LaTeX's dress taken off its numbers."""
    text = text.replace("{,}", ",").replace(r"\$", "$").replace(r"\%", "%").replace("\u2212", "-")
    text = re.sub(r"(?<=[0-9])\\[,!](?=[0-9]{3})", ",", text)
    if text.isascii():
        return text
    text = re.sub(
        r"(?<=10)[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "^" + found[0].translate(_SUPERSCRIPT), text
    )
    return "".join(_plain(char, index, text) for index, char in enumerate(text))


def _plain(char: str, index: int, text: str) -> str:
    if char.isascii():
        return char
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if unicodedata.category(char) == "No" and "⁄" in (parts := unicodedata.normalize("NFKC", char)):
        parts = parts.replace("⁄", "/")
        return f" {parts}" if index and text[index - 1].isdigit() else parts
    return char


def _scan(text: str, percent_is_fraction: bool) -> Iterator[Number]:
    position = 0
    number, looks = _NUMBER.search(text), _with_digits(text, 0)
    while number is not None or looks is not None:
        if number is not None and (looks is None or number.start() <= looks.start()):
            is_percent = number["percent"] is not None
            value = _value(number, is_percent and percent_is_fraction)
            yield Number(value, *number.span(), number[0].strip(), is_percent)
            position = number.end()
        elif looks is not None:
            position = looks.end()
            if text[position : position + 1].isalnum():
                position = _end_of_word(text, position)
            else:
                yield Number(None, *looks.span(), looks[0])
        # What was found further on stands: a text is read once, however many there are.
        if number is not None and number.start() < position:
            number = _NUMBER.search(text, position)
        if looks is not None and looks.start() < position:
            looks = _with_digits(text, position)


def _with_digits(text: str, position: int) -> re.Match[str] | None:
    for found in _LOOKS_LIKE_ONE.finditer(text, position):
        if any(char.isdigit() for char in found[0]):
            return found
    return None


def _end_of_word(text: str, position: int) -> int:
    while position < len(text) and (text[position].isalnum() or text[position] == "_"):
        position += 1
    return position


def _value(found: re.Match[str], as_fraction: bool) -> int | float | None:
    """Return the value of a match; None where a float cannot hold it."""
    negative = (found["sign"] or "").startswith("-") != (found["inner"] is not None)
    exact: Fraction | float
    try:
        if found["top"] is not None:
            exact = Fraction(int(found["top"]), int(found["bottom"]))
        elif found["over"] is not None:
            exact = int(found["mixed"] or 0) + Fraction(int(found["over"]), int(found["under"]))
        elif found["power"] is not None:
            exact = float(f"1e{found['power']}")
        else:
            exact = _decimal(found)
    except (ZeroDivisionError, ValueError):  # int() refuses thousands of digits
        return None
    if as_fraction:
        exact = exact / 100 if isinstance(exact, Fraction) else float(exact) / 100
    if isinstance(exact, Fraction):
        try:
            exact = exact.numerator if exact.denominator == 1 else float(exact)
        except OverflowError:
            return None
    if isinstance(exact, float) and not math.isfinite(exact):
        return None
    return -exact if negative else exact


def _decimal(found: re.Match[str]) -> Fraction | float:
    base = re.sub(r"[^0-9.]", "", found["base"])
    exponent = found["e"] or found["ten"]
    if exponent is not None:
        if abs(int(exponent)) > _LARGEST_EXPONENT:
            raise ValueError("beyond a float")
        number = float(f"{base}e{int(exponent)}")
        if number == 0 and base.strip("0."):
            raise ValueError("less than a float")
        return number
    return float(base) if "." in base else Fraction(int(base))


def whole_number(text: str) -> int | float | None:
    """Return the number that a text is as a whole, dollar signs of math aside; else None."""
    bare = plain_digits(text).strip()
    found = list(_scan(bare, percent_is_fraction=True))
    if len(found) != 1:
        return None
    around = bare[: found[0].start] + bare[found[0].end :]
    return None if around.strip(" $.") else found[0].value
