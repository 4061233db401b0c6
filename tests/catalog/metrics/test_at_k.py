"""What k of n samples give on average is what listing every set of k gives, exactly.

Covers: themis.catalog.metrics.at_k, themis.catalog.metrics.samples
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themis import evaluate, use
from themis.catalog.metrics import at_k
from themis.catalog.metrics.at_k import best_at_k, majority_at_k, pass_at_k
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError
from themis.testing.scripted import ScriptedGenerator

SCORES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-1e6, 1e6, allow_subnormal=False))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (200, 20, 10, 0.660225623763214),
        (10, 3, 5, 0.9166666666666666),
        (5, 0, 1, 0.0),
        (10, 8, 3, 1.0),
        (1, 1, 1, 1.0),
        (7, 7, 7, 1.0),
    ],
)
def test_pass_at_k_has_the_values_that_are_known(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == expected


@st.composite
def draws(draw: st.DrawFn, most: int = 400) -> tuple[int, int, int]:
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(draws())
def test_pass_at_k_is_the_exact_fraction_rounded_once(drawn: tuple[int, int, int]) -> None:
    n, c, k = drawn
    assert pass_at_k(n, c, k) == float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


@given(draws())
def test_pass_at_k_is_the_papers_product(drawn: tuple[int, int, int]) -> None:
    n, c, k = drawn
    product = 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1)) if n - c >= k else 1.0
    assert pass_at_k(n, c, k) == pytest.approx(product, rel=1e-9, abs=1e-12)


@given(st.lists(SCORES, min_size=1, max_size=8), st.integers(1, 8), st.booleans())
def test_best_at_k_is_the_mean_of_the_best_of_every_set(
    scores: list[float], k: int, higher: bool
) -> None:
    k = min(k, len(scores))
    best = max if higher else min
    listed = [Fraction(best(chosen)) for chosen in combinations(scores, k)]
    found = best_at_k(scores, k, higher_is_better=higher)
    assert found == float(sum(listed, start=Fraction(0)) / len(listed))


@given(draws(60))
def test_the_best_of_zeros_and_ones_is_a_pass(drawn: tuple[int, int, int]) -> None:
    n, c, k = drawn
    assert best_at_k([1.0] * c + [0.0] * (n - c), k) == pass_at_k(n, c, k)


def by_listing(answers: Sequence[str | None], scores: Sequence[float], k: int) -> float:
    """The score of the first sample with the winning answer, over all ordered draws of k."""
    values = []
    for order in permutations(range(len(answers)), k):
        votes = Counter(answers[place] for place in order if answers[place] is not None)
        if votes:
            won = max(votes, key=lambda answer: votes[answer])  # a Counter keeps who came first
            values.append(scores[next(place for place in order if answers[place] == won)])
        else:
            values.append(scores[order[0]])
    return float(sum(map(Fraction, values), start=Fraction(0)) / len(values))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), SCORES), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_the_majority_answers_score_is_the_mean_over_all_orders_in_which_k_may_come(
    samples: list[tuple[str | None, float]], k: int
) -> None:
    answers, scores = [one for one, _ in samples], [one for _, one in samples]
    k = min(k, len(samples))
    found = majority_at_k(answers, scores, k)
    assert found.draws is None
    assert found.value == pytest.approx(by_listing(answers, scores, k), rel=1e-12, abs=1e-9)


def test_too_many_sets_are_drawn_at_random_and_near_what_counting_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["a"] * 9 + ["b"] * 8 + ["c"] * 3 + [None] * 4
    scores = [1.0] * 9 + [0.0] * 15
    counted = majority_at_k(answers, scores, 7)
    monkeypatch.setattr(at_k, "_COUNTABLE", 0)
    drawn = majority_at_k(answers, scores, 7, seed=3)
    assert drawn == majority_at_k(answers, scores, 7, seed=3)
    assert drawn.value != majority_at_k(answers, scores, 7, seed=4).value
    assert drawn.draws == at_k.DRAWS
    assert drawn.standard_error is not None
    assert abs(drawn.value - counted.value) < 4 * drawn.standard_error


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 0), (3, 1, 4), (3, 4, 1), (3, -1, 1), (0, 0, 1)])
def test_numbers_that_are_no_draw_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(DefinitionError, match="must be an integer from"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(("k", "method"), [(2, "wilson"), (1, "t")])
def test_the_interval_of_pass_at_k_is_wilsons_where_k_is_all_samples(k: int, method: str) -> None:
    outputs = {f"c{place}": ["0", "0"] if place else ["0", "1"] for place in range(4)}
    result = evaluate(
        model=ScriptedGenerator(outputs),
        data=[
            {"case_id": name, "input": "q", "expected_output": "1" if name != "c1" else "0"}
            for name in outputs
        ],
        metric=["builtin/exact_match", use("builtin/pass_at_k", of="builtin/exact_match", k=k)],
        samples=2,
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    assert result.metrics["builtin/pass_at_k"].interval_method == method
