"""How many calls an endpoint is given at once, learned from what it does.

It begins low, gives one more for each answer while the endpoint keeps up (which doubles the number
in a round), falls below what was refused, and then stays there, probing rarely. It knows of numbers
only: who waits and who is called is not its business.

Not every refusal is about the number of calls: one that hits a call begun among no more than others
that were answered says nothing of it. Only where a good part of all calls fails is the number
lowered nevertheless, step by step.
"""

from __future__ import annotations

from typing import Literal

FIRST = 8
"""Calls at once to begin with."""
_PROBE_AFTER = 32
_PROBE_SELDOM = 1024
_DOUBTS = 2
"""Refusals above what was ever answered, without an answer there in between, that are believed."""
_LEAST_FAILED = 5
_SHARE_FAILED = 0.3

Growth = Literal["by answers", "by rounds", "by probes"]


class AdaptiveConcurrency:
    """The number of calls that may be under way at one endpoint.

    A call's *place* is the number of calls that the endpoint was bearing when it began, itself
    included: those that it was to refuse do not count.

    Args:
        cap: calls at once at most.

    Attributes:
        limit: calls at once now.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = min(cap, FIRST)
        self._growth: Growth = "by answers"
        self._proven = 0
        """The highest place that was answered since the limit was last cut."""
        self._doubted: int | None = None
        """The lowest place above it that was refused, until a call in that place is answered."""
        self._doubts = 0
        self._reached = False
        """Whether as many calls as allowed were under way since the limit was last set."""
        self._answers = 0
        self._quiet = 0
        """Rounds gone by since the limit was settled: as many answers as it allows."""
        self._probe_after = _PROBE_AFTER
        self._is_probing = False
        self._seen = 0
        self._failed = 0
        """Of the calls seen lately, those that the endpoint did not bear."""

    def began(self, place: int) -> None:
        """Take note of a call that began."""
        if place >= self.limit:
            self._reached = True

    def answered(self, place: int) -> None:
        """Take note of a call that was answered."""
        self._see(failed=False)
        self._proven = max(self._proven, place)
        if self._doubted is not None:
            if place < self._doubted:
                return  # no growth while it is in doubt
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
        """Take note of a call that was refused; return whether refusals are about more than number.

        They are where a good part of all calls is refused, in places that were answered before.
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
        """Take note of a call that the endpoint lost or left unanswered."""
        self._see(failed=True)
        self._cut_if_many_failed()

    def _end_round(self) -> None:
        if self._growth == "by rounds":
            self._set(self.limit + 1)
            return
        self._quiet += 1
        if self._is_probing:  # there is more room than there was
            self._is_probing, self._probe_after = False, _PROBE_AFTER
            self._growth = "by answers"
        elif self._quiet >= self._probe_after and self.limit < self.cap:
            self._is_probing = True
            self._set(self.limit + 1)

    def _fall_below(self, place: int) -> None:
        """Settle below a place that is refused; by a quarter at most, and growing again if so."""
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
