"""The number that a declared answer is: "18", "15 apples", "6 * 7 = 42", "x = 5".

An answer begins with its number, or says one number only. An equation's number is what it comes to.
A quantity in several units ("2 hours 30 minutes") and arithmetic that is not done ("6 * 7") are
numbers that nobody wrote: they have no value here, and are never taken for their first part.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from themis.catalog.math_in_text import is_expression
from themis.catalog.numbers_in_text import Number, numbers_in, plain_digits
from themis.catalog.parsers import answer_phrases as phrases
from themis.catalog.parsers.answers_in_text import FILLER, MATH, goes_on, undressed

_TEXT = re.compile(
    r"\\(?:text\w*|math(?:rm|bf|it)|mbox|operatorname)\s*\{(?P<inner>[^{}]*)\}"
    r"|\\(?:text\w*|math(?:rm|bf|it)|mbox|operatorname|left|right)\b\s*"
    r"|\\[,;!: ]|\\quad|~|\$(?=\D|$)"
)
_EQUALS = re.compile(r"(?<![<>!=≤≥≠:])=(?![=>])")
# Words and marks that no side of one equation holds.
_PROSE = re.compile(
    r"[,;:。，、](?![0-9]{3})|[(（]\s*[^\W\d_]{2}|\b(?:and|or|so|then|because|since|which|where|is|but|for|when|if"
    r"|that|thus|hence|y|et|und|oder|ou|ist|est)\b",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(
    r"[\s})]*(?:[-+*/×÷·⋅−±]|\+/-|\*\*|\\(?:times|cdot|div|pm)\b)\s*(?:[-+(]?\s*[$€£]?\s*\.?\d|\\(?:frac|sqrt|pi|left)"
    r"|\(|[A-Za-z](?=\s*(?:$|[-+*/^=)}.])))"
)
# Words that go on after a number without being its unit.
_NO_UNIT = (
    r"(?:a|about|after|an|and|are|as|at|because|before|being|but|by|each|every|for|from|given|if|in|is|more|less|not|of|on|or"
    r"|out|over|per|since|so|than|that|the|then|to|under|until|was|when|where|which|while|with|using|step|case)"
)
_UNIT = (
    r"(?:hours?|hrs?|h|minutes?|mins?|seconds?|secs?|s|days?|weeks?|months?|years?|feet|foot|ft"
    r"|inch(?:es)?|in|yards?|yd|miles?|pounds?|lbs?|ounces?|oz|stones?|dollars?|cents?|euros?|pence"
    r"|km|m|cm|mm|kg|g|metres?|meters?|gallons?|quarts?|pints?|degrees?"
    r"|Stunden?|Minuten?|Sekunden?|heures?|horas?|minutos?|segundos?|ore|minuti|час\w*|минут\w*)"
)
_IN_UNITS = re.compile(
    rf"[\s{{}}]*(?:°|'|(?:(?!{_NO_UNIT}\b)[^\W\d_]+\.?[\s{{}}]+){{1,2}}|(?:(?!{_NO_UNIT}\b)[^\W\d_]+\.?(?=\d))"
    rf"|{_UNIT}[\s{{}}]*,\s*(?=[\d.]+\s*{_UNIT}\b)|(?<=[hms])\s+|[\u0e00-\u0eff\u3040-\u30ff\u3400-\ud7a3]{{1,4}}\s*)"
    r"\.?\d",
    re.IGNORECASE,
)
_IS_QUANTITY = re.compile(r"[\s$(]*[-+]?[\s$]*\.?\d")
_APPLIED = re.compile(r"\s*[A-Za-z]\w*\s*\(")
_BEGINS_GLUED = re.compile(r"\W*\d+(?![eE][-+]?\d)[A-Za-z]")
# What makes no number of the one behind or before it: a bound, a size, a number's share.
_COMPARED = r"(?:[<>≤≥≠]=?|\\(?:geq?|leq?|neq?|gt|lt)(?![A-Za-z]))"
_COMPARED_BEFORE = re.compile(rf"{_COMPARED}[\s$]*$")
_VARIABLE = re.compile(r"(?<![A-Za-z])(?:\d+[A-Za-z]|[b-zB-HJ-Z])\s*$")
_OPERAND = re.compile(r"(?:[\w)}\]]\s*[+*×÷·^]|(?<![A-Za-z])(?:\d+[A-Za-z]|[b-zB-HJ-Z])\s*-)\s*$")
_JOINED = re.compile(r"[,;]\s|\b(?:and|or)\b", re.IGNORECASE)
_ABSOLUTE = re.compile(r"(?:\||\\[lm]?vert\s*)\{?\s*$")
_COMPARED_BEHIND = re.compile(rf"\s*{_COMPARED}\s*[-\w$\\]|!|\s*\|\s*[-$\d]")
_SHARE_OF = re.compile(r"\s+of\s+[$€£]?\d")
_GROUPS = re.compile(
    r"(?<![\d.,] )(?<![\d.,])(?:[1-9]\d?(?: \d{3})+|[1-9]\d\d(?: \d{3}){2,})(?![\d.,]*\d)(?=\W*$)"
)
_GROUPED = re.compile(r"(?<=\d) \d{3}(?!\d)")
_BEFORE = re.compile(
    r"[\s$*_`(=≈~\"'（]*(?:(?:about|approximately|around|roughly|exactly|therefore|thus|simply|just|"
    + phrases.THUS
    + r"|equal\s+to|given\s+by"
    r"|约|約|大约|共|总共|一共|合計|約|총|약|etwa|environ|aproximadamente|circa|около|حوالي)[:,\s]*)*"
    r"(?:[A-Za-z]\w?\s*=?)?[\s$*_`(]*",
    re.IGNORECASE,
)


class MathExpression(NamedTuple):
    """The mathematical expression that an answer is, or begins with."""

    text: str
    is_one_of_several: bool = False
    """Whether the answer goes on with another one, as "3 or 4" does."""


def expression(answer: str) -> MathExpression | None:
    """Return the mathematical expression that an answer is, or begins with; None for words.

    "42 apples" is 42; "a tough one" is nothing; "3 or 4" is one of several.
    """
    answer = answer.strip().strip("*_`").strip()
    if (filler := FILLER.match(answer)) is not None:
        answer = answer[filler.end() :]
    for pattern in MATH:
        found = pattern.match(answer)
        if found is not None and found[1].strip():
            return MathExpression(undressed(found[0]), goes_on(answer, found.end()))
    bare = undressed(answer)
    if is_expression(bare):
        return MathExpression(bare)
    # "20 - 5 = 15 apples" comes to 15.
    _, worked, comes_to = answer.rpartition("=")
    if worked and leading_number(answer) is not None and not _JOINED.search(answer):
        answer = comes_to.strip()
    number = leading_number(answer)
    if number is None or is_part(plain_digits(answer), number):
        return None
    return MathExpression(number.text, goes_on(plain_digits(answer), number.end))


def leading_number(text: str) -> Number | None:
    """Return the number that a text begins with, if it does."""
    found = numbers_in(text)
    if not found or found[0].value is None:
        return None
    before = plain_digits(text)[: found[0].start].strip(" \t$*_`(=")
    return found[0] if not before or re.fullmatch(r"[A-Za-z]\s*=?", before) else None


def whole_expression(text: str) -> MathExpression | None:
    """Return the mathematical expression that a text is as a whole; None where it is none."""
    text = text.strip()
    if not is_expression(undressed(text)):
        return None
    rests = [text[one.end() :].strip(" .\n") for form in MATH if (one := form.match(text))]
    found = expression(text)
    if found is None or not any(rests) or found.is_one_of_several:
        return found
    # "$x$ = 5" is one; formulas on lines of their own are several.
    return MathExpression(text, is_one_of_several="\n" in text)


def number_said(answer: str, *, percent_is_fraction: bool) -> Number | None:
    """Return the number that an answer says; one without a value where it says none clearly.

    None where it says no number, or goes on with another one ("3 or 4").
    """
    text = plain_digits(_TEXT.sub(_inner, answer.replace(r"\$", "$").replace(r"\%", "%"))).strip()
    text = re.sub(r"[{}](?=\s*$)|^\s*[{]", "", text) if text.count("{") != text.count("}") else text
    text = re.sub(r"[ \t]{2,}", " ", text)
    text = _GROUPS.sub(
        lambda found: found[0].replace(" ", ""), text
    )  # "1 250"; "100 200" may be two
    sides = _EQUALS.split(text)
    if len(sides) > 1 and not any(_PROSE.search(side.strip(" ($")) for side in sides[:-1]):
        return _result(sides, percent_is_fraction)
    return _leading(text, percent_is_fraction)


def _inner(found: re.Match[str]) -> str:
    return f" {found['inner']} " if found["inner"] else " "


def _result(sides: list[str], percent_is_fraction: bool) -> Number | None:
    """Return what an equation comes to: its last side, or the only one that is a number."""
    first = _leading(sides[0], percent_is_fraction) if _IS_QUANTITY.match(sides[0]) else None
    last = None if _APPLIED.match(sides[-1]) else _leading(sides[-1], percent_is_fraction)
    if first is not None and len(numbers_in(sides[0])) > 1:
        first = None
    if last is None or last.value is None:
        return first if first is not None and first.value is not None else last
    is_number = first is not None and first.value is not None
    if is_number and len(sides) == 2 and first is not None and first.value != last.value:
        return last._replace(value=None, text="=".join(sides).strip())  # 5 km = 5000 m
    return last


def _leading(text: str, percent_is_fraction: bool) -> Number | None:
    """Return the number that a text begins with, or its only one."""
    numbers = numbers_in(text, percent_is_fraction=percent_is_fraction)
    if not numbers:
        return None
    first = numbers[0]
    is_alone = len({number.value for number in numbers}) == 1
    if not is_alone and _BEFORE.fullmatch(text, 0, first.start) is None:
        return None
    if goes_on(text, first.end) and not is_alone:
        return None
    return first._replace(value=None, text=text) if is_part(text, first) else first


def is_part(text: str, number: Number) -> bool:
    """Return whether the first number of a text is only a part of what the text says."""
    before = text[: number.start]
    is_signed = text[number.start] in "+-"
    return bool(
        _ARITHMETIC.match(text, number.end)
        or _OPERAND.search(before)
        or (is_signed and _VARIABLE.search(before))
        or (_IN_UNITS.match(text, number.end) and len(numbers_in(text)) > 1)
        or _is_glued(text, number)
        or _COMPARED_BEFORE.search(before)
        or (text[number.start] == "-" and _ABSOLUTE.search(before))
        or _COMPARED_BEHIND.match(text, number.end)
        or (number.is_percent and _SHARE_OF.match(text, number.end))
        or _GROUPED.match(text, number.end)
    )


def _is_glued(text: str, first: Number) -> bool:
    """Return whether a text begins with digits within a word: "2x + 3" does, "5kg" does not."""
    glued = _BEGINS_GLUED.match(text)
    return glued is not None and first.start >= glued.end()


def is_arithmetic(text: str) -> bool:
    """Return whether a text's numbers are operands: "5 + 5" is not 5."""
    text = plain_digits(text)
    return any(_ARITHMETIC.match(text, number.end) for number in numbers_in(text))
