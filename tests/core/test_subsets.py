"""Parts of lazy datasets: read anew, held nowhere, the same each time.

Covers: themis.core.subsets
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themis.core.errors import DefinitionError
from themis.core.models import Case, Dataset


class Counted:
    """A source that counts how often it is opened, and the cases that are read of it."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.opened = 0
        self.read = 0

    def __iter__(self) -> Iterator[Case]:
        self.opened += 1
        for number in range(self.n):
            self.read += 1
            yield Case(case_id=f"c{number}", input=number)


def _lazy(n: int) -> tuple[Dataset, Counted]:
    source = Counted(n)
    return Dataset.from_source(source, dataset_id="d", revision="r"), source


def _ids(dataset: Dataset) -> list[str]:
    return [case.case_id for case in dataset]


def test_the_first_cases_are_read_and_no_more() -> None:
    data, source = _lazy(1000)
    part = data.take(3)
    assert (source.opened, part.cases, part.dataset_id, part.revision) == (0, [], "d", "r")
    assert _ids(part) == _ids(part) == ["c0", "c1", "c2"]
    assert (source.opened, source.read) == (2, 6)
    assert _ids(data.take(0)) == []
    assert len(_ids(data.take(5000))) == 1000


def test_a_filter_is_asked_case_by_case_at_each_pass() -> None:
    data, source = _lazy(10)
    asked: list[str] = []

    def even(case: Case) -> bool:
        asked.append(case.case_id)
        return case.input % 2 == 0

    part = data.filter(even)
    assert asked == []
    cases = iter(part)
    assert next(cases).case_id == "c0"
    assert (asked, source.read) == (["c0"], 1)
    assert _ids(part) == ["c0", "c2", "c4", "c6", "c8"]


def test_a_sample_costs_one_pass_to_choose_and_one_each_time_it_is_read() -> None:
    data, source = _lazy(1000)
    part = data.sample(10, seed=1)
    assert source.opened == 0
    first = _ids(part)
    assert (source.opened, source.read) == (2, 2000)
    assert _ids(part) == first
    assert source.opened == 3
    assert len(set(first)) == 10
    assert first == sorted(first, key=lambda name: int(name[1:]))


@settings(deadline=None)
@given(n=st.integers(0, 60), more=st.integers(0, 40), seed=st.integers())
def test_a_larger_sample_holds_each_smaller_one(n: int, more: int, seed: int) -> None:
    data, _ = _lazy(100)
    small, large = _ids(data.sample(n, seed=seed)), _ids(data.sample(n + more, seed=seed))
    assert len(small) == n
    assert [name for name in large if name in set(small)] == small


@settings(deadline=None)
@given(seed=st.integers(), grown=st.integers(1, 20))
def test_a_sample_of_grown_data_keeps_all_that_no_newcomer_displaced(seed: int, grown: int) -> None:
    before = set(_ids(_lazy(100)[0].sample(30, seed=seed)))
    after = set(_ids(_lazy(100 + grown)[0].sample(30, seed=seed)))
    newcomers = {f"c{number}" for number in range(100, 100 + grown)}
    assert len(before - after) == len(after & newcomers) == len(after - before)


def test_a_sample_is_drawn_evenly() -> None:
    data, _ = _lazy(20)
    drawn = Counter(name for seed in range(2000) for name in _ids(data.sample(5, seed=seed)))
    assert len(drawn) == 20
    assert all(400 < count < 600 for count in drawn.values())  # 500 each, five sigmas either way


def test_a_sample_is_the_same_in_memory_and_in_any_order() -> None:
    lazy = _lazy(50)[0]
    held = Dataset(dataset_id="d", cases=list(lazy))
    turned = Dataset(dataset_id="d", cases=list(lazy)[::-1])
    drawn = _ids(held.sample(7, seed=3))
    assert drawn == [case.case_id for case in held.sample(7, seed=3).cases]
    assert drawn == _ids(lazy.sample(7, seed=3)) == _ids(turned.sample(7, seed=3))[::-1]
    assert drawn != _ids(held.sample(7, seed=4))


def test_parts_of_parts_are_lazy_too() -> None:
    data, source = _lazy(100)
    part = data.filter(lambda case: case.input > 9).take(50).sample(5, seed=0).take(2)
    assert source.opened == 0
    assert _ids(part) == _ids(part)
    assert len(_ids(part)) == 2


def test_a_sample_of_too_few_cases_is_refused_when_it_is_read() -> None:
    data, _ = _lazy(3)
    part = data.sample(4, seed=0)
    with pytest.raises(DefinitionError, match=r"sample\(4\) of 3 cases"):
        list(part)
    for wrong in (lambda: data.take(-1), lambda: data.sample(-1, seed=0)):
        with pytest.raises(DefinitionError, match="cannot be negative"):
            wrong()
