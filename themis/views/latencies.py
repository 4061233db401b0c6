"""Many durations in little memory, and their percentiles.

Latencies go into buckets that grow by a fixed ratio, so that memory stays small however many steps
there are, and neither the order of cases nor the way they were split up matters; a percentile is
then right to within one percent. It knows no events.
"""

from __future__ import annotations

import math

from themis.views.exact import Durations

_RATIO = 1.02
_LOG_RATIO = math.log(_RATIO)
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Latencies:
    """How long many steps took, in bounded memory.

    ``count`` is how many, ``least`` and ``greatest`` are exact, in milliseconds.

    Buckets at powers of a ratio, as in DDSketch (Masson, Rim and Lee, VLDB 2019): with a ratio of
    1.02 any quantile is within one percent of the value that stands at its rank.
    """

    __slots__ = ("_buckets", "_sum", "count", "greatest", "least")

    def __init__(self) -> None:
        self._buckets: dict[int | None, int] = {}
        self._sum = Durations()
        self.count = 0
        self.least = math.inf
        self.greatest = -math.inf

    def add(self, ms: float) -> None:
        """Take one duration in milliseconds."""
        bucket = math.ceil(math.log(ms) / _LOG_RATIO) if ms > 0 else None
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._sum.add(ms)
        self.count += 1
        # Two branches, not min() and max(): this is asked of every step of a run.
        if ms < self.least:  # noqa: PLR1730
            self.least = ms
        if ms > self.greatest:  # noqa: PLR1730
            self.greatest = ms

    def merge(self, other: Latencies) -> None:
        """Take all that another has taken; the result is that of one which took both."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._sum.merge(other._sum)
        self.count += other.count
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)

    @property
    def sum_ms(self) -> float:
        """Their sum."""
        return self._sum.ms

    def quantile(self, share: float) -> float | None:
        """Return the duration in milliseconds at a share of the ranks, from 0 to 1.

        The nearest-rank definition: the least value that is no less than ``share`` of all.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank == 1:
            return self.least
        if rank == self.count:
            return self.greatest
        seen = 0
        for bucket in sorted(self._buckets, key=lambda one: -math.inf if one is None else one):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle = 0.0 if bucket is None else 2.0 * _RATIO**bucket / (1.0 + _RATIO)
                return min(max(middle, self.least), self.greatest)
        return self.greatest

    def figures(self) -> dict[str, float]:
        """Return p50, p90, p99 and max in milliseconds; nothing of nothing."""
        found = {name: self.quantile(share) for name, share in _SHARES.items()}
        return {name: round(value, 3) for name, value in found.items() if value is not None}
