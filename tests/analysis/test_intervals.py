"""Intervals against other implementations and published values.

Covers: themis.analysis, themis.analysis.intervals
"""

from __future__ import annotations

import math
import subprocess
import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from themis.analysis.intervals import mean_interval, student_t, summarize, wilson
from themis.core.errors import DefinitionError
from themis.core.results import MetricSummary


def summary(**fields: Any) -> MetricSummary:
    given = {"metric_id": "m", "n_errors": 0, "n_unparsed": 0, **fields}
    given.setdefault("n_cases_scored", given["n_cases"])
    given.setdefault("n_scored", given["n_cases_scored"])
    return MetricSummary(**given)


def of_scores(scores: list[float], **fields: Any) -> MetricSummary:
    count = len(scores)
    mean = math.fsum(scores) / count
    variance = math.fsum((one - mean) ** 2 for one in scores) / (count - 1) if count > 1 else None
    return summary(mean=mean, variance=variance, n_cases=count, **fields)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@given(st.integers(1, 2000), st.data())
def test_wilson_is_scipys(level: float, count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    theirs = stats.binomtest(successes, count).proportion_ci(level, method="wilson")
    assert wilson(successes, count, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_gives_the_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for successes, count, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(successes, count) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_t_is_scipys(scores: list[float]) -> None:
    given = of_scores(scores)
    assert given.variance is not None
    assert given.mean is not None
    if given.variance < 1e-12:
        return
    low, high = student_t(given.mean, given.variance, len(scores))
    error = math.sqrt(given.variance / len(scores))
    theirs = stats.t.interval(0.95, len(scores) - 1, loc=given.mean, scale=error)
    assert (low, high) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_zeros_and_ones_of_a_binary_metric_take_wilson() -> None:
    found = mean_interval(of_scores([1.0] * 7 + [0.0] * 3, kind="binary"))
    assert found == (*wilson(7, 10), "wilson")


def test_ten_of_ten_is_not_certainty() -> None:
    found = mean_interval(of_scores([1.0] * 10, kind="binary", value_range=[0.0, 1.0]))
    assert found is not None
    assert found[0] == pytest.approx(0.7225, abs=1e-4)
    assert found[1] == 1.0


def test_one_binary_case_has_an_interval_and_one_value_has_none() -> None:
    found = mean_interval(of_scores([1.0], kind="binary"))
    assert found is not None
    assert found[2] == "wilson"
    assert mean_interval(of_scores([0.5], kind="value")) is None
    assert mean_interval(of_scores([0.5], kind="binary", n_scored=2)) is None


def test_cases_of_several_samples_are_clusters() -> None:
    given = of_scores([0.25, 0.75, 1.0, 0.5], kind="binary", n_scored=16, value_range=[0.0, 1.0])
    found = mean_interval(given)
    assert found is not None
    assert found[2] == "t"
    assert 0.0 <= found[0] < 0.625 < found[1] <= 1.0


def test_samples_that_always_agree_within_their_case_take_wilson_over_cases() -> None:
    found = mean_interval(of_scores([1.0] * 5, kind="binary", n_scored=20))
    assert found == (*wilson(5, 5), "wilson")


def test_t_is_cut_off_at_the_range() -> None:
    given = of_scores([0.0, 1.0, 1.0], kind="value", value_range=[0.0, 1.0])
    found = mean_interval(given)
    assert found is not None
    assert (found[0], found[1]) == (0.0, 1.0)


def test_nothing_scored_has_no_interval() -> None:
    given = summary(mean=None, n_cases=0)
    assert mean_interval(given) is None
    assert summarize([given])[0].interval is None


@pytest.mark.parametrize("scores", [[1.0, 1.0], [0.5] * 3, [0.0] * 40])
def test_equal_scores_of_a_value_metric_have_no_interval(scores: list[float]) -> None:
    given = of_scores(scores, kind="value", value_range=[0.0, 1.0])
    assert mean_interval(given) is None
    (found,) = summarize([given])
    assert (found.interval, found.interval_method) == (None, None)


def test_cases_of_a_binary_metric_that_are_all_one_half_have_no_interval() -> None:
    assert mean_interval(of_scores([0.5] * 3, kind="binary", n_scored=6)) is None


def test_only_scored_cases_are_counted() -> None:
    given = summary(mean=1.0, variance=0.0, n_cases=200, n_cases_scored=5, kind="binary")
    assert mean_interval(given) == (*wilson(5, 5), "wilson")


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_certainty_and_none_are_no_levels(level: float) -> None:
    with pytest.raises(DefinitionError, match="between 0 and 1"):
        mean_interval(summary(kind="binary", mean=0.5, n_cases=4, variance=1 / 3), level)


def test_wilsons_ends_are_exactly_nothing_and_all() -> None:
    for count in range(1, 400):
        assert wilson(0, count)[0] == 0.0
        assert wilson(count, count)[1] == 1.0


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match="between 0 and 1"):
        mean_interval(summary(mean=0.5, n_cases=4), 95)


def test_summarize_fills_in_interval_and_method() -> None:
    (found,) = summarize([of_scores([0.1, 0.4, 0.3])])
    assert found.interval_method == "t"
    assert found.interval is not None
    assert found.interval[0] < 0.8 / 3 < found.interval[1]


def test_importing_intervals_loads_neither_numpy_nor_scipy() -> None:
    code = (
        "import sys, themis.analysis.intervals, themis.analysis.tables\n"
        "assert 'numpy' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pass_at_k_of_k_samples_takes_wilson_and_holds_its_level() -> None:
    """Thirty cases that are solved with probability 0.95; Student's t would cover 78 percent."""
    random = Random(7)
    covered = 0
    for _ in range(2000):
        solved = sum(random.random() < 0.95 for _ in range(30))
        mean = solved / 30
        found = mean_interval(
            MetricSummary(
                metric_id="pass@4",
                mean=mean,
                n_cases=30,
                n_cases_scored=30,
                n_scored=30,
                n_errors=0,
                n_unparsed=0,
                variance=mean * (1 - mean) * 30 / 29,
                value_range=[0.0, 1.0],
                zero_or_one=True,
            )
        )
        assert found is not None
        low, high, method = found
        assert method == "wilson"
        covered += low <= 0.95 <= high
    assert 0.92 < covered / 2000 < 1.0
