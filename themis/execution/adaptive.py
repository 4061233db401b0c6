"""How many calls an endpoint is given at once, learned from what it does.

It starts low, doubles while the endpoint keeps up, halves the distance to what was refused, and
then stays, probing rarely. It knows of numbers only: who waits and who is called is not its
business.
"""

from __future__ import annotations

FIRST = 8
"""Calls at once to begin with."""
_PROBE_AFTER = 32
_PROBE_SELDOM = 1024


class AdaptiveConcurrency:
    """The number of calls that may be under way at one endpoint.

    A *round* is as many answers as the limit allows calls, all of calls begun since it was set,
    with the limit reached in between. After a clean round the limit grows; a refusal (429 or 503)
    lowers it, once for all calls that were under way together.

    Args:
        cap: calls at once at most.

    Attributes:
        limit: calls at once now.
        epoch: counts the changes of the limit; a call belongs to the epoch it began in.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = min(cap, FIRST)
        self.epoch = 0
        self._good = 0
        """The most that survived a round."""
        self._refused_at: int | None = None
        """The least that was refused; None before the first refusal."""
        self._answers = 0
        self._reached = False
        self._quiet = 0
        """Clean rounds since the limit was settled."""
        self._probe_after = _PROBE_AFTER
        self._stride = 1

    def began(self, in_flight: int) -> None:
        """Take note of a call that began, ``in_flight`` being under way with it."""
        if in_flight >= self.limit:
            self._reached = True

    def answered(self, epoch: int) -> None:
        """Take note of a call that was not refused."""
        if epoch != self.epoch:
            return
        self._answers += 1
        if self._reached and self._answers >= self.limit:
            self._grow()

    def refused(self, epoch: int) -> None:
        """Take note of a call that was refused for too many."""
        if epoch != self.epoch:
            return  # it began under another limit, which was lowered already
        at = self.limit
        if at > self._good:
            was_probe = self._refused_at is not None and self._quiet >= self._probe_after
            self._refused_at = at
            if was_probe:
                self._probe_after = min(2 * self._probe_after, _PROBE_SELDOM)
        else:  # what it bore before it bears no more
            self._refused_at = at
            self._good = at // 2
        self._quiet, self._stride = 0, 1
        self._set(max(1, (self._good + at) // 2))

    def _grow(self) -> None:
        """Go on after a clean round."""
        self._good = max(self._good, self.limit)
        bound = self._refused_at
        if bound is not None and self._good >= bound:  # a probe found more room
            self._quiet, self._probe_after = 0, _PROBE_AFTER
            self._stride *= 2
            bound = self._refused_at = self._good + self._stride + 1
            if self._good + self._stride >= self.cap:
                bound = self._refused_at = None
        if bound is None:
            self._set(min(2 * self.limit, self.cap))
        elif bound - self._good > 1:
            self._set(min((self._good + bound) // 2, self.cap))
        else:
            self._quiet += 1
            probing = self._quiet >= self._probe_after and self._good < self.cap
            self._set(self._good + 1 if probing else self._good)

    def _set(self, limit: int) -> None:
        if limit != self.limit:
            self.limit = limit
            self.epoch += 1
        self._answers, self._reached = 0, False
