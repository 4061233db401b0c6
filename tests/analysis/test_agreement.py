"""Agreement statistics are those of statsmodels and of the published examples.

Covers: themis.analysis.agreement
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from themis.analysis.agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from themis.core.errors import DefinitionError

VERDICTS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=40)


@given(VERDICTS, st.sampled_from([None, "linear", "quadratic"]))
def test_cohens_kappa_is_that_of_statsmodels(pairs: list[tuple[int, int]], weights: Any) -> None:
    table = np.zeros((4, 4))
    for one, other in pairs:
        table[one - 1, other - 1] += 1
    found = cohen_kappa(
        [one for one, _ in pairs],
        [other for _, other in pairs],
        weights=weights,
        categories=[1, 2, 3, 4],
    )
    if found is None:
        assert len({verdict for pair in pairs for verdict in pair}) == 1
        return
    wanted = inter_rater.cohens_kappa(table, weights=None, wt=weights, return_results=False)
    assert found == pytest.approx(wanted, abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=30))
def test_fleiss_kappa_is_that_of_statsmodels(units: list[list[int]]) -> None:
    table = np.array([[unit.count(label) for label in range(4)] for unit in units])
    found = fleiss_kappa([Counter(unit) for unit in units])
    if found is None:
        assert len({verdict for unit in units for verdict in unit}) == 1
        return
    assert found == pytest.approx(inter_rater.fleiss_kappa(table), abs=1e-9)


def test_fleiss_kappa_of_the_published_table() -> None:
    """Fleiss 1971, table 1: 14 raters, 10 subjects, 5 categories (as often reprinted)."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    units = [dict(enumerate(row)) for row in table]
    assert fleiss_kappa(units) == pytest.approx(0.20993, abs=5e-6)


_ = None
OBSERVERS = [  # Krippendorff 2011, part C
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
UNITS = [
    [verdict for verdict in unit if verdict is not None] for unit in zip(*OBSERVERS, strict=True)
]


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_example_with_missing_verdicts(level: Any, alpha: float) -> None:
    found = krippendorff_alpha(UNITS, level=level)
    assert found == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_the_published_examples_of_two_observers() -> None:
    """Krippendorff 2011, parts A and B."""
    assert krippendorff_alpha(
        list(zip([0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0], strict=True))
    ) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(
        list(zip("aabbdcccedda", "babbbccceddd", strict=True))
    ) == pytest.approx(0.692, abs=5e-4)


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=12))
def test_alpha_is_the_ratio_of_disagreements_counted_one_by_one(units: list[list[int]]) -> None:
    paired = [unit for unit in units if len(unit) > 1]
    every = [verdict for unit in paired for verdict in unit]
    assume(len(set(every)) > 1)
    within = sum(
        (one - other) ** 2 / (len(unit) - 1)
        for unit in paired
        for one, other in permutations(unit, 2)
    ) / len(every)
    among = sum((one - other) ** 2 for one, other in permutations(every, 2))
    wanted = 1 - within / (among / (len(every) * (len(every) - 1)))
    assert krippendorff_alpha(units, level="interval") == pytest.approx(wanted, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)), max_size=12))
def test_units_that_are_counted_say_what_as_many_units_say(given: list[tuple[int, ...]]) -> None:
    told = [(one, other) for one, other, _ in given]
    times = [count for *_, count in given]
    spelt = [(one, other) for one, other, count in given for _ in range(count)]
    levels: tuple[Level, ...] = ("nominal", "ordinal", "interval")
    for level in levels:
        assert krippendorff_alpha(told, level=level, times=times) == pytest.approx(
            krippendorff_alpha(spelt, level=level)
        )
    assert fleiss_kappa(list(map(Counter, told)), times=times) == pytest.approx(
        fleiss_kappa(list(map(Counter, spelt)))
    )
    columns = [[unit[at] for unit in units] for units in (told, spelt) for at in (0, 1)]
    for weights in (None, "linear", "quadratic"):
        assert (
            cohen_kappa(*columns[:2], weights=weights, times=times)
            == pytest.approx(  # type: ignore[arg-type]
                cohen_kappa(*columns[2:], weights=weights)  # type: ignore[arg-type]
            )
        )


@pytest.mark.parametrize("factor", [2.0**900, 2.0**-900])
def test_alpha_of_numbers_is_the_same_on_any_scale(factor: float) -> None:
    scaled = [[verdict * factor for verdict in unit] for unit in UNITS]
    assert krippendorff_alpha(scaled, level="interval") == krippendorff_alpha(
        UNITS, level="interval"
    )


def test_ordinal_labels_go_by_the_order_given() -> None:
    words = {1: "poor", 2: "fair", 3: "good", 4: "great", 5: "best"}
    named = [[words[verdict] for verdict in unit] for unit in UNITS]
    assert krippendorff_alpha(
        named, level="ordinal", categories=list(words.values())
    ) == krippendorff_alpha(UNITS, level="ordinal")


def test_verdicts_without_variation_have_no_agreement_beyond_chance() -> None:
    assert cohen_kappa(["pass"] * 3, ["pass"] * 3) is None
    assert cohen_kappa([], []) is None
    assert fleiss_kappa([{"pass": 3}, {"pass": 3}]) is None
    assert fleiss_kappa([]) is None
    assert krippendorff_alpha([["pass", "pass"], ["fail"]]) is None
    assert krippendorff_alpha([]) is None


@pytest.mark.parametrize("verdict", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_not_finite_have_no_distance(verdict: float) -> None:
    with pytest.raises(DefinitionError, match="no finite number"):
        krippendorff_alpha([[1.0, verdict], [2.0, 2.0]], level="interval")


def test_perfect_agreement_is_one_and_a_judge_that_contradicts_is_below_zero() -> None:
    assert cohen_kappa(["a", "b", "a"], ["a", "b", "a"]) == 1.0
    assert fleiss_kappa([{"a": 3}, {"b": 3}]) == 1.0
    assert krippendorff_alpha([[1, 1], [2, 2]], level="ordinal") == 1.0
    contrary = cohen_kappa(["a", "b", "a", "b"], ["b", "a", "b", "a"])
    assert contrary == -1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cohen_kappa([1], [1, 2]), "1 verdicts and 2"),
        (lambda: cohen_kappa([1], [2], weights="cubic"), "weights = 'cubic'"),  # type: ignore[arg-type]
        (lambda: cohen_kappa([1], [9], categories=[1, 2]), "verdict 9 is none of the categories"),
        (lambda: fleiss_kappa([{"a": 2}, {"a": 3}]), "units with 2, 3 verdicts"),
        (lambda: fleiss_kappa([{"a": 1}]), "units with 1 verdicts"),
        (lambda: krippendorff_alpha([["a", "b"]], level="interval"), "'a' is no finite number"),
        (lambda: krippendorff_alpha([[1, 2]], level="ratio"), "level = 'ratio'"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_answer_is_refused(call: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        call()
