"""What the score table promises: a row for everything, and the right one.

Covers: themis.views.scores, themis.views.steps
"""

from __future__ import annotations

import pytest

from tests.views.journals import (
    EXACT,
    PARSER,
    Journal,
    metric,
    snapshot_of,
    store_of,
    summaries_of,
)
from themis.core.errors import DefinitionError
from themis.core.events import Stage, StepAddress
from themis.core.pipeline import Pipeline
from themis.core.results import MetricSummary
from themis.core.snapshot import DatasetRef, RunSnapshot
from themis.views.scores import CaseScore, score_case, score_rows
from themis.views.steps import CaseSteps

GENERATE = StepAddress(Stage.GENERATE, 0)
JUDGED = StepAddress(Stage.JUDGE, 0, "rubric")


def rows_of(snapshot: RunSnapshot, journal: Journal, case: int = 0) -> list[CaseScore]:
    steps = CaseSteps(case)
    for event in journal.events:
        if event.case_index == case:
            steps.add(event)
    return score_case(steps, Pipeline(snapshot.identity), snapshot.identity.metrics)


def told(rows: list[CaseScore]) -> list[tuple[object, ...]]:
    return [(row.sample, row.value, row.outcome, row.category) for row in rows]


def test_a_binary_score_is_correct_or_incorrect_and_a_value_is_scored() -> None:
    snapshot = snapshot_of(metrics=[metric(), metric("f1", kind="value")])
    journal = Journal()
    journal.generate(0)
    journal.score(0, 1)
    journal.score(0, 0.25, name="f1", details={"overlap": 3})
    rows = rows_of(snapshot, journal)
    assert told(rows) == [(0, 1.0, "correct", None), (0, 0.25, "scored", None)]
    assert rows[1].details == {"overlap": 3}
    assert rows[1].candidate_id == "c0"


def test_an_unparsed_candidate_is_incorrect_with_its_category_shown() -> None:
    journal = Journal()
    journal.generate(0)
    journal.score(0, 0, failure={"category": "parse_null", "message": "nothing there"})
    row = rows_of(snapshot_of(), journal)[0]
    assert (row.outcome, row.category, row.message) == ("incorrect", "parse_null", "nothing there")


def test_a_failed_generation_is_an_error_row_of_every_metric() -> None:
    snapshot = snapshot_of(metrics=[metric(), metric("f1"), metric("set", subject="candidates")])
    journal = Journal()
    journal.failed(0, GENERATE, "timeout", "gen: no answer")
    rows = rows_of(snapshot, journal)
    assert [row.metric_id for row in rows] == [EXACT, "f1", "set"]
    assert {(row.outcome, row.category, row.message) for row in rows} == {
        ("error", "timeout", "gen: no answer")
    }


def test_a_run_not_so_far_yet_has_no_rows() -> None:
    journal = Journal()
    journal.generate(0)
    assert rows_of(snapshot_of(), journal) == []


def test_one_failed_sample_leaves_the_others_their_scores() -> None:
    snapshot = snapshot_of(num_samples=2, metrics=[metric(), metric("set", subject="candidates")])
    journal = Journal()
    journal.generate(0, 0)
    journal.failed(0, StepAddress(Stage.GENERATE, 1), "generation")
    journal.score(0, 1, 0)
    assert told(rows_of(snapshot, journal)) == [
        (0, 1.0, "correct", None),
        (1, None, "error", "generation"),
        (None, None, "error", "generation"),
    ]


def test_with_a_reducer_a_failed_sample_is_one_error_row() -> None:
    snapshot = snapshot_of(num_samples=2, reducer=True)
    journal = Journal()
    journal.generate(0, 0)
    journal.failed(0, StepAddress(Stage.GENERATE, 1), "generation")
    assert told(rows_of(snapshot, journal)) == [(None, None, "error", "generation")]
    journal.generate(0, 1)
    assert rows_of(snapshot, journal) == []
    journal.failed(0, StepAddress(Stage.REDUCE), "reduction")
    assert told(rows_of(snapshot, journal)) == [(None, None, "error", "reduction")]
    journal.done(0, StepAddress(Stage.REDUCE), {"candidate_id": "r"}, candidate_id="r")
    journal.score(0, 1, None)
    assert told(rows_of(snapshot, journal)) == [(None, 1.0, "correct", None)]


