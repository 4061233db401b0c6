"""Adaptive concurrency: how many calls an endpoint gets at once, learned from its answers.

The limit begins low and grows by one for each answer while the endpoint keeps up, so that it
doubles in each round. A refusal lowers it below the refused number of calls, where it stays, with
rare attempts to raise it.

Not every refusal is caused by the number of calls. A refusal at a number of calls that was answered
before is ignored, unless a large share of all calls is refused: then the limit is lowered step by
step.
"""

from __future__ import annotations

from typing import Literal

FIRST = 8
"""Calls at once in the beginning."""
_PROBE_AFTER = 32
_PROBE_SELDOM = 1024
_DOUBTS = 2
"""Refusals in a row, above the greatest answered place, after which the limit is lowered."""
_LEAST_FAILED = 5
_SHARE_FAILED = 0.3

Growth = Literal["by answers", "by rounds", "by probes"]


class AdaptiveConcurrency:
    """The number of calls that may be in flight at one endpoint.

    A call's *place* is the number of calls in flight when it began, itself included and calls that
    are refused later not counted.

    Args:
        cap: the greatest limit.

    Attributes:
        limit: calls that may be in flight now.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = min(cap, FIRST)
        self._growth: Growth = "by answers"
        self._proven = 0
        """The highest place that was answered since the limit was last lowered."""
        self._doubted: int | None = None
        """The lowest refused place above ``_proven``, until a call in that place is answered."""
        self._doubts = 0
        self._reached = False
        """Whether the limit was reached since it was last set."""
        self._answers = 0
        self._quiet = 0
        """Rounds since the limit was last lowered; a round is as many answers as the limit."""
        self._probe_after = _PROBE_AFTER
        self._is_probing = False
        self._seen = 0
        self._failed = 0
        """Recent calls that the endpoint refused or left unanswered."""

    def began(self, place: int) -> None:
        """Record that a call began."""
        if place >= self.limit:
            self._reached = True

    def answered(self, place: int) -> None:
        """Record that a call was answered."""
        self._see(failed=False)
        self._proven = max(self._proven, place)
        if self._doubted is not None:
            if place < self._doubted:
                return  # no growth while a place is in doubt
            self._doubted, self._doubts = None, 0
        if not self._reached:
            return
        if self._growth == "by answers":
            self._set(self.limit + 1)
            return
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            self._end_round()

    def refused(self, place: int) -> bool:
        """Record that a call was refused; return whether refusals have a cause besides concurrency.

        They have if a large share of all calls is refused, in places that were answered before.
        """
        self._see(failed=True)
        if place > self._proven:
            self._doubted = min(place, self._doubted or place)
            self._doubts += 1
            if self._doubts >= _DOUBTS:
                self._fall_below(self._doubted)
            return False
        return self._cut_if_many_failed()

    def overwhelmed(self) -> None:
        """Record that a call got no answer, such as a dropped connection or a timeout."""
        self._see(failed=True)
        self._cut_if_many_failed()

    def _end_round(self) -> None:
        if self._growth == "by rounds":
            self._set(self.limit + 1)
            return
        self._quiet += 1
        if self._is_probing:  # the endpoint bears more than before
            self._is_probing, self._probe_after = False, _PROBE_AFTER
            self._growth = "by answers"
        elif self._quiet >= self._probe_after and self.limit < self.cap:
            self._is_probing = True
            self._set(self.limit + 1)

    def _fall_below(self, place: int) -> None:
        """Lower the limit below a refused place, by a quarter at most, and then grow again."""
        if self._is_probing:
            self._probe_after = min(2 * self._probe_after, _PROBE_SELDOM)
        self._is_probing, self._quiet = False, 0
        least = self.limit * 3 // 4
        self._growth = "by probes" if place - 1 >= least else "by rounds"
        self._set(max(1, least, place - 1))

    def _cut_if_many_failed(self) -> bool:
        enough = max(_LEAST_FAILED, self.limit // 4)
        if self._failed < enough or self._failed < _SHARE_FAILED * self._seen:
            return False
        self._growth, self._is_probing = "by rounds", False
        self._set(max(1, self.limit * 3 // 4))
        self._proven = self.limit
        return True

    def _see(self, *, failed: bool) -> None:
        if self._seen >= max(4 * _LEAST_FAILED, 2 * self.limit):
            self._seen = self._failed = 0
        self._seen += 1
        self._failed += failed

    def _set(self, limit: int) -> None:
        if limit < self.limit:
            self._seen = self._failed = 0
        self.limit = min(limit, self.cap)
        self._doubted, self._doubts = None, 0
        self._reached, self._answers = False, 0
