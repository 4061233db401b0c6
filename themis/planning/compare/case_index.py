"""The cases that a run kept, found by id: which of today's are new, and what changed in others.

Cases are held as digests, never whole: 40 bytes each, however many there are, and half as much
again while they are put in order. Ids and parts are compared by short digests, which is enough to
tell people what changed and too little to key by.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from themis.core.hashing import canonical
from themis.core.models import Case
from themis.core.run_plan import DatasetDifference
from themis.core.snapshot import ALL_READS, DatasetRef
from themis.core.store import RunStore

_PAGE = 1024


class KeptCases:
    """The cases of one dataset as a run kept them.

    Args:
        store: where the run is.
        ref: the dataset in that run; its cases are read once, page by page.
    """

    def __init__(self, store: RunStore, ref: DatasetRef) -> None:
        self.ref = ref
        columns = [array("Q") for _ in range(2 + len(ALL_READS))]
        for position, case in kept_cases(store, ref):
            _add(columns, position, case)
        self._put_in_order(columns)

    def _put_in_order(self, columns: list[array[int]]) -> None:
        import numpy

        order = numpy.argsort(numpy.frombuffer(columns[0], dtype=numpy.uint64))
        ordered: list[Any] = []
        while columns:  # one goes as the next comes
            ordered.append(numpy.frombuffer(columns.pop(0), dtype=numpy.uint64)[order])
        self._search = numpy.searchsorted
        self._ids, self._positions, *self._parts = ordered

    @property
    def whole(self) -> bool:
        """Whether the run kept every case that it has; an interrupted one need not have."""
        return len(self._ids) == self.ref.n_cases

    def __len__(self) -> int:
        """Return how many cases were kept."""
        return len(self._ids)

    def find(self, case: Case) -> tuple[int, frozenset[str]] | None:
        """Return where a case stood and which of its parts changed; None where it is new."""
        wanted = _short(case.case_id)
        place = int(self._search(self._ids, wanted))
        if place == len(self._ids) or int(self._ids[place]) != wanted:
            return None
        changed = frozenset(
            name
            for name, kept in zip(ALL_READS, self._parts, strict=True)
            if int(kept[place]) != _short(getattr(case, name))
        )
        return int(self._positions[place]), changed


def kept_cases(store: RunStore, ref: DatasetRef) -> Iterator[tuple[int, Case]]:
    """Yield the cases of a dataset that a store keeps, each with its position, page by page."""
    for start in range(0, ref.n_cases, _PAGE):
        yield from store.cases(ref.fingerprint, start, min(start + _PAGE, ref.n_cases))


def dataset_difference(
    kept: KeptCases, now: Iterable[Case], *, whole: bool = True
) -> DatasetDifference:
    """Return how a dataset's cases differ from those that a run kept.

    Args:
        kept: the run's.
        now: the others, read once.
        whole: whether those are all that there are.
    """
    added = changed = known = 0
    last, reordered = -1, False
    for case in now:
        found = kept.find(case)
        if found is None:
            added += 1
            continue
        known += 1
        changed += bool(found[1])
        reordered = reordered or found[0] < last
        last = found[0]
    return DatasetDifference(
        dataset_id=kept.ref.dataset_id,
        added=added,
        removed=len(kept) - known,
        changed=changed,
        reordered=reordered,
        known=whole and kept.whole,
    )


def _add(columns: Sequence[array[int]], position: int, case: Case) -> None:
    parts = [_short(getattr(case, name)) for name in ALL_READS]
    for column, value in zip(columns, [_short(case.case_id), position, *parts], strict=True):
        column.append(value)


def _short(value: Any) -> int:
    return int.from_bytes(blake2b(canonical(value), digest_size=8).digest(), "big")
