"""Where a plot's marks go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.views.journals import Journal, metric, snapshot_of, store_of
from themis.core.events import Stage, StepAddress
from themis.reporting import plot
from themis.reporting.facts import report_facts


def panel_of(values: list[float], **facts: Any) -> plot.Panel:
    snapshot = snapshot_of(len(values) + 1, metrics=[metric("m", **facts)])
    journal = Journal()
    for case, value in enumerate(values):
        journal.score(case, value, name="m")
    journal.failed(len(values), StepAddress(Stage.GENERATE, 0), "timeout")
    (panel,) = plot.panels(report_facts(store_of(snapshot, journal), snapshot.run_id))
    return panel


def test_the_axis_is_the_declared_range() -> None:
    panel = panel_of([1, 0, 1, 0])
    assert [tick.text for tick in panel.ticks] == ["0", "0.25", "0.5", "0.75", "1"]
    mark = panel.marks[0]
    assert mark.dot == plot.LEFT + plot.WIDTH / 2
    assert mark.interval is not None
    assert mark.interval[0] < mark.dot < mark.interval[1]
    assert mark.bounds is not None
    assert mark.bounds[1] - mark.bounds[0] == pytest.approx(plot.WIDTH / 5)


@pytest.mark.parametrize(
    "values", [[3.0], [5.0, 5.0], [0.0, 0.0], [-4.0, 9.0, 2.5], [1e-9, 2e-9], [1e12, 3e12]]
)
def test_without_a_range_the_axis_holds_what_is_shown(values: list[float]) -> None:
    panel = panel_of(values, kind="value", value_range=None)
    mark = panel.marks[0]
    assert mark.bounds is None
    assert mark.dot is not None
    places = [mark.dot, *(mark.interval or ())]
    assert all(plot.LEFT <= place <= plot.LEFT + plot.WIDTH for place in places)
    assert 2 <= len(panel.ticks) <= 9


def test_a_metric_that_was_never_scored_has_no_panel() -> None:
    snapshot = snapshot_of(1)
    assert plot.panels(report_facts(store_of(snapshot, Journal()), snapshot.run_id)) == []
