"""A run's scores by group: by dataset, or by fields of the cases' metadata.

One pass over the journal, whatever the number of groups; the scores of a case are those of the
run's own summary. What groups there are is told by the cases, which are read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.models import Case
from themis.core.results import MetricSummary
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.cases import RunCase, cases_with_steps
from themis.views.scores import ScoresFold
from themis.views.statistics import CaseStatistics

DATASET = "dataset"
METADATA = "metadata."
"""Before a field of the metadata whose name is a group's own, such as ``metadata.dataset``."""
WITHOUT = "(none)"
MOST_GROUPS = 1000

_Order = tuple[tuple[int, float, str], ...]


class Group(NamedTuple):
    """The cases of a run that share the values of some fields."""

    values: tuple[str, ...]
    """One for each field, as text."""
    n_cases: int
    summaries: list[MetricSummary]
    """One for each metric, without intervals and corpus values."""
    statistics: Mapping[str, CaseStatistics]
    """By metric, the statistics of which its corpus value is computed."""


def fields_of(by: str | Sequence[str]) -> tuple[str, ...]:
    """Return the fields by which a run is grouped.

    Raises:
        DefinitionError: there are none, or one twice.
    """
    fields = (by,) if isinstance(by, str) else tuple(by)
    names: tuple[object, ...] = fields  # whatever its type promises
    if not names or not all(isinstance(one, str) and one for one in names):
        raise DefinitionError(
            f"by = {by!r}: name a field of the metadata, '{DATASET}', or a list of these",
            field="by",
            value=by,
        )
    if len(set(fields)) < len(fields):
        raise DefinitionError(f"by names a field twice: {', '.join(fields)}", field="by", value=by)
    return fields


def group_scores(
    store: RunStore,
    snapshot: RunSnapshot,
    by: Sequence[str],
    metric_ids: Collection[str] | None = None,
) -> list[Group]:
    """Return a run's groups: datasets in the run's order, other values in their own.

    Args:
        store: where the run is.
        snapshot: the run.
        by: fields: "dataset", or a field of the metadata; with dots, one within another.
        metric_ids: the metrics; all by default.

    Raises:
        DefinitionError: no case has a field, or there are more than ``MOST_GROUPS`` groups.
    """
    folds: dict[tuple[str, ...], _Fold] = {}
    lacking = {field for field in by if field != DATASET}
    seen: dict[str, None] = {}
    places = {one.dataset_id: at for at, one in enumerate(snapshot.identity.datasets)}
    for case, steps in cases_with_steps(store, snapshot):
        if lacking:
            lacking -= {field for field in lacking if _found(case.case, field) is not _NOTHING}
            seen.update(dict.fromkeys(case.case.metadata))
        values = tuple(group_value(case, field) for field in by)
        fold = folds.get(values)
        if fold is None:
            _check_number(len(folds) + 1, by)
            order = tuple(_order(case, field, places) for field in by)
            fold = folds[values] = _Fold(ScoresFold(snapshot, metric_ids), order)
        fold.n_cases += 1
        fold.scores.add(steps)
    if lacking and folds:
        field = min(lacking)
        raise DefinitionError(
            f"no case of run {snapshot.run_id} has '{field}' in its metadata"
            f"{did_you_mean(field, (DATASET, *seen))}; there is: {', '.join((DATASET, *seen))}",
            field="by",
            value=field,
        )
    wholes = {one.dataset_id: one.n_cases for one in snapshot.identity.datasets}
    found = []
    for values, fold in sorted(folds.items(), key=lambda item: item[1].order):
        n_cases = wholes[values[0]] if tuple(by) == (DATASET,) else fold.n_cases
        summaries = fold.scores.summaries(n_cases)
        found.append(Group(values, n_cases, summaries, fold.scores.statistics))
    return found


def group_value(case: RunCase, field: str) -> str:
    """Return a case's value of a field as text; ``WITHOUT`` where it has none."""
    if field == DATASET:
        return case.dataset_id
    value = _found(case.case, field)
    if value is _NOTHING or value is None:
        return WITHOUT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Fold:
    def __init__(self, scores: ScoresFold, order: _Order) -> None:
        self.scores = scores
        self.order = order
        self.n_cases = 0


_NOTHING = object()


def _found(case: Case, field: str) -> Any:
    """Return a value of the metadata: of the whole name, else of its parts one within another."""
    name = field.removeprefix(METADATA)
    for whole in (field, name):
        if whole in case.metadata:
            return case.metadata[whole]
    value: Any = case.metadata
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _NOTHING
        value = value[part]
    return value


def _order(case: RunCase, field: str, places: Mapping[str, int]) -> tuple[int, float, str]:
    """Return where a case's group stands: numbers by size, text by its letters, none at the end."""
    if field == DATASET:
        return (0, float(places[case.dataset_id]), "")
    value = _found(case.case, field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return (0, float(value), str(value))
        except OverflowError:
            return (1, 0.0, str(value))
    text = group_value(case, field)
    return (2 if text == WITHOUT else 1, 0.0, text)


def _check_number(n_groups: int, by: Sequence[str]) -> None:
    if n_groups > MOST_GROUPS:
        raise DefinitionError(
            f"by {', '.join(by)} there are more than {MOST_GROUPS:,} groups: name a field with "
            "fewer values, or take the cases themselves (--cases, to_pandas(cases=True))",
            field="by",
            value=list(by),
        )
