"""Endings of answers that did not end normally: refused, truncated or empty.

These are results, not outages: they are stored and reported. An ending is read from the finish
reason that an adapter recorded and from an empty output; the words of an answer are never
interpreted as a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Ending(NamedTuple):
    """How an answer ended, if not normally."""

    category: str
    """Name in results: "refused", "truncated" or "empty"."""
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
    """Return an answer's ending; None for a normal one.

    Args:
        output: the final output. None, and blank text, is an empty answer, unless the model called
            tools.
        artifacts: the generation's artifacts, whose ``finish_reason`` is read.
    """
    reason = _reason(artifacts)
    if reason in BY_REASON:
        return BY_REASON[reason]
    is_blank = output is None or (isinstance(output, str) and not output.strip())
    if is_blank and reason != "tool_calls":
        return EMPTY
    return None


def refusal_in(artifacts: Any) -> str | None:
    """Return the message of a refusal, by an answer's artifacts; None if the model answered."""
    ending = BY_REASON.get(_reason(artifacts))
    return ending.message if ending is not None and ending.category == REFUSED.category else None


def note_in(artifacts: Any) -> str | None:
    """Return what an adapter says of an answer that the run should tell, under ``note``."""
    note = artifacts.get("note") if isinstance(artifacts, dict) else None
    return note if isinstance(note, str) and note else None


def _reason(artifacts: Any) -> str:
    reason = artifacts.get("finish_reason") if isinstance(artifacts, dict) else None
    return reason if isinstance(reason, str) else ""
