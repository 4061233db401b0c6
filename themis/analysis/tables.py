"""The headline table as plain text, and how its numbers are written wherever they are shown.

One way of writing a number, used by every report: a mean never stands without what was scored,
what was not, and how bad or good that could make it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from themis.core.results import MetricSummary

NO_RANGE = "no range"
NONE = "-"
HEADINGS = ("metric", "mean", "95% interval", "scored", "errors", "unparsed", "bounds")
_TEXT_COLUMNS = 2


class HeadlineRow(NamedTuple):
    """A metric's figures, as text."""

    metric: str
    mean: str
    interval: str
    scored: str
    errors: str
    unparsed: str
    bounds: str


def headline_row(summary: MetricSummary) -> HeadlineRow:
    """Return a metric's figures as they are written in tables.

    The bounds are the means had every error, and every case not reached, had the least value of the
    range, and the greatest. Where cases are missing, the scored ones are told as a part of all.
    """
    name = summary.metric_id
    if summary.unit:
        name = f"{name} ({summary.unit})"
    if not summary.higher_is_better:
        name = f"{name} ↓"
    return HeadlineRow(
        metric=name,
        mean=number(summary.mean),
        interval=span(summary.interval),
        scored=_scored(summary),
        errors=_counted(summary.n_errors, summary.errors),
        unparsed=str(summary.n_unparsed),
        bounds=NO_RANGE if summary.value_range is None else span(summary.bounds),
    )


def number(value: float | None) -> str:
    """Return a figure with three decimals, or with four digits where it is large or tiny."""
    if value is None:
        return NONE
    if value != 0.0 and not 0.001 <= abs(value) < 1e6:
        return f"{value:.3e}"
    return f"{value:.3f}"


def span(ends: Sequence[float] | None) -> str:
    """Return an interval as text."""
    if ends is None:
        return NONE
    low, high = ends
    return f"{number(low)} to {number(high)}"


def plain_table(summaries: Sequence[MetricSummary], labels: Sequence[str] | None = None) -> str:
    """Return the headline table as aligned plain text.

    Args:
        summaries: one a line.
        labels: where summaries of several runs stand together, the run's label for each.
    """
    if not summaries:
        return "no metrics"
    head: tuple[str, ...] = HEADINGS
    lines: list[tuple[str, ...]] = [headline_row(summary) for summary in summaries]
    text_columns = 1
    if labels is not None:
        head = ("run", *head)
        lines = [(label, *line) for label, line in zip(labels, lines, strict=True)]
        text_columns = _TEXT_COLUMNS
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(_aligned(line, widths, text_columns) for line in (head, *lines))


def _aligned(line: Sequence[str], widths: Sequence[int], text_columns: int) -> str:
    cells = [
        cell.ljust(width) if column < text_columns else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _scored(summary: MetricSummary) -> str:
    cases = f"{summary.n_cases_scored} cases"
    if summary.n_missing:
        cases = f"{summary.n_cases_scored} of {summary.n_cases} cases"
    if summary.n_scored != summary.n_cases_scored:
        return f"{summary.n_scored} in {cases}"
    return cases if summary.n_missing else str(summary.n_scored)


def _counted(count: int, by_category: dict[str, int]) -> str:
    if not count:
        return "0"
    parts = ", ".join(f"{name} {number}" for name, number in by_category.items())
    return f"{count} ({parts})" if parts else str(count)
