"""What parsers do alike: take the final output as text, without thoughts, and choose among answers.

The rule to choose by is the user's, and by default there is none: answers that differ are a
failure, since which of them was meant is not for a parser to guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeVar

from themis.catalog.component import LONG_ANSWER, ShippedPart
from themis.catalog.thoughts import Thoughts, answer_in
from themis.core.base import JSONValue
from themis.core.errors import ParseError
from themis.core.hashing import canonical
from themis.core.models import GenerationResult, ReducedCandidate
from themis.core.prompts import as_text

Pick = Literal["only", "first", "last"]
"""Which of several answers is taken: the only one, the first or the last."""
T = TypeVar("T")


class AnswerParser(ShippedPart):
    """Base of the catalog's parsers."""

    reads: ClassVar[frozenset[str]] = frozenset()
    cpu_bound_over: ClassVar[int] = LONG_ANSWER
    thoughts: Thoughts = "drop"
    """Whether thoughts that stand in the text (``<think>...</think>`` and their like) are left out
    before anything is read, "drop", or are part of it, "keep"."""

    def text_of(self, candidate: GenerationResult | ReducedCandidate) -> str:
        """Return the final output as text; values that are no text as JSON text.

        Raises:
            ParseError: there is nothing in it but thoughts; reason "nothing_found".
        """
        output = candidate.final_output
        text = "" if output is None else as_text(output)
        if not text.strip():
            raise ParseError("the final output is empty", reason="nothing_found")
        # Only what is text holds thoughts: of other values none was taken off.
        return self.answer_in(text) if isinstance(output, str) else text

    def answer_in(self, text: str) -> str:
        """Return a text without thoughts, or as it is where they are kept."""
        return answer_in(text) if self.thoughts == "drop" else text


def pick_one(found: Sequence[T], values: Sequence[JSONValue], pick: Pick, what: str) -> T:
    """Return one of what was found.

    Args:
        found: at least one candidate, in the text's order.
        values: what each of them stands for; equal values are one candidate.
        pick: "only" (all must be equal), "first" or "last".
        what: names them in the message, such as "numbers".

    Raises:
        ParseError: "only" is asked for and they differ; reason "ambiguous".
    """
    if pick == "last":
        return found[-1]
    if pick == "only":
        different = list({canonical(value): value for value in values}.values())
        if len(different) > 1:
            shown = ", ".join(_short(value) for value in different[:4])
            more = ", ..." if len(different) > 4 else ""
            raise ParseError(
                f"the text holds {len(different)} {what} and none is clearly the answer: "
                f"{shown}{more}",
                reason="ambiguous",
            )
    return found[0]


def _short(value: JSONValue) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