def test_a_reducer_that_got_by_without_a_sample_is_not_blocked_by_it() -> None:
    snapshot = snapshot_of(num_samples=2, reducer=True)
    journal = Journal()
    journal.failed(0, StepAddress(Stage.GENERATE, 1), "generation")
    journal.done(0, StepAddress(Stage.REDUCE), {"candidate_id": "r"}, candidate_id="r")
    journal.score(0, 1, None)
    assert told(rows_of(snapshot, journal)) == [(None, 1.0, "correct", None)]


def test_only_the_chosen_samples_are_scored() -> None:
    snapshot = snapshot_of(num_samples=3, selector=True)
    journal = Journal()
    for sample in range(3):
        journal.generate(0, sample)
    assert rows_of(snapshot, journal) == []
    journal.done(0, StepAddress(Stage.SELECT), {"chosen": [2]})
    journal.score(0, 1, 2)
    assert told(rows_of(snapshot, journal)) == [(2, 1.0, "correct", None)]


def test_a_failed_selection_is_one_error_row() -> None:
    snapshot = snapshot_of(num_samples=2, selector=True)
    journal = Journal()
    journal.generate(0, 0)
    journal.generate(0, 1)
    journal.failed(0, StepAddress(Stage.SELECT), "selection")
    assert told(rows_of(snapshot, journal)) == [(None, None, "error", "selection")]


def test_the_newest_event_of_a_step_wins_whatever_its_attempt() -> None:
    journal = Journal()
    journal.generate(0)
    journal.score(0, 0)
    journal.attempt = 2
    journal.score(0, 1)
    journal.attempt = 1
    assert told(rows_of(snapshot_of(), journal)) == [(0, 1.0, "correct", None)]


def test_a_generation_that_failed_anew_outdates_the_score_of_the_one_before() -> None:
    journal = Journal()
    journal.generate(0)
    journal.score(0, 1)
    journal.failed(0, GENERATE, "timeout")
    assert told(rows_of(snapshot_of(), journal)) == [(0, None, "error", "timeout")]
    journal.generate(0, reused=True)
    assert told(rows_of(snapshot_of(), journal)) == [(0, 1.0, "correct", None)]


def test_a_parser_that_is_out_blocks_the_metrics_that_read_from_it_alone() -> None:
    judged = metric("rubric", parser=PARSER, judged=True)
    snapshot = snapshot_of(metrics=[metric(parser=PARSER), metric("plain"), judged], parser=PARSER)
    journal = Journal()
    journal.generate(0)
    journal.failed(0, StepAddress(Stage.PARSE, 0, PARSER), "timeout", candidate_id="c0")
    journal.score(0, 1, name="plain")
    journal.done(0, JUDGED, {"value": 1})
    assert told(rows_of(snapshot, journal)) == [
        (0, None, "error", "timeout"),
        (0, 1.0, "correct", None),
        (0, 1.0, "correct", None),
    ]


def test_a_summary_counts_everything_and_bounds_what_is_missing() -> None:
    snapshot = snapshot_of(4)
    journal = Journal()
    journal.generate(0)
    journal.score(0, 1)
    journal.score(1, 0, failure={"category": "parse_failure", "message": "no number"})
    journal.failed(2, GENERATE, "timeout")
    journal.failed(3, StepAddress(Stage.SCORE, 0, EXACT), "parse_failure")
    found = summaries_of(store_of(snapshot, journal), snapshot)[0]
    assert (found.mean, found.n_cases_scored, found.n_scored, found.n_errors) == (0.5, 2, 2, 2)
    assert (found.n_cases, found.n_missing) == (4, 0)
    assert found.n_unparsed == 2
    assert found.outcomes == {"correct": 1, "error": 2, "incorrect": 1}
    assert found.errors == {"parse_failure": 1, "timeout": 1}
    assert found.failures == {"parse_failure": 1}
    assert found.bounds == [0.25, 0.75]
    assert found.variance == 0.5


