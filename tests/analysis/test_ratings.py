"""Ratings are those of maximum likelihood, and refused where there are none.

Covers: themis.analysis.ratings
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from themis.analysis.ratings import Comparison, bradley_terry
from themis.core.errors import DefinitionError

MATCHES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=6,
    max_size=60,
)


def ratings_of(comparisons: list[Comparison]) -> dict[object, float]:
    return {one.player: one.rating for one in bradley_terry(comparisons, resamples=0)}


@settings(max_examples=30)
@given(MATCHES)
def test_ratings_are_those_of_a_logistic_regression_by_statsmodels(
    matches: list[tuple[int, int, float]],
) -> None:
    comparisons = [Comparison(*match) for match in matches if match[0] != match[1]]
    try:
        found = ratings_of(comparisons)
    except DefinitionError:
        assume(False)
    assume(len(found) > 1)
    players = sorted(found)  # type: ignore[type-var]
    # Fitted with the last player at 0: differences are what the model knows.
    design = np.zeros((len(comparisons), len(players)))
    for row, one in enumerate(comparisons):
        design[row, players.index(one.first)] += 1
        design[row, players.index(one.second)] -= 1
    fit = sm.GLM(
        [one.score for one in comparisons], design[:, :-1], family=sm.families.Binomial()
    ).fit(tol=1e-12, maxiter=200)
    wanted = np.append(fit.params, 0.0)
    wanted -= wanted.mean()
    assert [found[player] for player in players] == pytest.approx(list(wanted), abs=1e-5)


def test_of_two_players_the_difference_is_the_log_odds() -> None:
    found = ratings_of([Comparison("a", "b", 1.0)] * 3 + [Comparison("b", "a", 1.0)])
    assert found["a"] - found["b"] == pytest.approx(np.log(3))
    assert sum(found.values()) == pytest.approx(0)


def test_ties_are_half_a_win_for_each() -> None:
    tied = ratings_of([Comparison("a", "b", 0.5), Comparison("a", "b", 0.5)])
    split = ratings_of([Comparison("a", "b", 1.0), Comparison("a", "b", 0.0)])
    assert tied == split == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "a", "b"]])
def test_the_strongest_come_first_with_their_counts(names: list[str]) -> None:
    best, middle, worst = names
    comparisons = [
        *[Comparison(best, middle, 1.0)] * 3, Comparison(best, middle, 0.0),
        *[Comparison(middle, worst, 1.0)] * 3, Comparison(middle, worst, 0.5),
    ]  # fmt: skip
    found = bradley_terry(comparisons, resamples=0)
    assert [one.player for one in found] == names
    assert [(one.wins, one.comparisons) for one in found] == [(3, 4), (4.5, 8), (0.5, 4)]


@pytest.mark.parametrize(
    "comparisons",
    [
        [Comparison("a", "b", 1.0)],
        [Comparison("a", "b", 0.5), Comparison("c", "d", 0.5)],
        [Comparison("a", "b", 0.5), Comparison("a", "c", 1.0), Comparison("b", "c", 1.0)],
    ],
    ids=["one lost all", "two islands", "one lost to both"],
)
def test_where_ratings_would_be_infinite_there_are_none(comparisons: list[Comparison]) -> None:
    with pytest.raises(DefinitionError, match="no finite ratings: "):
        bradley_terry(comparisons)


def test_intervals_are_over_cases_and_not_over_comparisons() -> None:
    draw = random.Random(5)
    scores = [(case, draw.choice([0.0, 0.5, 1.0, 1.0])) for case in range(40)]
    once = [Comparison("a", "b", score, case) for case, score in scores]
    ten_times = [one for one in once for _ in range(10)]
    alone = [one._replace(case=None) for one in ten_times]

    def width(comparisons: list[Comparison]) -> float:
        interval = bradley_terry(comparisons, resamples=400)[0].interval
        assert interval is not None
        return interval[1] - interval[0]

    assert width(ten_times) == pytest.approx(width(once), rel=1e-6)
    assert width(alone) < width(once) / 2


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    truth = np.array([0.8, 0.0, -0.8])
    held = []
    for _ in range(25):
        comparisons = []
        for case in range(50):
            for first, second in itertools.combinations(range(3), 2):
                chance = 1 / (1 + np.exp(truth[second] - truth[first]))
                comparisons.append(Comparison(first, second, float(draw.random() < chance), case))
        for one in bradley_terry(comparisons, resamples=100):
            assert one.interval is not None
            held.append(one.interval[0] <= truth[one.player] <= one.interval[1])
    assert 0.88 <= np.mean(held) <= 1.0


def test_the_same_comparisons_have_the_same_intervals() -> None:
    comparisons = [Comparison("a", "b", score, case) for case, score in enumerate([1, 0, 1, 0.5])]
    assert bradley_terry(comparisons) == bradley_terry(comparisons)
    assert bradley_terry([]) == []


def test_few_cases_that_leave_most_resamples_without_ratings_have_no_interval() -> None:
    comparisons = [Comparison("a", "b", 1.0, 1), Comparison("a", "b", 0.0, 2)]
    found = bradley_terry(
        [*comparisons, Comparison("a", "c", 1.0, 3), Comparison("c", "a", 1.0, 4)]
    )
    assert [one.interval for one in found] == [None] * 3


@pytest.mark.parametrize("one", [("a", "b", 2.0), ("a", "b", float("nan")), ("a", "a", 1.0)])
def test_what_is_no_comparison_is_refused(one: tuple[str, str, float]) -> None:
    with pytest.raises(DefinitionError, match="a comparison is of two players"):
        bradley_terry([Comparison(*one)])


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match="level = 2"):
        bradley_terry([Comparison("a", "b", 0.5)], level=2)
