"""Sums of floats without rounding, so that a fold gives the same number in any order.

Every finite float is a whole multiple of 2**-1074; its sum is kept as that whole number and rounded
once, when it is read. It refuses nothing and knows nothing of metrics.
"""

from __future__ import annotations

from functools import lru_cache

_BITS = 1074
"""The smallest positive float is 2**-1074 (IEEE 754 binary64)."""
_APART = 256
"""Different values that are counted before they are summed."""


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
        """Take one value, as ``scaled`` gives it."""
        self.count += 1
        # Most scores are of a few values: counting them spares squaring long numbers.
        seen = self._seen
        seen[units] = seen.get(units, 0) + 1
        if len(seen) >= _APART:
            self._settle()

    def _settle(self) -> None:
        for units, count in self._seen.items():
            self._total += units * count
            self._squares += units * units * count
        self._seen.clear()

    @property
    def mean(self) -> float | None:
        """The mean, rounded once; None of nothing."""
        self._settle()
        return mean_of(self._total, self.count) if self.count else None

    @property
    def variance(self) -> float | None:
        """Sample variance (n - 1), rounded once; None of fewer than two, or beyond floats."""
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
        """Take one value."""
        self._units += scaled(value)

    @property
    def value(self) -> float:
        """The sum, rounded once; 0 of nothing."""
        return mean_of(self._units, 1)


class Durations:
    """Sum of durations, kept in whole nanoseconds: finer than any clock that is read here."""

    __slots__ = ("_nanoseconds",)

    def __init__(self) -> None:
        self._nanoseconds = 0

    def add(self, ms: float, times: int = 1) -> None:
        """Take a duration in milliseconds, as often as it came."""
        self._nanoseconds += round(ms * 1e6) * times

    def merge(self, other: Durations) -> None:
        """Take all that another has taken."""
        self._nanoseconds += other._nanoseconds

    @property
    def ms(self) -> float:
        """The sum in milliseconds."""
        return self._nanoseconds / 1e6