def test_a_case_counts_once_however_many_samples_it_has() -> None:
    snapshot = snapshot_of(2, num_samples=4)
    journal = Journal()
    for sample, value in enumerate((1, 1, 1, 0)):
        journal.score(0, value, sample)
    journal.score(1, 0, 0)
    journal.failed(1, StepAddress(Stage.GENERATE, 1), "timeout")
    found = summaries_of(store_of(snapshot, journal), snapshot)[0]
    assert found.mean == 0.375
    assert (found.n_cases_scored, found.n_scored, found.n_errors) == (2, 5, 1)
    assert found.variance == 0.28125
    # The second case lacks two samples yet: with the error, three of its four rows are open.
    assert found.bounds == [0.375, 0.75]


def test_cases_that_were_not_reached_are_missing_and_widen_the_bounds() -> None:
    snapshot = snapshot_of(
        200, metrics=[metric(), metric("later"), metric("loss", value_range=None)]
    )
    journal = Journal()
    for case in range(108):
        journal.score(case, 1)
        journal.score(case, 2, name="loss")
    exact, later, loss = summaries_of(store_of(snapshot, journal), snapshot)
    assert (exact.mean, exact.n_cases, exact.n_cases_scored, exact.n_missing) == (1.0, 200, 108, 92)
    assert (exact.n_errors, exact.bounds) == (0, [0.54, 1.0])
    assert (later.mean, later.n_cases_scored, later.n_missing) == (None, 0, 200)
    assert later.bounds == [0.0, 1.0]
    assert (loss.n_missing, loss.bounds) == (92, None)


def test_a_case_whose_samples_are_not_all_there_is_open_in_the_bounds_alone() -> None:
    snapshot = snapshot_of(1, num_samples=4)
    journal = Journal()
    journal.score(0, 1, 0)
    (found,) = summaries_of(store_of(snapshot, journal), snapshot)
    assert (found.mean, found.n_cases_scored, found.n_missing) == (1.0, 1, 0)
    assert found.bounds == [0.25, 1.0]


def test_plain_figures_are_all_there_and_null_where_there_is_none() -> None:
    snapshot = snapshot_of(1)
    (found,) = summaries_of(store_of(snapshot, Journal()), snapshot)
    plain = found.plain()
    assert set(plain) == set(MetricSummary.model_fields)
    assert plain["mean"] is None
    assert plain["interval"] is None


def test_without_a_range_there_are_no_bounds() -> None:
    snapshot = snapshot_of(1, metrics=[metric("loss", kind="value", value_range=None)])
    journal = Journal()
    journal.score(0, 1.5, name="loss")
    assert summaries_of(store_of(snapshot, journal), snapshot)[0].bounds is None


def test_a_run_in_which_everything_failed_has_no_mean_and_the_widest_bounds() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    journal.failed(0, GENERATE, "generation")
    journal.failed(1, GENERATE, "generation")
    found = summaries_of(store_of(snapshot, journal), snapshot)[0]
    assert (found.mean, found.variance, found.bounds) == (None, None, [0.0, 1.0])


def test_rows_carry_the_names_of_their_cases_over_several_datasets() -> None:
    datasets = [
        DatasetRef(dataset_id="a", fingerprint="fa", n_cases=2),
        DatasetRef(dataset_id="b", fingerprint="fb", n_cases=2),
    ]
    snapshot = snapshot_of(datasets=datasets)
    journal = Journal()
    for case in range(4):
        journal.score(case, case % 2)
    store = store_of(snapshot, journal)
    rows = list(score_rows(store, snapshot))
    assert [(row.dataset_id, row.case_id, row.value) for row in rows] == [
        ("a", "case-0", 0.0),
        ("a", "case-1", 1.0),
        ("b", "case-0", 0.0),
        ("b", "case-1", 1.0),
    ]
    assert len({row.case_key for row in rows}) == 4
    assert [row.dataset_id for row in score_rows(store, snapshot, start=1, stop=3)] == ["a", "b"]


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    snapshot = snapshot_of()
    with pytest.raises(DefinitionError, match="did you mean 'builtin/exact_match'"):
        summaries_of(store_of(snapshot, Journal()), snapshot, ["exact_match"])
