"""What parsers do alike: take the final output as text, and choose where it holds several answers.

The rule to choose by is the user's, and by default there is none: answers that differ are a
failure, since which of them was meant is not for a parser to guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from themis.core.base import JSONValue
from themis.core.errors import ParseError
from themis.core.hashing import canonical
from themis.core.models import GenerationResult, ReducedCandidate
from themis.core.prompts import as_text

ONLY, FIRST, LAST = PICKS = ("only", "first", "last")
T = TypeVar("T")


def text_of(candidate: GenerationResult | ReducedCandidate) -> str:
    """Return the final output as text, as it is; values that are no text as JSON text.

    Raises:
        ParseError: there is nothing in it; reason "nothing_found".
    """
    output = candidate.final_output
    text = "" if output is None else as_text(output)
    if not text.strip():
        raise ParseError("the final output is empty", reason="nothing_found")
    return text


def pick_one(found: Sequence[T], values: Sequence[JSONValue], pick: str, what: str) -> T:
    """Return one of what was found.

    Args:
        found: at least one candidate, in the text's order.
        values: what each of them stands for; equal values are one candidate.
        pick: "only" (all must be equal), "first" or "last".
        what: names them in the message, such as "numbers".

    Raises:
        ParseError: "only" is asked for and they differ; reason "ambiguous".
    """
    if pick == LAST:
        return found[-1]
    if pick == ONLY:
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
