"""Deriving a run's reported numbers again, from the results of its steps.

A report shows the headline that was written when the run ended. Here it is folded anew from every
event and artifact of the run, and compared, value by value. No model, judge or metric is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from themis.core.base import Model, RunId
from themis.core.store import RunStore
from themis.views.headline import fold_journal, read_standing


class OtherValue(Model):
    """A number that is reported otherwise than the results of the steps give it."""

    field: str
    """Where it stands in the headline, such as "summaries.0.mean"."""
    reported: Any
    derived: Any


class Verification(Model):
    """What came of deriving a run's headline again."""

    run_id: RunId
    n_values: int
    """Values that were compared."""
    differences: list[OtherValue] = Field(default_factory=list)


def verify_run(store: RunStore, run_id: RunId) -> Verification:
    """Return how a run's reported numbers compare with those of its steps.

    Raises:
        RunNotFoundError: the store has no such run.
        StoreDamagedError: a row of the run is not as it was written.
    """
    snapshot = store.load_snapshot(run_id)
    reported = dict(_values(read_standing(store, snapshot).headline.model_dump(mode="json")))
    derived = dict(_values(fold_journal(store, snapshot).headline().model_dump(mode="json")))
    fields = list(reported | derived)
    return Verification(
        run_id=run_id,
        n_values=len(fields),
        differences=[
            OtherValue(field=name, reported=reported.get(name), derived=derived.get(name))
            for name in fields
            if reported.get(name) != derived.get(name)
        ],
    )


def _values(data: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each single value of plain data with its place."""
    if isinstance(data, (dict, list)):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for name, item in items:
            yield from _values(item, f"{place}.{name}" if place else str(name))
    else:
        yield place, data
