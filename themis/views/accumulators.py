"""Sums of floats without rounding, so that a fold gives the same number in any order.

Every finite float is a whole multiple of 2**-1074; its sum is kept as that whole number and rounded
once, when it is read.
"""

from __future__ import annotations

import math
from functools import lru_cache

_BITS = 1074
"""The smallest positive float is 2**-1074 (IEEE 754 binary64)."""
_VALUES_APART = 256
"""How many different values are counted before they are added to the sums."""


@lru_cache(maxsize=1024)
def scaled(value: float) -> int:
    """Return a finite float as a whole number of units of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_BITS - denominator.bit_length() + 1)


def mean_of(total: int, count: int) -> float:
    """Return the mean of ``count`` values whose scaled sum is ``total``, correctly rounded."""
    return total / (count << _BITS)


class Moments:
    """Count, sum and sum of squares of a stream of finite floats, all exact."""

    __slots__ = ("_seen", "_squares", "_total", "count")

    def __init__(self) -> None:
        self.count = 0
        self._seen: dict[int, int] = {}
        self._total = 0
        self._squares = 0

    def add(self, units: int) -> None:
        """Add one value, in the units that ``scaled`` returns."""
        self.count += 1
        # Most scores are of a few values: counting them spares squaring long numbers.
        seen = self._seen
        seen[units] = seen.get(units, 0) + 1
        if len(seen) >= _VALUES_APART:
            self._settle()

    def _settle(self) -> None:
        for units, count in self._seen.items():
            self._total += units * count
            self._squares += units * units * count
        self._seen.clear()

    @property
    def mean(self) -> float | None:
        """The mean, rounded once; None without values."""
        self._settle()
        return mean_of(self._total, self.count) if self.count else None

    @property
    def variance(self) -> float | None:
        """Sample variance (n - 1); None of fewer than two values, or too large for a float."""
        if self.count < 2:
            return None
        self._settle()
        spread = self._squares * self.count - self._total * self._total
        try:
            return spread / (self.count * (self.count - 1) << 2 * _BITS)
        except OverflowError:
            return None


class Total:
    """Sum of a stream of finite floats, exact."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = 0

    def add(self, value: float) -> None:
        """Add one value."""
        self._units += scaled(value)

    @property
    def value(self) -> float:
        """The sum, rounded once; 0 without values."""
        return mean_of(self._units, 1)


class Durations:
    """Sum of durations, kept in whole nanoseconds, so that adding them does not round."""

    __slots__ = ("_nanoseconds",)

    def __init__(self) -> None:
        self._nanoseconds = 0

    def add(self, ms: float, times: int = 1) -> None:
        """Add a duration in milliseconds, ``times`` times."""
        self._nanoseconds += round(ms * 1e6) * times

    def merge(self, other: Durations) -> None:
        """Add another sum of durations to this one."""
        self._nanoseconds += other._nanoseconds

    @property
    def ms(self) -> float:
        """The sum in milliseconds."""
        return self._nanoseconds / 1e6


_RATIO = 1.02
_LOG_RATIO = math.log(_RATIO)
_DURATIONS_APART = 1024
"""How many different durations are counted exactly before they go into buckets."""
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Latencies:
    """The distribution of steps' durations, in bounded memory.

    Buckets at powers of a ratio, as in DDSketch (Masson, Rim and Lee, VLDB 2019): with a ratio of
    1.02 any quantile is within one percent of the true value.
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
        """Add one duration in milliseconds."""
        seen = self._seen
        seen[ms] = seen.get(ms, 0) + 1
        if len(seen) >= _DURATIONS_APART:
            self._settle()

    def _settle(self) -> None:
        """Move the values that were counted exactly into the buckets."""
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
        """Add the durations of another object, as if they had been added here."""
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
        """Number of durations."""
        self._settle()
        return self._count

    @property
    def least(self) -> float:
        """The shortest duration in milliseconds, exact; infinity without durations."""
        self._settle()
        return self._least

    @property
    def greatest(self) -> float:
        """The longest duration in milliseconds, exact; minus infinity without durations."""
        self._settle()
        return self._greatest

    @property
    def sum_ms(self) -> float:
        """Sum of the durations in milliseconds."""
        self._settle()
        return self._sum.ms

    def quantile(self, share: float) -> float | None:
        """Return the quantile of a share from 0 to 1, in milliseconds; None without durations.

        Nearest-rank definition: the least duration that at least ``share`` of all do not exceed.
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
        """Return p50, p90, p99 and max in milliseconds; an empty dict without durations."""
        found = {name: self.quantile(share) for name, share in _SHARES.items()}
        return {name: round(value, 3) for name, value in found.items() if value is not None}
