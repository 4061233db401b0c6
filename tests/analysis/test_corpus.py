"""A value over a run, and its interval, are what resampling whole cases in their order gives.

Covers: themis.analysis.corpus, themis.views.statistics
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themis.analysis import corpus
from themis.analysis.corpus import Rows, corpus_value
from themis.views.statistics import CaseStatistics


def statistics(*rows: tuple[int, list[float]]) -> CaseStatistics:
    found = CaseStatistics()
    for case, numbers in rows:
        found.add(case, {"statistics": numbers})
    return found


def ratio(rows: Sequence[Sequence[float]]) -> float:
    return sum(row[0] for row in rows) / sum(row[1] for row in rows)


NUMBERS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 50), st.integers(1, 50)), min_size=2, max_size=12
)


@settings(deadline=None, max_examples=20)
@given(NUMBERS)
def test_sums_and_rows_give_one_value_and_one_interval(drawn: list[tuple[int, int, int]]) -> None:
    given_rows = statistics(*((case, [hit, of]) for case, hit, of in drawn))
    by_sums = corpus_value(ratio, given_rows, additive=True)
    by_rows = corpus_value(ratio, given_rows, additive=False)
    assert by_sums.value == by_rows.value == ratio([(hit, of) for _, hit, of in drawn])
    assert by_sums.interval == pytest.approx(by_rows.interval)
    assert by_sums.n_cases == len({case for case, _, _ in drawn})


def test_the_interval_is_that_of_cases_drawn_with_all_of_their_samples() -> None:
    drawn = statistics((0, [1, 2]), (0, [0, 1]), (1, [3, 3]), (2, [0, 4]), (2, [1, 1]))
    found = corpus_value(ratio, drawn, additive=False)
    by_case: list[list[tuple[int, int]]] = [[(1, 2), (0, 1)], [(3, 3)], [(0, 4), (1, 1)]]
    generator = numpy.random.default_rng(corpus.SEED)
    values = []
    for _ in range(corpus.RESAMPLES):
        chosen = generator.integers(3, size=3)
        values.append(ratio([row for case in chosen for row in by_case[case]]))
    assert found.interval == pytest.approx(list(numpy.quantile(values, [0.025, 0.975])))
    assert (found.n_cases, found.n_rows, found.resamples) == (3, 5, 1000)


def test_the_order_in_which_cases_came_does_not_change_the_last_bit() -> None:
    thirds = [(case, [1.0, (case % 7 + 1) / 3]) for case in range(200)]
    in_order = corpus_value(ratio, statistics(*thirds), additive=True)
    shuffled = corpus_value(ratio, statistics(*thirds[::-1]), additive=True)
    assert shuffled == in_order
    total = 0.0
    for _, (_, of) in thirds:
        total += of
    assert in_order.value == 200.0 / total


def test_the_interval_covers_a_share_that_is_known() -> None:
    generator = numpy.random.default_rng(1)
    covered = 0
    for _ in range(60):
        hits = (generator.random(150) < 0.3).astype(int).tolist()
        found = corpus_value(ratio, statistics(*enumerate([hit, 1] for hit in hits)), additive=True)
        assert found.interval is not None
        covered += found.interval[0] <= 0.3 <= found.interval[1]
    assert covered >= 51


@pytest.mark.parametrize("rows", [[(0, [1, 2])], [(0, [1, 2]), (1, [1, 2]), (2, [2, 4])]])
def test_nothing_that_varies_has_no_interval(rows: list[tuple[int, list[float]]]) -> None:
    found = corpus_value(ratio, statistics(*rows), additive=True)
    assert (found.value, found.interval, found.interval_method) == (0.5, None, None)


@pytest.mark.parametrize(
    ("given_rows", "aggregate", "said"),
    [
        ([], ratio, "no score has statistics"),
        ([(0, [1, 2]), (1, [1])], ratio, "statistics of 2 and of 1 numbers"),
        ([(0, [1, 0])], ratio, "ZeroDivisionError"),
        ([(0, [1, 1])], lambda rows: float("nan"), "no finite number"),
        ([(0, [1, 1])], lambda rows: None, "None, which is no finite number"),
        ([(0, [1, 1])], lambda rows: "0.5", "'0.5', which is no finite number"),
        ([(0, [1, 1])], lambda rows: True, "True, which is no finite number"),
        ([(0, [1, 1])], lambda rows: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_where_there_is_no_value_it_is_said_why(given_rows: Any, aggregate: Any, said: str) -> None:
    found = corpus_value(aggregate, statistics(*given_rows), additive=False)
    assert found.value is None
    assert said in str(found.failure)


def test_a_resample_without_a_value_costs_the_interval_only_and_it_is_said() -> None:
    rows = [(case, [1, 1 if case == 0 else 0]) for case in range(4)]  # most draws lack case 0
    found = corpus_value(ratio, statistics(*rows), additive=False)
    assert (found.value, found.failure, found.n_cases) == (4.0, None, 4)
    assert (found.interval, found.interval_method, found.resamples) == (None, None, None)
    assert "ZeroDivisionError" in str(found.interval_failure)


def test_very_many_cases_are_resampled_less_often_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpus, "_ADDITIONS", 300 * 50)
    many = statistics(*((case, [case % 2, 1]) for case in range(50)))
    assert corpus_value(ratio, many, additive=True).resamples == 300
    monkeypatch.setattr(corpus, "_ADDITIONS", 1)
    assert corpus_value(ratio, many, additive=True).resamples == corpus.LEAST_RESAMPLES


def test_the_interval_lies_at_the_percentiles_of_the_resamples_whatever_the_level() -> None:
    drawn = statistics(*((case, [case % 3, 2]) for case in range(30)))
    generator = numpy.random.default_rng(corpus.SEED)
    values = []
    for _ in range(corpus.RESAMPLES):
        values.append(sum(int(one) % 3 for one in generator.integers(30, size=30)) / 60)
    for level, ends in ((0.95, [0.025, 0.975]), (0.5, [0.25, 0.75])):
        found = corpus_value(ratio, drawn, additive=False, level=level)
        assert found.interval == pytest.approx(list(numpy.quantile(values, ends)))
        assert found.interval != pytest.approx([min(values), max(values)])


@pytest.mark.parametrize("answer", [True, "0.5", None, float("nan"), float("inf")])
def test_what_is_no_finite_number_is_no_value(answer: Any) -> None:
    found = corpus_value(lambda rows: answer, statistics((0, [1]), (1, [2])), additive=False)
    assert found.value is None
    assert "no finite number" in (found.failure or "")


def test_rows_are_a_sequence_and_an_array() -> None:
    rows = Rows(numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([1, 0, 1]))
    assert len(rows) == 3
    assert list(rows) == [(3.0, 4.0), (1.0, 2.0), (3.0, 4.0)]
    assert rows[0] == rows[-1] == (3.0, 4.0)
    assert list(rows[1:]) == [(1.0, 2.0), (3.0, 4.0)]
    assert numpy.asarray(rows).tolist() == [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(IndexError):
        rows[3]


def test_statistics_are_kept_in_eight_bytes_a_number() -> None:
    found = statistics(*((case, [1, 2.5, 3]) for case in range(1000)))
    assert (found.values.itemsize, len(found.values)) == (8, 3000)
    assert found.cases == array("q", range(1000))
    assert found.n_without == 0


def test_one_case_is_not_resampled_at_all() -> None:
    calls: list[int] = []

    def counted(rows: Sequence[Sequence[float]]) -> float:
        calls.append(len(rows))
        return ratio(rows)

    found = corpus_value(counted, statistics((0, [1, 2]), (0, [1, 1])), additive=False)
    assert (found.value, found.interval, found.resamples, found.seed) == (2 / 3, None, None, None)
    assert calls == [2]


def test_samples_stay_in_their_order_however_their_cases_came() -> None:
    drawn = statistics(*((case, [float(n), 1.0]) for n in range(60) for case in (2, 0, 1)))
    seen: list[list[float]] = []

    def noted(rows: Sequence[Sequence[float]]) -> float:
        seen.append([row[0] for row in rows])
        return 1.0

    corpus_value(noted, drawn, additive=False)
    assert seen[0] == [float(n) for _ in range(3) for n in range(60)]
