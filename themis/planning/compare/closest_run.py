"""The run to compare with: of all that a store keeps, the one that is closest to what is asked now.

That is the run itself, if it is there; else the one that shares most generations with it, then most
cases, then most parts, and of equals the newest. It is told from snapshots alone: no event is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from themis.core.errors import RunNotFoundError
from themis.core.snapshot import DatasetRef, RunIdentity, RunSnapshot
from themis.core.store import RunStore
from themis.planning.compare.fields import equal_seeds
from themis.planning.keys import component_digest, prompt_digest

_MOST_RUNS = 256
"""Snapshots looked at, the newest first: a store may have kept runs for years."""


def related_run(store: RunStore, now: RunSnapshot) -> RunSnapshot | None:
    """Return the kept run that is closest to a run; None where none shares a case with it."""
    try:
        return store.load_snapshot(now.run_id)
    except RunNotFoundError:
        pass
    best: RunSnapshot | None = None
    most = (0, 0, 0)
    for record in islice(reversed(store.runs()), _MOST_RUNS):
        other = store.load_snapshot(record.run_id)
        shared = _shared(other.identity, now.identity)
        if shared[1] and shared > most:
            best, most = other, shared
    return best


def matched_datasets(before: RunIdentity, now: RunIdentity) -> Mapping[str, tuple[int, DatasetRef]]:
    """Return, for each of a run's datasets that another had too, its place there and how it was.

    They are matched by id or, under another id, by the same content. The place is the position of
    its first case in the run.
    """
    places = list(before.placed_datasets())
    found: dict[str, tuple[int, DatasetRef]] = {}
    for ref in now.datasets:
        named = [one for one in places if one[1].dataset_id == ref.dataset_id]
        alike = [one for one in places if one[1].fingerprint == ref.fingerprint]
        if named or alike:
            found[ref.dataset_id] = (named or alike)[0]
    return found


def _shared(before: RunIdentity, now: RunIdentity) -> tuple[int, int, int]:
    """Return, about, how many generations, how many cases and how many parts two runs share."""
    matched = matched_datasets(before, now)
    # Of a dataset that changed it is not known how much: it counts for less than an equal one.
    cases = sum(
        ref.n_cases
        if matched[ref.dataset_id][1].fingerprint == ref.fingerprint
        else max(1, min(matched[ref.dataset_id][1].n_cases, ref.n_cases) - 1)
        for ref in now.datasets
        if ref.dataset_id in matched
    )
    alike = (
        component_digest(before.generator) == component_digest(now.generator)
        and prompt_digest(before.prompt_spec) == prompt_digest(now.prompt_spec)
        and equal_seeds(before, now)
    )
    samples = min(before.num_samples, now.num_samples)
    theirs, ours = ({component_digest(ref) for ref in one.components()} for one in (before, now))
    return cases * samples if alike else 0, cases, len(theirs & ours)
