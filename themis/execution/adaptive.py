"""How many calls an endpoint is given at once, learned from what it does.

It begins low, gives one more for each answer while the endpoint keeps up (which doubles the number
in a round), falls below what was refused, and then stays there, probing rarely. It knows of numbers
only: who waits and who is called is not its business.
"""

from __future__ import annotations

FIRST = 8
"""Calls at once to begin with."""
_PROBE_AFTER = 32
_PROBE_SELDOM = 1024


class AdaptiveConcurrency:
    """The number of calls that may be under way at one endpoint.

    A call is known by the number of calls under way when it began, itself included: who refuses it
    (429, 503) bears fewer. What was refused together lowers the limit together, by a
    quarter at most: a refusal may be about the rate of calls, of which their number says nothing.

    Args:
        cap: calls at once at most.

    Attributes:
        limit: calls at once now.
        epoch: counts the times the limit fell; a call belongs to the epoch it began in.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = min(cap, FIRST)
        self.epoch = 0
        self._floor = 1
        """As far as calls of earlier epochs may lower the limit."""
        self._is_settled = False
        self._reached = False
        """Whether as many calls as allowed were under way since the limit was last set."""
        self._answers = 0
        self._quiet = 0
        """Rounds without a refusal since the limit was settled: as many answers as it allows."""
        self._probe_after = _PROBE_AFTER
        self._is_probing = False

    def began(self, in_flight: int) -> None:
        """Take note of a call that began, ``in_flight`` being under way with it."""
        if in_flight >= self.limit:
            self._reached = True

    def answered(self, epoch: int) -> None:
        """Take note of a call that was not refused."""
        if epoch != self.epoch or not self._reached:
            return
        if not self._is_settled:
            self._set(self.limit + 1)
            return
        self._answers += 1
        if self._answers < self.limit:
            return
        self._answers = 0
        self._quiet += 1
        if self._is_probing:  # there is more room than there was
            self._is_settled, self._is_probing, self._probe_after = False, False, _PROBE_AFTER
        elif self._quiet >= self._probe_after and self.limit < self.cap:
            self._is_probing = True
            self._set(self.limit + 1)

    def refused(self, epoch: int, in_flight: int) -> None:
        """Take note of a call that was refused for too many, begun as one of ``in_flight``."""
        if epoch == self.epoch:
            self._floor = max(1, self.limit * 3 // 4)
            self.epoch += 1
            if self._is_probing:
                self._probe_after = min(2 * self._probe_after, _PROBE_SELDOM)
            self._is_settled, self._is_probing = True, False
            self._quiet = 0
        self._set(max(self._floor, min(self.limit, in_flight - 1)))

    def _set(self, limit: int) -> None:
        self.limit = min(limit, self.cap)
        self._reached, self._answers = False, 0
