"""Why two runs have different ids: the fields that differ, and the cases behind a dataset's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from themis.core.base import RunId
from themis.core.events import EventKind
from themis.core.models import Case
from themis.core.plans import Explanation
from themis.core.protocols import RunStore
from themis.core.snapshot import DatasetRef, RunSnapshot
from themis.planning.differences import code_differences, identity_differences
from themis.planning.kept_cases import KeptCases, dataset_difference
from themis.planning.work import CompiledRun

_PAGE = 1024
_STARTS = frozenset({EventKind.RUN_STARTED})


def explain(store: RunStore, before: str, now: str) -> Explanation:
    """Return in what two kept runs differ: what was asked, the cases, and the code behind parts.

    Args:
        store: where both runs are.
        before: the one's id.
        now: the other's.

    Raises:
        RunNotFoundError: the store lacks one of them.
    """
    old, new = (store.load_snapshot(RunId(run_id)) for run_id in (before, now))
    return Explanation(
        before=old.run_id,
        now=new.run_id,
        identity=identity_differences(old, new),
        data=[
            dataset_difference(kept, _kept(store, ref), whole=_keeps_all(store, ref))
            for kept, ref in _changed_datasets(store, old, new)
        ],
        code=code_differences(code_of(store, old), code_of(store, new)),
    )


def explain_change(store: RunStore, before: str, run: CompiledRun) -> Explanation:
    """Return in what an experiment, as it stands, differs from a kept run.

    Args:
        store: where the run is.
        before: its id.
        run: the experiment, compiled.

    Raises:
        RunNotFoundError: the store has no such run.
    """
    old, new = store.load_snapshot(RunId(before)), run.snapshot
    data = {dataset.dataset_id: dataset for dataset in run.datasets}
    return Explanation(
        before=old.run_id,
        now=new.run_id,
        identity=identity_differences(old, new),
        data=[
            dataset_difference(kept, data[ref.dataset_id])
            for kept, ref in _changed_datasets(store, old, new)
        ],
        code=code_differences(code_of(store, old), run.code()),
    )


def code_of(store: RunStore, snapshot: RunSnapshot) -> Mapping[str, str | None]:
    """Return the digests of the components' code in the newest attempt, by role and name."""
    code: Mapping[str, str | None] = snapshot.provenance.code
    for event in store.events(snapshot.run_id, kinds=_STARTS):
        code = event.data.get("provenance", {}).get("code") or code
    return code


def _changed_datasets(
    store: RunStore, old: RunSnapshot, new: RunSnapshot
) -> Iterator[tuple[KeptCases, DatasetRef]]:
    before = {ref.dataset_id: ref for ref in old.identity.datasets}
    for ref in new.identity.datasets:
        known = before.get(ref.dataset_id)
        if known is not None and known.fingerprint != ref.fingerprint:
            yield KeptCases(store, known), ref


def _kept(store: RunStore, ref: DatasetRef) -> Iterable[Case]:
    for start in range(0, ref.n_cases, _PAGE):
        for _, case in store.cases(ref.fingerprint, start, min(start + _PAGE, ref.n_cases)):
            yield case


def _keeps_all(store: RunStore, ref: DatasetRef) -> bool:
    last = ref.n_cases - 1
    return any(True for _ in store.cases(ref.fingerprint, last, last + 1))
