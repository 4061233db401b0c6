"""How a model ended an answer other than by giving one: it refused, was cut off, or said nothing.

These are results, not outages: they are kept, counted and told. It reads what an adapter recorded
and the output itself, and never guesses from the words of an answer that it is a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Ending(NamedTuple):
    """A way to end an answer."""

    category: str
    """Name in results: refused, truncated or empty."""
    message: str
    """One line for people."""


REFUSED = Ending("refused", "the model refused to answer")
FILTERED = Ending("refused", "a content filter withheld the answer")
TRUNCATED = Ending("truncated", "the answer was cut off at its token limit")
EMPTY = Ending("empty", "the answer is empty")

BY_REASON: Mapping[str, Ending] = {
    "refusal": REFUSED,
    "content_filter": FILTERED,
    "length": TRUNCATED,
}
"""By ``artifacts["finish_reason"]``."""


def ending_of(output: Any, artifacts: Any) -> Ending | None:
    """Return how an answer ended, where it did not simply end.

    Args:
        output: the final output. Blank text is an empty answer, unless the model called tools.
        artifacts: the generation's artifacts, whose ``finish_reason`` is read.
    """
    reason = _reason(artifacts)
    if reason in BY_REASON:
        return BY_REASON[reason]
    if isinstance(output, str) and reason != "tool_calls" and not output.strip():
        return EMPTY
    return None


def refusal_in(artifacts: Any) -> str | None:
    """Return why an answer with these artifacts is none, where the model refused."""
    ending = BY_REASON.get(_reason(artifacts))
    return ending.message if ending is not None and ending.category == REFUSED.category else None


def _reason(artifacts: Any) -> str:
    reason = artifacts.get("finish_reason") if isinstance(artifacts, dict) else None
    return reason if isinstance(reason, str) else ""
