"""The cases of a kept run, held as digests: what they cost in memory, and what they tell.

Covers: themis.planning.compare.case_index
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any, cast

from tests.support.runs import dataset, experiment
from themis import InMemoryRunStore
from themis.core.models import Case
from themis.core.snapshot import DatasetRef
from themis.core.store import RunStore
from themis.planning.compare.case_index import KeptCases

MANY = 20_000


class Counted:
    """A store of cases that are made as they are read."""

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        for position in range(start, stop):
            yield position, Case(case_id=f"c{position}", input=position)


def test_a_kept_case_costs_forty_bytes_and_sixty_while_they_are_put_in_order() -> None:
    ref = experiment(cases=1).compile().identity.datasets[0]
    kept(ref, 2)  # what is loaded and cached once
    gc.collect()
    tracemalloc.start()
    try:
        found = kept(ref, MANY)
        gc.collect()
        rest, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == MANY
    assert rest < 41 * MANY
    assert peak < 62 * MANY


def kept(ref: DatasetRef, n_cases: int) -> KeptCases:
    counted = ref.model_copy(update={"n_cases": n_cases})
    return KeptCases(cast(RunStore, Counted()), counted)


def test_a_kept_case_is_found_with_what_of_it_changed() -> None:
    store = InMemoryRunStore()
    result = experiment(cases=5).run(store=store, progress=False)
    found = KeptCases(store, result.snapshot.identity.datasets[0])
    cases: list[Any] = list(dataset(5).cases)
    assert [found.find(case) for case in cases] == [(at, frozenset()) for at in range(5)]
    other = cases[3].model_copy(update={"expected_output": "x", "metadata": {"a": 1}})
    assert found.find(other) == (3, frozenset({"expected_output", "metadata"}))
    assert found.find(Case(case_id="new", input=3)) is None
