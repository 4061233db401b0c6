r"""Answers that a text declares: ``\boxed{...}``, ``#### 42``, "the final answer is 42".

Three tiers, the clearest first: boxed, final, said. A tier gives what stands there word for word;
reading a number or an expression out of it is the parser's work.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from themis.catalog.numbers_in_text import Number, numbers_in, plain_digits, whole_number
from themis.core.errors import ParseError

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_UNBRACED = re.compile(r"(?:[^$\n\\]|\\(?!(?:boxed|fbox)(?![A-Za-z])))*")
_FINAL = (
    re.compile(r"(?<!#)####(?!#)[ \t]*(?=(?P<answer>[^\n]{0,400}))"),
    # An opening that is never closed is not looked past by each of those before it.
    re.compile(r"<answer>(?P<answer>(?:[^<]|<(?!answer>))*?)</answer>", re.IGNORECASE | re.DOTALL),
    re.compile(
        r"\bfinal\s+(?:answer|result)\b[^\n:=.]{0,40}?(?:\s+is\b|\s*[:=])(?:\s*(?:the\s+)?final\s+answer\s+is\b)?"
        r"[:\s]*(?=(?P<answer>[^\n]{0,400}))",
        re.IGNORECASE,
    ),
)
_SAID = re.compile(
    r"\b(?:answer|result|solution)\b[^\n:=.?]{0,60}?(?:\s+is\b|\s+must\s+be\b|\s*[:=])[:\s]*(?=(?P<answer>[^\n]{0,400}))",
    re.IGNORECASE,
)
_NOT_SAID = re.compile(r"(?:not|n't|wrong|incorrect)\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:if|not|wrong|incorrect|suppose|whether)\b[^\n.;]*$", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[^\s.])(?:[.;!](?=\s|\**$)|\?)")
_MATH = (
    re.compile(r"\$\$(.+?)\$\$", re.DOTALL),
    re.compile(r"\$(.+?)\$", re.DOTALL),
    re.compile(r"\\\((.+?)\\\)", re.DOTALL),
    re.compile(r"\\\[(.+?)\\\]", re.DOTALL),
)
_FILLER = re.compile(
    r"(?:(?:therefore|thus|simply|just|exactly|equal to|given by)\b[:,\s]*)+", re.IGNORECASE
)
_OTHER = (
    r"(?:\$[^$\n]+\$|\\\(|\\\[|(?:[A-Za-z]\s*=\s*)?[-+]?\s?[$€£]?\s?\.?[0-9]"
    r"|(?:[A-Za-z]\s*=\s*)?[-+]?\s?\\(?:[dt]?frac|sqrt|pi)\b)"
)
# What stands behind the first of several answers: "3 or 4", "3 apples, or maybe 4", "3, 4 and 5".
# Other words for the same ("or about 1.41") and what it is not (", not 6") are no other answer.
_SEVERAL = re.compile(
    r"(?:\$+|\\\)|\\\]|\*+)?(?:"
    r"(?:\s+(?!(?:or|and|to|but|not)\b)[A-Za-z]+){0,2}\s*,?\s*\(?(?:\b(?:or|and|to)\b|&)\s*"
    rf"(?:(?:also|else|even|maybe|perhaps|possibly|then)\b\s*)?{_OTHER}"
    rf"|\s*,\s*{_OTHER}[^\s,;]*\s*(?:$|[,;)]|(?:and|or)\b))",
    re.IGNORECASE,
)
_NAMES = {"cos", "cot", "csc", "sec", "sin", "tan", "exp", "ln", "log", "sqrt", "mod"}
_NAMES |= {"inf", "infinity", "lim", "max", "min", "pi"}
_WORD = re.compile(r"[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")


class Declared(NamedTuple):
    """The answers of the clearest tier that a text has."""

    rule: str
    """boxed, final or said."""
    answers: list[str]
    """In the text's order; what is said twice stands here once, but for boxes."""


def declared_answers(text: str) -> Declared | None:
    r"""Return what a text declares to be its answers, or None.

    Raises:
        ParseError: a ``\boxed{`` is never closed; reason "invalid".
    """
    boxes = boxed(text)
    if boxes:
        return Declared("boxed", boxes)
    finals = [found for pattern in _FINAL for found in pattern.finditer(text)]
    said = [found["answer"].strip() for found in sorted(finals, key=lambda one: one.start())]
    if answers := list(dict.fromkeys(_sentence(one) for one in dict.fromkeys(said) if one)):
        return Declared("final", answers)
    answers = []
    for found in _SAID.finditer(text):
        before = text[max(0, found.start() - 100) : found.start()]
        answer = found["answer"].strip()
        if answer and not _DENIED.search(before) and not _NOT_SAID.match(answer):
            answers.append(answer)
    said = list(dict.fromkeys(_sentence(one) for one in dict.fromkeys(answers)))
    return Declared("said", said) if said else None


