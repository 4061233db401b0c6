"""Every candidate has its share of a bounded round-robin, and none is left alone.

Covers: themis.catalog.judged.round_robin
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from themis.catalog.judged.round_robin import pairs_of


@given(st.integers(2, 14), st.integers(1, 120), st.integers(0, 5))
def test_no_pair_stands_twice_and_all_have_as_many_give_or_take_one(
    n: int, most: int, seed: int
) -> None:
    pairs = pairs_of(n, most=most, draw=[seed])
    every = list(combinations(range(n), 2))
    assert len(pairs) == len(set(pairs)) == min(most, len(every))
    assert set(pairs) <= set(every)
    met = Counter(dict.fromkeys(range(n), 0))
    met.update(player for pair in pairs for player in pair)
    assert met[0] > 0
    spread = max(met.values()) - min(met.values())
    assert spread <= (1 if n % 2 == 0 else 2)


@given(st.integers(3, 14), st.integers(0, 5))
def test_as_many_pairs_as_candidates_connect_them_all(n: int, seed: int) -> None:
    met = np.zeros((n, n))
    for first, second in pairs_of(n, most=n, draw=[seed]):
        met[first, second] = 1
    assert connected_components(met, directed=False)[0] == 1


def test_the_order_is_drawn_by_the_seed_and_kept() -> None:
    drawn = [tuple(pairs_of(8, most=8, draw=[seed, "case"])) for seed in range(6)]
    assert len(set(drawn)) > 1
    assert drawn[3] == tuple(pairs_of(8, most=8, draw=[3, "case"]))


@pytest.mark.parametrize("n", [4, 5])
def test_with_room_for_all_pairs_all_are_compared_in_order(n: int) -> None:
    assert pairs_of(n, most=100, draw=[0]) == list(combinations(range(n), 2))
