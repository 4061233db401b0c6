"""Why two runs have different ids: the fields that differ, and the cases behind a dataset's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from themis.core.base import RunId
from themis.core.events import EventKind
from themis.core.run_plan import Explanation
from themis.core.snapshot import DatasetRef, RunSnapshot
from themis.core.store import RunStore
from themis.planning.compare.case_index import KeptCases, dataset_difference, kept_cases
from themis.planning.compare.fields import code_differences, identity_differences
from themis.planning.compiled_run import CompiledRun

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
            dataset_difference(
                kept, (case for _, case in kept_cases(store, ref)), whole=_keeps_all(store, ref)
            )
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


def _keeps_all(store: RunStore, ref: DatasetRef) -> bool:
    last = ref.n_cases - 1
    return any(True for _ in store.cases(ref.fingerprint, last, last + 1))
