"""The outcome of a pair of candidates that a judge compared in both orders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from themis.core.judging import ParsedJudgment

REFERENCE = "reference"
"""Stands for the case's expected output in a pair."""

SWAPPED = {"A": "B", "B": "A", "tie": "tie"}
"""The verdict that means the same when the two answers change places."""


class Pair(NamedTuple):
    """One comparison by one judge."""

    judge: str
    first: int | str
    """Position of the candidate among the case's candidates."""
    second: int | str
    """A later position, or the reference."""
    repeat: int = 0


class PairOutcome(NamedTuple):
    """One judge's verdicts on both orders of a pair; "A" is always the pair's first candidate."""

    straight: str
    """"A", "B" or "tie" where the pair's first was shown as A."""
    swapped: str
    """The verdict where the pair's second was shown as A."""

    @property
    def score(self) -> float:
        """1 if the first is preferred in both orders, 0 if the second is, else 0.5."""
        if self.straight != self.swapped:
            return 0.5
        return {"A": 1.0, "B": 0.0}.get(self.straight, 0.5)

    @property
    def is_flip(self) -> bool:
        """Whether the judge prefers another answer when the order changes."""
        return {self.straight, self.swapped} == {"A", "B"}

    @property
    def picked_first(self) -> int:
        """In how many of the two orders the answer shown first is preferred."""
        return (self.straight == "A") + (self.swapped == "B")

    @property
    def picked_second(self) -> int:
        """In how many of the two orders the answer shown second is preferred."""
        return (self.straight == "B") + (self.swapped == "A")


def pair_outcomes(judgments: Iterable[ParsedJudgment]) -> dict[Pair, PairOutcome]:
    """Return the outcome of each pair that was judged in both orders.

    Args:
        judgments: verdicts "A", "B" or "tie" whose details say which candidate was shown "first"
            and "second", and which "repeat" it is; others are ignored.
    """
    verdicts: dict[Pair, str] = {}
    for one in judgments:
        details: dict[str, Any] = one.details
        if {"first", "second"} <= details.keys() and one.verdict in SWAPPED:
            pair = Pair(one.judge, details["first"], details["second"], details.get("repeat", 0))
            verdicts[pair] = str(one.verdict)
    found = {}
    for pair, verdict in verdicts.items():
        back = verdicts.get(pair._replace(first=pair.second, second=pair.first))
        if back is not None and _stands_first(pair):
            found[pair] = PairOutcome(verdict, SWAPPED[back])
    return found


def _stands_first(pair: Pair) -> bool:
    """Return whether a pair's first candidate comes before its second."""
    if isinstance(pair.first, int) and isinstance(pair.second, int):
        return pair.first < pair.second
    return isinstance(pair.first, int)
