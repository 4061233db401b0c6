"""The headline table in plain text."""

from __future__ import annotations

from typing import Any

from themis.analysis.tables import headline_row, number, plain_table
from themis.core.results import MetricSummary


def summary(**fields: Any) -> MetricSummary:
    return MetricSummary(
        **{
            "metric_id": "exact_match",
            "mean": 0.5,
            "n_cases": 4,
            "n_cases_scored": 4,
            "n_scored": 4,
            "n_errors": 0,
            "n_unparsed": 1,
            "bounds": [0.5, 0.5],
            "interval": [0.15, 0.85],
            "value_range": [0.0, 1.0],
            **fields,
        }
    )


def test_columns_line_up() -> None:
    table = plain_table([summary(), summary(metric_id="f1", mean=None, interval=None)])
    lines = table.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["metric", "exact_match", "f1"]
    assert "0.150 to 0.850" in lines[1]
    end = lines[0].index("mean") + len("mean")
    assert lines[1][:end].endswith("0.500")
    assert lines[2][:end].endswith("-")


def test_errors_are_told_by_category_and_a_missing_range_is_said() -> None:
    row = headline_row(summary(n_errors=2, errors={"timeout": 2}, value_range=None, bounds=None))
    assert row.errors == "2 (timeout 2)"
    assert row.bounds == "no range"


def test_samples_are_told_from_cases() -> None:
    assert headline_row(summary(n_scored=16)).scored == "16 in 4 cases"


def test_cases_that_are_missing_are_told_beside_the_scored_ones() -> None:
    short = {"n_cases": 200, "n_cases_scored": 108, "n_missing": 92}
    assert headline_row(summary(n_scored=108, **short)).scored == "108 of 200 cases"
    assert headline_row(summary(n_scored=400, **short)).scored == "400 in 108 of 200 cases"
    assert headline_row(summary()).scored == "4"
    assert "108 of 200 cases" in plain_table([summary(n_scored=108, **short)])


def test_runs_side_by_side_carry_their_labels() -> None:
    table = plain_table([summary(), summary()], labels=["short", "a longer one"])
    assert table.splitlines()[2].startswith("a longer one  exact_match")


def test_no_metrics_are_said() -> None:
    assert plain_table([]) == "no metrics"


def test_numbers_keep_three_decimals_unless_that_would_hide_them() -> None:
    assert [number(one) for one in (None, 0.0, 0.12345, 12.0, 0.00001, 2.5e9)] == [
        "-",
        "0.000",
        "0.123",
        "12.000",
        "1.000e-05",
        "2.500e+09",
    ]