def boxed(text: str) -> list[str]:
    r"""Return the contents of every ``\boxed{...}`` and ``\fbox{...}``, outermost, in order.

    Braces nest; ``\{`` and ``\}`` are none. ``\boxed 5`` holds what stands up to a dollar sign, the
    next box or the line's end, as the reference does: Hendrycks et al. 2021, "Measuring
    Mathematical Problem Solving With the MATH Dataset", https://arxiv.org/abs/2103.03874,
    ``last_boxed_only_string``.

    Raises:
        ParseError: one of them is never closed; reason "invalid".
    """
    found: list[str] = []
    position = 0
    while (box := _BOX.search(text, position)) is not None:
        if text[box.end() : box.end() + 1] == "{":
            end = _closing(text, box.end())
            if end is None:
                raise ParseError(
                    f"{box[0].strip()}{{ at position {box.start()} is never closed",
                    reason="invalid",
                )
            found.append(text[box.end() + 1 : end].strip())
            position = end + 1
        else:
            rest = _UNBRACED.match(text, box.end())
            bare = rest[0].strip() if rest else ""
            if bare:
                found.append(bare)
            position = box.end()
    return found


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0 and found[0] == "}":
            return found.start()
    return None


def _sentence(answer: str) -> str:
    """Return an answer up to the end of its sentence; a stop inside of math ends none."""
    for pattern in _MATH:
        found = pattern.match(answer)
        if found is not None:
            end = _SENTENCE.search(answer, found.end())
            whole = (answer[: end.start()] if end else answer).strip()
            return whole if goes_on(whole, found.end()) else found[0]
    end = _SENTENCE.search(answer)
    return (answer[: end.start()] if end else answer).strip()


def undressed(answer: str) -> str:
    r"""Return an answer without emphasis, math delimiters and the stop around it.

    One pair of delimiters is taken off: ``$x$``, ``$$x$$``, ``\(x\)``, ``\[x\]``.
    """
    answer = answer.strip().strip("*_`").strip()
    if (filler := _FILLER.match(answer)) is not None:
        answer = answer[filler.end() :]
    answer = answer.rstrip(".").strip().strip("*_`").strip()
    for pattern in _MATH:
        found = pattern.fullmatch(answer)
        if found is not None and "$" not in found[1]:
            return found[1].strip().rstrip(".").strip()
    return answer


class Expression(NamedTuple):
    """The mathematical expression that an answer is, or begins with."""

    text: str
    is_one_of_several: bool = False
    """Whether the answer goes on with another one, as "3 or 4" does."""


def expression(answer: str) -> Expression | None:
    """Return the mathematical expression that an answer is, or begins with; None for words.

    "42 apples" is 42; "a tough one" is nothing; "3 or 4" is one of several.
    """
    answer = answer.strip().strip("*_`").strip()
    if (filler := _FILLER.match(answer)) is not None:
        answer = answer[filler.end() :]
    for pattern in _MATH:
        found = pattern.match(answer)
        if found is not None and found[1].strip():
            return Expression(undressed(found[0]), goes_on(answer, found.end()))
    bare = undressed(answer)
    if is_expression(bare):
        return Expression(bare)
    number = leading_number(answer)
    if number is None:
        return None
    return Expression(number.text, goes_on(plain_digits(answer), number.end))


def goes_on(answer: str, end: int) -> bool:
    """Return whether an answer goes on with another one behind a place; an equal one is none."""
    if _SEVERAL.match(answer, end) is None:
        return False
    values = {number.value for number in numbers_in(answer)}
    return whole_number(answer[:end]) is None or len(values) != 1


def is_expression(text: str) -> bool:
    """Return whether a text is mathematics: it says something, and holds no words."""
    if not any(char.isalnum() for char in text):
        return False
    words = _WORD.findall(_COMMAND.sub(" ", text))
    return all(word.lower() in _NAMES for word in words)


def leading_number(text: str) -> Number | None:
    """Return the number that a text begins with, if it does."""
    found = numbers_in(text)
    if not found or found[0].value is None:
        return None
    before = plain_digits(text)[: found[0].start].strip(" \t$*_`(=")
    return found[0] if not before or re.fullmatch(r"[A-Za-z]\s*=?", before) else None
