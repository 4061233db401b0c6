"""The headline table in plain text.

Covers: themis.analysis.tables
"""

from __future__ import annotations

from typing import Any

import pytest

from themis.analysis.tables import (
    corpus_text,
    cost_text,
    dollars,
    endings_text,
    headline_row,
    milliseconds,
    number,
    plain_table,
    reported_text,
    times_text,
    tokens_text,
    work_text,
)
from themis.core.results import CorpusValue, MetricSummary, ReportedModel, RunProgress


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


def test_a_metric_of_which_less_is_better_has_its_arrow() -> None:
    assert headline_row(summary(higher_is_better=False, unit="edits")).metric == (
        "exact_match (edits) ↓"
    )
    assert headline_row(summary()).metric == "exact_match"


def test_figures_at_the_edges_are_written_as_those_within() -> None:
    assert [number(one) for one in (0.001, 0.00099, 999_999.0, 1e6, -1e6, 0.0)] == [
        "0.001", "9.900e-04", "999999.000", "1.000e+06", "-1.000e+06", "0.000",
    ]  # fmt: skip
    assert [dollars(one) for one in (1.0, 0.005, 0.0001, 0.00009, 1e-6, 9e-7)] == [
        "$1.00", "$0.0050", "$0.0001", "$0.000090", "$0.000001", "$9.0e-07",
    ]  # fmt: skip
    assert [milliseconds(one) for one in (99.94, 100.0, 999.6)] == ["99.9 ms", "100 ms", "1,000 ms"]


def test_notes_on_corpus_values_count_rows_and_give_a_signature_only_beside_a_value() -> None:
    def told(**fields: Any) -> str:
        return corpus_text([summary(corpus=CorpusValue(**fields))])

    assert "1 row without" in told(value=0.5, n_rows=3, n_without=1)
    assert "2 rows without" in told(value=0.5, n_rows=3, n_without=2)
    assert "signature" not in told(failure="nothing", n_rows=0, n_without=0, signature="s")
    assert told(value=0.5, n_rows=3, n_without=0, signature="s").endswith(": s")


def test_three_other_models_are_named_and_the_rest_counted() -> None:
    def progress(others: int) -> RunProgress:
        named = [("most", 9, False), *((f"m{n}", 1, True) for n in range(others))]
        reported = [
            ReportedModel(model=name, system_fingerprint=None, answers=count, deviates=deviates)
            for name, count, deviates in named
        ]
        return RunProgress(n_cases=9, reported=reported)

    assert "more" not in reported_text(progress(3))
    assert "m2 (1) and 1 more; the rest: most (9)" in reported_text(progress(4))


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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "$0.00"),
        (0.0123, "$0.0123"),
        (0.00005, "$0.000050"),
        (3e-8, "$3.0e-08"),
        (1.5, "$1.50"),
        (12345.678, "$12,345.68"),
    ],
)
def test_dollars_are_written_as_exactly_as_they_are_few(value: float, shown: str) -> None:
    assert dollars(value) == shown


@pytest.mark.parametrize(
    ("cost", "unpriced", "shown"),
    [
        (0.0123, 0, "$0.0123"),
        (0.0, 3, "unknown price"),
        (0.01, 12, "$0.0100 + 12 calls at an unknown price"),
        (0.01, 1, "$0.0100 + 1 call at an unknown price"),
        (0.0, 0, "$0.00"),
    ],
)
def test_an_unknown_price_is_said_and_never_taken_for_nothing(
    cost: float, unpriced: int, shown: str
) -> None:
    assert cost_text(cost, unpriced) == shown


def test_work_is_told_in_one_line_where_there_was_any() -> None:
    assert work_text(RunProgress()) == ""
    tokens = {"cached_tokens": 3, "completion_tokens": 34, "prompt_tokens": 1200}
    progress = RunProgress(tokens=tokens, cost_usd=0.02)
    said = "1,234 (3 cached, 34 completion, 1,200 prompt)"
    assert tokens_text(tokens) == said
    assert work_text(progress) == f"tokens: {said}, cost: $0.0200"
    reused = RunProgress(tokens_reused={"prompt_tokens": 7})
    assert work_text(reused) == "tokens: none spent, 7 (7 prompt) reused, cost: none"


def test_times_have_the_digits_that_a_percentile_has() -> None:
    assert milliseconds(None) == "-"
    assert times_text({}) == "none"
    assert times_text({"p50": 12.345, "max": 1234.5}) == "p50 12.3 ms, max 1,234 ms"


def test_answers_that_ended_otherwise_are_told_once_where_all_metrics_saw_them() -> None:
    ended = {"refused": 3, "truncated": 12}
    assert endings_text([summary(), summary()]) == ""
    assert endings_text([]) == ""
    assert endings_text([summary(endings=ended), summary(endings=ended)]) == (
        "3 refused, 12 truncated"
    )
    assert endings_text([summary(endings=ended), summary(metric_id="set")]) == (
        "exact_match: 3 refused, 12 truncated"
    )
