r"""Parsers of mathematics: the answer as it is written, and the number that it is.

Whether two ways of writing are one answer is for a metric to say.
"""

from __future__ import annotations

from typing import Any

from themis.catalog.answers_in_text import (
    declared_answers,
    expression,
    goes_on,
    is_expression,
    leading_number,
    undressed,
)
from themis.catalog.numbers_in_text import Number, numbers_in, plain_digits
from themis.catalog.reading import LAST, ONLY, PICKS, pick_one, text_of
from themis.catalog.shipped import ShippedComponent
from themis.core.base import JSONValue
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate


class MathAnswer(ShippedComponent):
    r"""The mathematical answer of the final output, as it is written: ``\frac{1}{2}``, ``42``.

    The last ``\boxed{...}`` is the answer, as the reference has it (see ``answers_in_text.boxed``);
    else what is declared ("#### 42", "the final answer is $x$", "the answer is 42"); else the
    whole text, where it is an expression. Delimiters and units in words are taken off. The metadata
    tell the rule.

    Args:
        fallback: "none", or "last_number": the last number in a text that declares no answer.
    """

    component_id = "builtin/math_answer"
    version = "2"
    reads: frozenset[str] = frozenset()

    def __init__(self, *, fallback: str = "none") -> None:
        super().__init__({"fallback": fallback})
        self._falls_back = self.one_of("fallback", fallback, ("none", "last_number")) != "none"

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the answer as text; raise ``ParseError`` where there is none, or several."""
        del ctx
        value, rule = self._read(text_of(candidate))
        return ParsedOutput(value=value, format="math_answer", metadata={"rule": rule})

    def _read(self, text: str) -> tuple[str, str]:
        declared = declared_answers(text)
        if declared is not None and declared.rule == "boxed":
            answer = undressed(declared.answers[-1])
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
            return pick_one(clear, clear, ONLY, "answers"), declared.rule
        whole = expression(text) if is_expression(undressed(text)) else None
        if whole is not None and not whole.is_one_of_several:
            return whole.text, "whole"
        if self._falls_back and (numbers := numbers_in(text)):
            return numbers[-1].text, "last_number"
        if whole is not None:
            raise ParseError("the text is several expressions", reason="ambiguous")
        raise ParseError("the text declares no mathematical answer", reason="nothing_found")


class NumberIn(ShippedComponent):
    r"""The number that the final output gives, as a JSON number.

    A declared answer decides (``\boxed{42}``, "#### 42", "the answer is 42"), and otherwise the
    text must hold one number only, however often; "the answer is 3 or 4" declares none. Thousands
    separators, currencies, percent, scientific notation and fractions are read; what may be read in
    more than one way ("3,14", "3-5") is ambiguous.

    Args:
        pick: "only", "first" or "last": which number of a text that declares none.
        percent: "fraction" (50% is 0.5) or "number" (50% is 50).
    """

    component_id = "builtin/number"
    version = "2"
    reads: frozenset[str] = frozenset()

    def __init__(self, *, pick: str = ONLY, percent: str = "fraction") -> None:
        super().__init__({"pick": pick, "percent": percent})
        self._pick = self.one_of("pick", pick, PICKS)
        self._as_fraction = self.one_of("percent", percent, ("fraction", "number")) == "fraction"

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the number; raise ``ParseError`` where there is none, or several."""
        del ctx
        output = candidate.final_output
        if isinstance(output, (int, float)) and not isinstance(output, bool):
            return ParsedOutput(value=output, format="number", metadata={"rule": "whole"})
        number, rule = self._read(text_of(candidate))
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
            # "42 apples, 6 more than yesterday": a declared answer begins with its number.
            read = {answer: self._one(answer) for answer in dict.fromkeys(declared.answers)}
            numbers = [one for said in declared.answers if (one := read[said]) is not None]
            if numbers:
                pick = LAST if declared.rule == "boxed" else ONLY
                return pick_one(numbers, _values(numbers), pick, "numbers"), declared.rule
        numbers = numbers_in(text, percent_is_fraction=self._as_fraction)
        if not numbers:
            raise ParseError("the text holds no number", reason="nothing_found")
        rule = "whole" if self._pick == ONLY else self._pick
        return pick_one(numbers, _values(numbers), self._pick, "numbers"), rule

    def _one(self, answer: str) -> Number | None:
        numbers = numbers_in(answer, percent_is_fraction=self._as_fraction)
        if len({number.value for number in numbers}) == 1:
            return numbers[0]
        leading = leading_number(answer)
        if leading is None or goes_on(plain_digits(answer), leading.end):
            return None
        return next((one for one in numbers if one.start == leading.start), None)


def _values(numbers: list[Number]) -> list[JSONValue]:
    """Return what numbers stand for, those without a value by their text."""
    return [one.text if one.value is None else one.value for one in numbers]
