"""A run's cases: the stored case at a position, and the position of a case id.

A run's cases are its datasets' cases, one dataset after the other. They are read from the store,
never from a dataset's source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from themis.core import base
from themis.core.base import CaseKey
from themis.core.errors import DefinitionError
from themis.core.models import Case
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.steps import CaseSteps, read_steps


class RunCase(NamedTuple):
    """A case at its place in a run."""

    position: int
    """From 0, over the run's datasets in order."""
    dataset_id: str
    case_key: CaseKey
    case: Case

    @property
    def case_id(self) -> str:
        """Its id within its dataset."""
        return self.case.case_id


def run_cases(
    store: RunStore, snapshot: RunSnapshot, start: int = 0, stop: int | None = None
) -> Iterator[RunCase]:
    """Stream a run's cases from position ``start`` to ``stop`` (exclusive; to the end by default).

    A case that is not in the store yet is skipped.
    """
    end = snapshot.n_cases if stop is None else min(stop, snapshot.n_cases)
    for offset, dataset in snapshot.identity.placed_datasets():
        lower, upper = max(start - offset, 0), min(end - offset, dataset.n_cases)
        if lower < upper:
            for position, case in store.cases(dataset.fingerprint, lower, upper):
                key = base.case_key(dataset.dataset_id, case.case_id)
                yield RunCase(offset + position, dataset.dataset_id, key, case)


def cases_with_steps(
    store: RunStore, snapshot: RunSnapshot, start: int = 0, stop: int | None = None
) -> Iterator[tuple[RunCase, CaseSteps]]:
    """Stream the same cases, each with its steps; a case that has no events yet has no steps."""
    end = snapshot.n_cases if stop is None else min(stop, snapshot.n_cases)
    read = read_steps(store, snapshot.run_id, start, end)
    steps = next(read, None)
    for case in run_cases(store, snapshot, start, end):
        while steps is not None and steps.index < case.position:
            steps = next(read, None)
        if steps is not None and steps.index == case.position:
            yield case, steps
        else:
            yield case, CaseSteps(case.position)


def find_case(
    store: RunStore,
    snapshot: RunSnapshot,
    case_id: str,
    *,
    dataset_id: str | None = None,
    case_key: str | None = None,
) -> RunCase:
    """Return the case with an id.

    Args:
        store: where the run is.
        snapshot: the run.
        case_id: the case's id.
        dataset_id: its dataset, where two datasets share case ids.
        case_key: its key, which stands for both, instead.

    Raises:
        DefinitionError: there is no such case, or more than one.
    """
    found: list[RunCase] = []
    for offset, dataset in snapshot.identity.placed_datasets():
        key = base.case_key(dataset.dataset_id, case_id)
        if dataset_id in (None, dataset.dataset_id) and case_key in (None, key):
            place = store.find_case(dataset.fingerprint, case_id)
            if place is not None:
                found += run_cases(store, snapshot, offset + place, offset + place + 1)
    if not found:
        where = f" in dataset '{dataset_id}'" if dataset_id else ""
        raise DefinitionError(
            f"run {snapshot.run_id} has no case '{case_id}'{where}", field="case_id", value=case_id
        )
    if len(found) > 1:
        names = ", ".join(f"'{case.dataset_id}'" for case in found)
        raise DefinitionError(
            f"case '{case_id}' is in several datasets: give dataset_id, one of {names}",
            field="dataset_id",
            value=case_id,
        )
    return found[0]
