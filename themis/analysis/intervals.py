"""Confidence intervals of a metric's mean over cases.

An interval is about other cases drawn like these, so the observations are cases: the samples of one
case are a cluster, not independent observations. Errors, and cases that were not reached, are
outside the mean and its interval; a summary's bounds show how far they could move the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from themis.core.errors import DefinitionError
from themis.core.results import MetricSummary

LEVEL = 0.95


def mean_interval(summary: MetricSummary, level: float = LEVEL) -> tuple[float, float, str] | None:
    """Return a confidence interval of a metric's mean, and the name of its method.

    If every case's score is 0 or 1, as for a binary metric or k of k samples, Wilson's score
    interval: it keeps its level for few cases and for shares near 0 and 1, where the usual interval
    fails. Otherwise Student's t over the cases' scores, each the mean of its samples' (the
    clustered standard error for clusters of one weight; Miller, "Adding error bars to evals", 2024,
    section 2.2), cut off at the value range.

    Args:
        summary: the metric over a run.
        level: the share of such intervals that would contain the true mean, between 0 and 1.

    Returns:
        Low, high and "wilson" or "t". None if no case was scored, or if the scores are not all 0 or
        1 and there is only one or all are equal: Student's interval would then have length 0.

    Raises:
        DefinitionError: ``level`` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise DefinitionError(f"level = {level!r}: must lie between 0 and 1", field="level")
    mean, count = summary.mean, summary.n_cases_scored
    if mean is None or count < 1:
        return None
    is_share = summary.kind == "binary" or summary.zero_or_one
    if is_share and _all_zero_or_one(mean, summary.variance, count):
        return (*wilson(round(mean * count), count, level), "wilson")
    if not summary.variance:
        return None
    low, high = student_t(mean, summary.variance, count, level)
    if summary.value_range is not None:
        least, greatest = summary.value_range
        low, high = max(low, least), min(high, greatest)
    return low, high, "t"


def wilson(successes: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, without continuity correction.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212; recommended by Brown, Cai and DasGupta, Statistical Science 16 (2001).

    Args:
        successes: cases with score 1.
        count: number of cases, at least one.
        level: confidence level.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share = successes / count
    weight = 1.0 + z * z / count
    centre = (share + z * z / (2.0 * count)) / weight
    half = z / weight * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count))
    # At the ends the formula gives 0 and 1 exactly; rounding does not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == count else min(1.0, centre + half)
    return low, high


def student_t(
    mean: float, variance: float, count: int, level: float = LEVEL
) -> tuple[float, float]:
    """Return Student's interval of a mean: mean ± t(n - 1) * sqrt(variance / n).

    Source: "Student", "The probable error of a mean", Biometrika 6 (1908), 1-25.

    Args:
        mean: mean of the cases' scores.
        variance: their sample variance (n - 1), above zero.
        count: number of cases, at least two.
        level: confidence level.
    """
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, 0.5 + level / 2.0)) * math.sqrt(variance / count)
    return mean - half, mean + half


def summarize(summaries: Iterable[MetricSummary]) -> list[MetricSummary]:
    """Return the summaries with their 95 percent intervals filled in."""
    return [_with_interval(summary) for summary in summaries]


def _with_interval(summary: MetricSummary) -> MetricSummary:
    found = mean_interval(summary)
    if found is None:
        return summary.model_copy(update={"interval": None, "interval_method": None})
    low, high, method = found
    return summary.model_copy(update={"interval": [low, high], "interval_method": method})


def _all_zero_or_one(mean: float, variance: float | None, count: int) -> bool:
    """Return whether the cases' scores, which lie in [0, 1], are all 0 or 1.

    Only then is their variance the greatest possible for their mean: the mean of x - x² is zero.
    """
    if variance is None:
        return mean in (0.0, 1.0)
    return math.isclose(variance * (count - 1), count * mean * (1.0 - mean), abs_tol=1e-9)
