"""Scores by group as a table's cells: a line for each group, all cases together, and their mean.

Every line has the counts and bounds of its own cases. Two means are told apart by name: over all
cases, which counts a group by its cases, and over the groups, which counts each alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from themis.analysis.group_means import MeanOfGroups, mean_of_groups
from themis.analysis.tables import (
    NONE,
    HeadlineRow,
    aligned,
    headings,
    headline_row,
    headline_rows,
    number,
    span,
)
from themis.core.results import GroupSummary, MetricSummary

ALL_CASES = "all cases"
_DATASET = "dataset"


class GroupTable(NamedTuple):
    """A table's cells, as text."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    text_columns: int
    """The leading columns that are names."""

    def __str__(self) -> str:
        return aligned(self.headings, self.rows, self.text_columns)


def group_table(groups: Sequence[GroupSummary], wholes: Sequence[MetricSummary]) -> GroupTable:
    """Return the lines of each metric: group by group, all cases, the mean over the groups.

    Args:
        groups: a run's groups, by the same fields each.
        wholes: the metrics over all cases, with intervals, in the order in which they are told.
    """
    fields = list(groups[0].by) if groups else []
    rows = [
        (*lead, *row)
        for place, whole in enumerate(wholes)
        for lead, row in _lines(groups, place, whole, fields)
    ]
    return GroupTable((*fields, *headings(wholes)), rows, len(fields) + 1)


def mean_name(fields: Sequence[str], n_groups: int) -> str:
    """Return what the mean that counts each group alike is called."""
    return f"mean over {n_groups} {'datasets' if list(fields) == [_DATASET] else 'groups'}"


def _lines(
    groups: Sequence[GroupSummary], place: int, whole: MetricSummary, fields: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], HeadlineRow]]:
    found = [group.metrics[place] for group in groups]
    for group, summary in zip(groups, found, strict=True):
        for row in headline_rows(summary):
            yield tuple(group.by.values()), row
    blank = ("",) * (len(fields) - 1)
    for row in headline_rows(whole):
        yield (ALL_CASES, *blank), row
    mean = mean_of_groups(found)
    if mean is not None:
        yield (mean_name(fields, mean.n_groups), *blank), _mean_row(whole, mean)


def _mean_row(whole: MetricSummary, mean: MeanOfGroups) -> HeadlineRow:
    name = headline_row(whole).metric
    return HeadlineRow(
        metric=name if whole.corpus is None else f"{name}, corpus",
        mean=number(mean.value),
        interval=span(mean.interval),
        scored=NONE,
        errors=NONE,
        unparsed=NONE,
        bounds=NONE,
    )
