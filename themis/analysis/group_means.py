"""The mean over groups, each counted alike: over datasets, the macro average.

The mean over all cases counts a group by its cases; it is the run's own and is not made here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from themis.analysis.intervals import LEVEL
from themis.core.results import MetricSummary

_SEVERAL = 2


class MeanOfGroups(NamedTuple):
    """A metric's mean over groups, each counted alike."""

    value: float | None
    """None where a group has no value."""
    n_groups: int
    standard_error: float | None
    """None where a group has none."""
    interval: list[float] | None
    """95 percent; None where the error is unknown or 0."""


def mean_of_groups(groups: Sequence[MetricSummary]) -> MeanOfGroups | None:
    """Return the mean of a metric's values by group; None of fewer than two groups.

    The groups hold different cases, so that their errors are independent: the standard error is the
    root of the summed squares by the number of groups (a stratified mean with equal weights;
    Cochran, "Sampling Techniques", 1977, section 5.3), the interval the normal one around the mean,
    cut off at the value range.
    """
    if len(groups) < _SEVERAL:
        return None
    count = len(groups)
    values = [one.value for one in groups if one.value is not None]
    if len(values) < count:
        return MeanOfGroups(None, count, None, None)
    mean = math.fsum(values) / count
    errors = [one.standard_error for one in groups if one.standard_error is not None]
    if len(errors) < count:
        return MeanOfGroups(mean, count, None, None)
    error = math.sqrt(math.fsum(one * one for one in errors)) / count
    return MeanOfGroups(mean, count, error, _interval(mean, error, groups[0].value_range))


def _interval(mean: float, error: float, value_range: list[float] | None) -> list[float] | None:
    if not error:
        return None
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2.0) * error
    low, high = mean - half, mean + half
    if value_range is not None:
        low, high = max(low, value_range[0]), min(high, value_range[1])
    return [low, high]
