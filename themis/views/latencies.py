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
_APART = 1024
"""Values that are counted one by one before they go into buckets: most runs have some often."""
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Latencies:
    """How long many steps took, in bounded memory.

    Buckets at powers of a ratio, as in DDSketch (Masson, Rim and Lee, VLDB 2019): with a ratio of
    1.02 any quantile is within one percent of the value that stands at its rank.
    """

    __slots__ = ("_buckets", "_count", "_greatest", "_least", "_seen", "_sum")

    def __init__(self) -> None:
        self._seen: dict[float, int] = {}
        self._buckets: dict[int | None, int] = {}
        self._sum = Durations()
        self._count = 0
        self._least = math.inf
        self._greatest = -math.inf

    def add(self, ms: float) -> None:
        """Take one duration in milliseconds."""
        seen = self._seen
        seen[ms] = seen.get(ms, 0) + 1
        if len(seen) >= _APART:
            self._settle()

    def _settle(self) -> None:
        """Put what was counted apart into the buckets."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        for ms, count in seen.items():
            bucket = math.ceil(math.log(ms) / _LOG_RATIO) if ms > 0 else None
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
            self._sum.add(ms, count)
            self._count += count
        self._least = min(self._least, *seen)
        self._greatest = max(self._greatest, *seen)

    def merge(self, other: Latencies) -> None:
        """Take all that another has taken; the result is that of one which took both."""
        self._settle()
        other._settle()
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._sum.merge(other._sum)
        self._count += other._count
        self._least = min(self._least, other._least)
        self._greatest = max(self._greatest, other._greatest)

    @property
    def count(self) -> int:
        """How many there are."""
        self._settle()
        return self._count

    @property
    def least(self) -> float:
        """The shortest, in milliseconds, exactly; infinite of nothing."""
        self._settle()
        return self._least

    @property
    def greatest(self) -> float:
        """The longest, in milliseconds, exactly; minus infinity of nothing."""
        self._settle()
        return self._greatest

    @property
    def sum_ms(self) -> float:
        """Their sum."""
        self._settle()
        return self._sum.ms

    def quantile(self, share: float) -> float | None:
        """Return the duration in milliseconds at a share of the ranks, from 0 to 1.

        The nearest-rank definition: the least value that is no less than ``share`` of all.
        """
        count = self.count
        if not count:
            return None
        rank = max(1, math.ceil(share * count))
        if rank == 1:
            return self._least
        if rank == count:
            return self._greatest
        seen = 0
        for bucket in sorted(self._buckets, key=lambda one: -math.inf if one is None else one):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle = 0.0 if bucket is None else 2.0 * _RATIO**bucket / (1.0 + _RATIO)
                return min(max(middle, self._least), self._greatest)
        return self._greatest

    def figures(self) -> dict[str, float]:
        """Return p50, p90, p99 and max in milliseconds; nothing of nothing."""
        found = {name: self.quantile(share) for name, share in _SHARES.items()}
        return {name: round(value, 3) for name, value in found.items() if value is not None}
