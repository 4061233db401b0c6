r"""Numbers as people and models write them, read without guessing.

Read are signs, thousands separators, decimals, percent, currencies, scientific notation (1.5e-3,
1.5 × 10^3), powers (2^{10}), fractions (3/4, 1 1/2, 1\frac{1}{2}, ½), scales ("5 million", 3亿) and
digits of other scripts. What looks like a number and may be read in more than one way ("3,14",
"3-5", "12:30", "2024-05-01"), or is a part of an expression (\sqrt{2}, 3\pi), is a candidate
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
# Signs that stand for a minus wherever they stand; a dash does only right before a number.
_MINUS = str.maketrans(
    {
        "\u2212": "-",
        "\u2011": "-",
        "\ufe63": "-",
        "\uff0d": "-",
        "\u066a": "%",
        "％": "%",
        "．": ".",
    }
)
_DASH = re.compile(r"[\u2012\u2013](?=[$€£¥₹]?\.?\d)|(?<==\s)[\u2012-\u2014](?=\s?\d)")
# Letters and digits of scripts that part words by spaces and write units apart: a digit at one of
# them is part of a word. Beside Hebrew, Arabic, India's scripts, Thai, Chinese and their like it is
# a number ("答案是18。", "29টি").
_WORDLY = r"[^\W\u0590-\u1cff\u2e80-\ud7ff\uf900-\ufaff]"
_WHOLE = (
    r"(?:[0-9]{1,3}(?P<sep>[,'’_\u00a0\u2009\u202f])[0-9]{3}(?:(?P=sep)[0-9]{3})*(?![0-9])"
    r"|(?<![0-9][ ])[1-9][0-9]{0,2}(?:[ ][0-9]{3}){0,4}[ ]000(?![ ]?[0-9])|[0-9]+)"
)
_CURRENCY = r"(?:(?:US|C|A)?[$€£¥₹]|(?:USD|EUR|GBP)\s?)"
_UNITS = (
    r"(?:km|cm|mm|kg|mg|g|lbs?|oz|ms|h|hrs?|mins?|s|secs?|mph|kph|ft|ml|mL|L|W|V|J|kJ|Pa|GB|MB|KB"
    r"|kWh|kW|Hz|USD|EUR|GBP)"
)
# English, German, French, Spanish, Portuguese, Italian, Russian, Hindi, Japanese and Korean.
_PERCENT = (
    r"(?:(?:per\s?cent|Prozent|pour\s?cent|por\s?ciento|por\s?cento|per\s?cento|процент\w*"
    r"|प्रतिशत)(?!\w)|パーセント|퍼센트)"
)
_EXPONENT = r"(?:\{\s?[-+]?[0-9]+\s?\}|\(\s?[-+]?[0-9]+\s?\)|[-+]?[0-9]+(?![0-9.]))"
_NUMBER = re.compile(
    rf"""
    (?<!{_WORDLY})(?<![.,/:第제])(?<![A-Za-z]-)(?<![\^_]\{{)(?<!\^)(?<!\^[-+])
    (?:(?<=[0-9]\s)[-+](?=[0-9.])|(?P<sign>(?:[-+]|(?:(?<==\s)|(?<=:\s)|(?<=is\s))[-+]\s)))?
    {_CURRENCY}?\s?(?P<inner>-(?=[0-9.]))?
    (?:
      (?:(?P<times>[0-9]+)\s?)?\\[dtc]?frac\s*
      (?:\{{\s*(?P<top>-?[0-9]+)\s*\}}|(?P<top1>[0-9]))\s*
      (?:\{{\s*(?P<bottom>-?[0-9]+)\s*\}}|(?P<bottom1>[0-9]))
    | (?:(?P<mixed>[0-9]+)\s)?(?P<over>[0-9]+)\s?/\s?(?P<under>[0-9]+)
    | (?P<root>[0-9]+(?:\.[0-9]+)?)\s?(?:\^|\*\*)\s?(?P<power>{_EXPONENT})
    | (?P<base>{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)
      (?:[eE](?P<e>[-+]?[0-9]+)
      | \s?(?:[x×*·⋅]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{{?\s?(?P<ten>[-+]?[0-9]+)\s?\}}?)?
    )
    (?:(?P<percent>\s?%|\s?{_PERCENT})|{_UNITS}(?!{_WORDLY})|(?!{_WORDLY}))
    (?![.,:/'’^*-]?[0-9])(?!/)(?!\s?\^\s?\{{?(?!\s?\\circ|°|\\prime))
    """,
    re.VERBOSE,
)
_LOOKS_LIKE_ONE = re.compile(
    rf"(?<!{_WORDLY})(?<![.,/:第제])(?<![A-Za-z]-)(?<![\^_]\{{)(?<!\^)(?<!\^[-+])"
    r"[-+]?[0-9.](?:[0-9]|[.,:/'’_^*\u00a0\u2009\u202f-](?=[0-9]))*"
)
# Emphasis: a digit beside its underscores would be one within a word.
_UNDERLINED = re.compile(
    r"(?<![\w}\])\\])_+(?=[-+\u2212–$€£¥₹.]?\d)|(?<=[^\W_]|%)_+(?![A-Za-z0-9{\\]|\s\d)"
)
_LARGEST_EXPONENT = 400
_MOST_BITS = 1100
# What makes a number a part of an expression that is none itself, right before and right behind.
_TIED_BEFORE = re.compile(
    r"(?:[√^±∓]|\+/-|\\(?:sqrt|log|ln|sin|cos|tan|exp|binom)(?![A-Za-z])(?:\[[^\]]*\]|_\{?\w+\}?)?|-\("
    r"|[/÷×·⋅]|\\(?:times|cdot|div|pm|mp)|\\[dtc]?frac|\}\s*(?=\{)|百分之)[\s{(\\]*$"
)
_TIED_BEHIND = re.compile(
    r"\s?(?:\\(?:sqrt|pi|theta|alpha|ln|log|sin|cos|tan|infty)(?![A-Za-z])|[√π∞‰]|!(?=\s*(?:[$=+*/)^]|\\)))"
    r"|\.?\\(?:overline|bar|dot)(?![A-Za-z])"
)
SCALES: dict[str, int | None] = {
    # English, and what other languages share with it
    "dozens?": 12, "hundreds?": 100, "thousands?": 10**3, "millions?": 10**6, "billions?": 10**9,
    "trillions?": 10**12, "lakhs?": 10**5, "crores?": 10**7,
    # German, French, Spanish, Portuguese, Italian. "mil" is a thousand or slang for a million.
    "tausend": 10**3, "Millionen": 10**6, "Milliarden?": 10**9, "Billionen": 10**12,
    "mille": 10**3, "milliards?": 10**9, "millones": 10**6, "millón": 10**6, "billones": 10**12,
    "milh(?:ão|ões)": 10**6, "bilh(?:ão|ões)": 10**9, "milion[ei]": 10**6, "miliard[oi]": 10**9,
    "mila": 10**3, "mil": None,
    # Russian, Arabic, Hindi, Bengali
    "тысяч[аи]?": 10**3, "миллион(?:а|ов)?": 10**6, "миллиард(?:а|ов)?": 10**9,
    "ألف|آلاف": 10**3, "مليون|ملايين": 10**6, "مليار(?:ات)?": 10**9,
    "हज़ार|हजार": 10**3, "लाख": 10**5, "करोड़": 10**7,
    "হাজার": 10**3, "লাখ|লক্ষ": 10**5, "কোটি": 10**7,
}  # fmt: skip
"""Words that multiply the number before them; of None it cannot be said by how much."""
SCALE_SIGNS: dict[str, int | None] = {
    "千": 10**3, "百": 100, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "兆": None,
    "백": 100, "천": 10**3, "만": 10**4, "억": 10**8, "조": 10**12,
    "พัน": 10**3, "หมื่น": 10**4, "แสน": 10**5, "ล้าน": 10**6,
}  # fmt: skip
"""The same in scripts that put no space; 兆 is a million or a million millions."""
_FACTORS = list(SCALES.values())
_SCALE_WORD = re.compile(
    "|".join(
        rf"(?P<w{place}>(?:{unicodedata.normalize('NFC', word)})(?!{_WORDLY}))"
        for place, word in enumerate(SCALES)
    ),
    re.IGNORECASE,
)
# 千克 is a kilogram; "만약" (if) and "조각" (a piece) are words.
_SCALE_SIGN = re.compile(
    rf"\s?(?P<sign>{'|'.join(SCALE_SIGNS)})(?![克米瓦卡焦赫帕伏字公分]|약|각|건)"
)
_DIGITS = re.compile(r"\s?[0-9]+(?:\.[0-9]+)?(?![0-9.,])")
_CURRENCY_SHORT = re.compile(r"\s?(?:[kKMBT]|bn|mn|mln|tn)(?!\w)")


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


_IN_BRACES = re.compile(r"(?:\s|~|\\[,; ])*\\(?:text\w*|mathrm|mbox)\s*\{\s*([^{}]*)\}")


def in_full(text: str) -> str:
    r"""Return a text whose numbers with a scale stand in full: ``5 \text{ million}`` too."""
    if _SCALE_WORD.search(text) is None and _SCALE_SIGN.search(text) is None:
        return text
    bare = plain_digits(_IN_BRACES.sub(r" \1 ", text))
    numbers = [
        one
        for one in _scan(bare, False)
        if one.value is not None
        and (_SCALE_WORD.search(one.text) or any(sign in one.text for sign in SCALE_SIGNS))
    ]
    if not numbers:
        return text
    for one in reversed(numbers):
        bare = f"{bare[: one.start]}{one.value} {bare[one.end :]}"
    return bare


def plain_digits(text: str) -> str:
    """Return a text with ASCII digits and signs, and LaTeX's dress taken off its numbers."""
    text = text.replace("{,}", ",").replace(r"\$", "$").replace(r"\%", "%")
    text = re.sub(r"(?<=[0-9])\\[,!](?=[0-9]{3})", ",", text)
    text = _UNDERLINED.sub("", text)
    if text.isascii():
        return text
    text = _DASH.sub("-", text.translate(_MINUS))
    text = "".join(_plain(char, index, text) for index, char in enumerate(text))
    text = re.sub(r"(?<=[0-9])\u066c(?=[0-9]{3})", ",", text)
    text = re.sub(r"(?<=[0-9])\u066b(?=[0-9])", ".", text)
    return re.sub(
        r"(?<=[0-9])[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+",
        lambda found: "^" + found[0].translate(_SUPERSCRIPT),
        text,
    )


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
            start, position = number.span()
            if _is_tied(text, start, position):
                value = None
            elif not is_percent:
                value, position = _scaled(text, value, position, number)
            yield Number(value, start, position, text[start:position].strip(), is_percent)
        elif looks is not None:
            position = looks.end()
            if re.match(_WORDLY, text[position : position + 1]) is not None:
                end = _end_of_word(text, position)
                # Metres, minutes, months or millions; a multiple of π.
                if text[position:end] == "m" or text[position] in "πθ":
                    yield Number(None, looks.start(), end, text[looks.start() : end])
                position = end
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


def _is_tied(text: str, start: int, end: int) -> bool:
    """Return whether a number is a part of an expression: a root's, a function's, a multiple's."""
    before = text[max(0, start - 16) : start]
    return _TIED_BEHIND.match(text, end) is not None or _TIED_BEFORE.search(before) is not None


def _scaled(
    text: str, value: float | None, end: int, found: re.Match[str]
) -> tuple[int | float | None, int]:
    """Return a number times the scales behind it ("5 million", "1万2千"), and where it ends."""
    least: int | None = None
    while True:
        if (word := _scale_word(text, end)) is not None:
            factor, end = word
            value = None if value is None or factor is None else value * factor
        elif (sign := _SCALE_SIGN.match(text, end)) is not None:
            factor, end = SCALE_SIGNS[sign["sign"]], sign.end()
            value = None if value is None or factor is None else value * factor
            least = factor
        else:
            break
    # "1万2千": each part is less than the scale before it.
    while least is not None and (more := _DIGITS.match(text, end)) is not None:
        end = more.end()
        if len(more[0]) > _LARGEST_EXPONENT:
            return None, end
        part = float(more[0]) if "." in more[0] else int(more[0])
        factor = 1
        while (sign := _SCALE_SIGN.match(text, end)) is not None:  # "5千万": both
            factor, end = factor * (SCALE_SIGNS[sign["sign"]] or least), sign.end()
        if value is None or factor >= least or part * factor >= least:
            return None, end
        value, least = value + part * factor, factor if factor > 1 else None
    if re.search(_CURRENCY, found[0]) and (short := _CURRENCY_SHORT.match(text, end)) is not None:
        return None, short.end()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value) if least is not None or end != found.end() else value
    return value, end


def _scale_word(text: str, end: int) -> tuple[int | None, int] | None:
    start = end + 1 if text[end : end + 1] in ("-", " ", "\u00a0", "\u202f") else end
    found = _SCALE_WORD.match(text, start)
    if found is None or found.lastgroup is None:
        return None
    return _FACTORS[int(found.lastgroup[1:])], found.end()


def _value(found: re.Match[str], as_fraction: bool) -> int | float | None:
    """Return the value of a match; None where a float cannot hold it."""
    negative = (found["sign"] or "").startswith("-") != (found["inner"] is not None)
    exact: Fraction | float
    try:
        if found["bottom"] is not None or found["bottom1"] is not None:
            exact = Fraction(
                int(found["top"] or found["top1"]), int(found["bottom"] or found["bottom1"])
            )
            if found["times"] is not None:
                if not 0 <= exact < 1:  # a mixed number has a proper fraction
                    return None
                exact += int(found["times"])
        elif found["over"] is not None:
            exact = int(found["mixed"] or 0) + Fraction(int(found["over"]), int(found["under"]))
        elif found["root"] is not None:
            exact = _power(Fraction(found["root"]), int(found["power"].strip("{}() ")))
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


def _power(root: Fraction, exponent: int) -> Fraction:
    bits = max(root.numerator.bit_length(), root.denominator.bit_length())
    if abs(exponent) * bits > _MOST_BITS:
        raise ValueError("beyond a float")
    return root**exponent


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
