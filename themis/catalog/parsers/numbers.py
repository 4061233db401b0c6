r"""Parsers of mathematics: the answer as it is written, and the number that it is.

Whether two ways of writing are one answer is for a metric to say.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from themis.catalog.math_in_text import INVISIBLE
from themis.catalog.numbers_in_text import Number, numbers_in
from themis.catalog.parsers.answers_in_text import (
    declarations,
    declared_answers,
    undressed,
)
from themis.catalog.parsers.number_said import (
    expression,
    is_arithmetic,
    number_said,
    whole_expression,
)
from themis.catalog.parsers.pick import AnswerParser, Pick, pick_one
from themis.core.base import JSONValue
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate

_NEXT_BOX = (
    r"\s*(?:\$+|\\\)|\\\])?\s*(?:,\s*(?:and|or)?\b|;|and\b|or\b|,)\s*(?:\$+|\\\(|\\\[)?\s*"
    r"(?:[A-Za-z](?:_\w)?\s*=\s*)?\\f?box(?:ed)?\s*\{"
)


class MathAnswer(AnswerParser):
    r"""The mathematical answer of the final output, as it is written: ``\frac{1}{2}``, ``42``.

    The last ``\boxed{...}`` is the answer, as the reference has it (see ``answers_in_text.boxed``);
    else what is declared ("#### 42", "the final answer is $x$", "the answer is 42"); else the
    whole text, where it is an expression. Delimiters and units in words are taken off. The metadata
    tell the rule.
    """

    component_id = "builtin/math_answer"
    fallback: Literal["none", "last_number"] = "none"
    """What is read in a text that declares no answer: nothing, or the last number."""

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the answer as text; raise ``ParseError`` where there is none, or several."""
        del ctx
        value, rule = self.read(self.text_of(candidate))
        return ParsedOutput(value=value, format="math_answer", metadata={"rule": rule})

    def read(self, text: str) -> tuple[str, str]:
        """Return the answer of a text, and the rule by which it was read."""
        text = text.translate(INVISIBLE)
        declared = declared_answers(text)
        if declared is not None and declared.rule == "boxed":
            answer = _last_boxes(text, declared.answers)
            if not answer:
                raise ParseError(r"the last \boxed{} is empty", reason="invalid")
            return answer, "boxed"
        said = [] if declared is None else declared.answers
        read = [(one, found) for one in said if (found := expression(one)) is not None]
        if declared is not None and read:
            clear = [found.text for _, found in read if not found.is_one_of_several]
            if not clear:
                raise ParseError(
                    f"the declared answer {read[0][0]!r} is several", reason="ambiguous"
                )
            return pick_one(clear, clear, "only", "answers"), declared.rule
        whole = whole_expression(text)
        if whole is not None and not whole.is_one_of_several:
            return whole.text, "whole"
        if self.fallback == "last_number" and (numbers := numbers_in(text)):
            return numbers[-1].text, "last_number"
        if whole is not None:
            raise ParseError("the text is several expressions", reason="ambiguous")
        raise ParseError("the text declares no mathematical answer", reason="nothing_found")


class NumberIn(AnswerParser):
    r"""The number that the final output gives, as a JSON number.

    A declared answer decides (``\boxed{42}``, "#### 42", "the answer is 42"), and otherwise the
    text must hold one number only, however often; "the answer is 3 or 4" declares none. Thousands
    separators, currencies, percent, scientific notation and fractions are read; what may be read in
    more than one way ("3,14", "3-5") is ambiguous.
    """

    component_id = "builtin/number"
    pick: Pick = "only"
    """Which number is taken of a text that declares none."""
    percent: Literal["fraction", "number"] = "fraction"
    """What 50% is: 0.5 as a "fraction", 50 as a "number"."""

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the number; raise ``ParseError`` where there is none, or several."""
        del ctx
        output = candidate.final_output
        if isinstance(output, (int, float)) and not isinstance(output, bool):
            return ParsedOutput(value=output, format="number", metadata={"rule": "whole"})
        number, rule = self._read(self.text_of(candidate))
        if number.value is None:
            raise ParseError(
                f"{number.text!r} may be read in more than one way, or is beyond a float",
                reason="ambiguous",
            )
        metadata: dict[str, Any] = {"rule": rule, "text": number.text}
        if number.is_percent:
            metadata["percent"] = True
        return ParsedOutput(value=number.value, format="number", metadata=metadata)

    def _read(self, text: str) -> tuple[Number, str]:
        declared = declared_answers(text)
        if declared is not None:
            read = {answer: self._said(answer) for answer in dict.fromkeys(declared.answers)}
            numbers = [one for said in declared.answers if (one := read[said]) is not None]
            if declared.rule == "boxed" and numbers:
                listed = self._said(_last_boxes(text, declared.answers))
                # "\\boxed{3} or \\boxed{5}" is no number.
                last = numbers[-1]
                return last if listed is not None else last._replace(value=None), declared.rule
            numbers = [one for one in numbers if one.value is not None] or numbers
            if numbers:
                return pick_one(numbers, _values(numbers), "only", "numbers"), declared.rule
        numbers = numbers_in(text, percent_is_fraction=self.percent == "fraction")
        # "The answer isn't 5" says no number.
        denied = [self._said(one.answer) for one in declarations(text) if one.is_denied]
        numbers = [one for one in numbers if one.value not in [no.value for no in denied if no]]
        if not numbers:
            raise ParseError("the text holds no number", reason="nothing_found")
        rule = "whole" if self.pick == "only" else self.pick
        number = pick_one(numbers, _values(numbers), self.pick, "numbers")
        if self.pick == "only" and len(numbers) > 1 and is_arithmetic(text):
            raise ParseError("the text is arithmetic that is not done", reason="ambiguous")
        return number, rule

    def _said(self, answer: str) -> Number | None:
        return number_said(answer, percent_is_fraction=self.percent == "fraction")


def _last_boxes(text: str, contents: list[str]) -> str:
    r"""Return what the last box holds, with those of which it is the last in a list.

    "$x = \boxed{3}$ or $x = \boxed{5}$" is "3, 5", and not 5.
    """
    listed = [contents[-1]]
    end = text.rfind(contents[-1])
    for before in reversed(contents[:-1]):
        box = re.compile(
            r"\\f?box(?:ed)?\s*\{\s*" + re.escape(before) + r"\s*\}" + _NEXT_BOX + r"\s*\Z"
        )
        start = text.rfind(before, 0, end)
        opening = max(text.rfind(name, 0, start) for name in ("\\boxed", "\\fbox"))
        if opening < 0 or box.fullmatch(text[opening:end]) is None:
            break
        listed.insert(0, before)
        end = start
    return undressed(listed[0]) if len(listed) == 1 else ", ".join(map(undressed, listed))


def _values(numbers: list[Number]) -> list[JSONValue]:
    """Return what numbers stand for, those without a value by their text."""
    return [one.text if one.value is None else one.value for one in numbers]
