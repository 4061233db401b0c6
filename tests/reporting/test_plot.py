"""Where a plot's marks go.

Covers: themis.reporting.as_html, themis.reporting.facts, themis.reporting.plot
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.views.journals import Journal, metric, snapshot_of, store_of
from themis.core.events import Stage, StepAddress
from themis.reporting import as_html, plot
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


@pytest.mark.parametrize(
    ("value_range", "value"),
    [([-1e308, 1e308], 0.0), ([0.0, 5e-324], 0.0), ([0.0, 1e-308], 1e-308), (None, 1.7e308)],
)
def test_a_range_that_floats_cannot_divide_has_no_panel(
    value_range: list[float] | None, value: float
) -> None:
    snapshot = snapshot_of(1, metrics=[metric("m", kind="value", value_range=value_range)])
    journal = Journal()
    journal.score(0, value, name="m")
    facts = report_facts(store_of(snapshot, journal), snapshot.run_id)
    assert plot.panels(facts) == []
    assert "No metrics" not in "".join(as_html.render(facts))


@pytest.mark.parametrize("value_range", [[0.0, 1e-20], [1e300, 2e300], [-1e-300, 1e-300]])
def test_a_small_or_great_range_has_ticks_that_differ(value_range: list[float]) -> None:
    snapshot = snapshot_of(1, metrics=[metric("m", kind="value", value_range=value_range)])
    journal = Journal()
    journal.score(0, value_range[1], name="m")
    (panel,) = plot.panels(report_facts(store_of(snapshot, journal), snapshot.run_id))
    assert len({tick.x for tick in panel.ticks}) == len({tick.text for tick in panel.ticks}) >= 3
    assert panel.marks[0].dot == plot.LEFT + plot.WIDTH


def test_missing_cases_have_bounds_in_the_plot() -> None:
    snapshot = snapshot_of(4, metrics=[metric("m")])
    journal = Journal()
    journal.score(0, 1, name="m")
    (panel,) = plot.panels(report_facts(store_of(snapshot, journal), snapshot.run_id))
    assert panel.marks[0].bounds == (plot.LEFT + plot.WIDTH / 4, plot.LEFT + plot.WIDTH)
