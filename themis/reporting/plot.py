"""A plot of headline values and their intervals: where each mark goes, in the units of an SVG.

One panel a metric, so that runs share an axis and metrics of different units do not. A metric whose
axis is longer or shorter than floats can divide has none. It decides places only; colours and text
are the template's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from themis.analysis.tables import number
from themis.core.results import MetricSummary
from themis.reporting.facts import ReportFacts

LEFT = 190.0
WIDTH = 560.0
RIGHT = 70.0
ROW = 30.0
AXIS = 34.0
_LABEL_CHARACTERS = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One run's line of a panel; what is not known is None."""

    y: float
    label: str
    hint: str
    value: str
    dot: float | None
    interval: tuple[float, float] | None
    bounds: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One metric."""

    metric_id: str
    note: str
    height: float
    ticks: list[Tick]
    marks: list[Mark] = field(default_factory=list)


def panels(facts: ReportFacts) -> list[Panel]:
    """Return a panel for each metric that was scored in any run, and has an axis."""
    lines: dict[str, list[tuple[str, MetricSummary]]] = {}
    for run in facts.runs:
        for summary in run.summaries:
            lines.setdefault(summary.metric_id, []).append((run.label, summary))
    drawn: list[Panel] = []
    for metric_id, found in lines.items():
        if any(summary.value is not None for _, summary in found):
            axis = _axis([summary for _, summary in found])
            if axis is not None:
                drawn.append(_panel(metric_id, found, axis))
    return drawn


def _panel(
    metric_id: str,
    lines: list[tuple[str, MetricSummary]],
    axis: tuple[float, float, float],
) -> Panel:
    low, high, step = axis

    def place(value: float) -> float:
        share = (value - low) / (high - low)
        return round(LEFT + WIDTH * min(max(share, 0.0), 1.0), 2)

    def ends(pair: list[float] | None) -> tuple[float, float] | None:
        return None if pair is None else (place(pair[0]), place(pair[1]))

    first = lines[0][1]
    note = "higher is better" if first.higher_is_better else "lower is better"
    marks = [
        Mark(
            y=ROW * row + ROW / 2.0,
            label=_short(label),
            hint=f"{label}: {metric_id} {number(summary.value)}",
            value=number(summary.value),
            dot=None if summary.value is None else place(summary.value),
            interval=ends(summary.value_interval),
            bounds=ends(_bounds(summary)),
        )
        for row, (label, summary) in enumerate(lines)
    ]
    return Panel(
        metric_id=metric_id,
        note=note,
        height=ROW * len(lines) + AXIS,
        ticks=[Tick(x=place(value), text=f"{value:g}") for value in _steps(low, high, step)],
        marks=marks,
    )


def _bounds(summary: MetricSummary) -> list[float] | None:
    """Return how far errors, and cases not reached, could move the value that is shown."""
    if summary.corpus is not None or not (summary.n_errors or summary.n_missing):
        return None
    return summary.bounds


def _axis(summaries: list[MetricSummary]) -> tuple[float, float, float] | None:
    """Return least and greatest value of the axis and the distance of its ticks.

    The declared range where there is one; else what is shown, rounded outwards to ticks. None where
    floats cannot tell it.
    """
    ranges = [summary.value_range for summary in summaries if summary.value_range is not None]
    shown = [end for found in ranges for end in found]
    if not shown:
        for summary in summaries:
            shown += [] if summary.value is None else [summary.value]
            shown += summary.value_interval or []
    low, high = min(shown), max(shown)
    if low == high:
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    if not math.isfinite(high - low) or (high - low) / 4.0 < sys.float_info.min:
        return None
    step = _round_step((high - low) / 4.0)
    if ranges:
        return low, high, step
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return (low, high, step) if math.isfinite(high - low) else None


def _round_step(rough: float) -> float:
    """Return the 1, 2, 2.5 or 5 times a power of ten that is no less than ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough)


def _steps(low: float, high: float, step: float) -> Iterator[float]:
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return (float(f"{number * step:.12g}") for number in range(first, last + 1))


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
