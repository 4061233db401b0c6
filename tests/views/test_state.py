"""How a run stands, and when things happened.

Covers: themis.core.events, themis.core.results, themis.views.headline, themis.views.state,
themis.views.timeline
"""

from __future__ import annotations

import pytest

from tests.views.journals import EXACT, Journal, snapshot_of, store_of
from themis.core.events import Stage, StepAddress
from themis.core.results import RunStatus
from themis.views.headline import execution_state, read_standing
from themis.views.state import run_head

USAGE = {"prompt_tokens": 10, "completion_tokens": 2}


def test_a_run_that_never_started_is_pending() -> None:
    snapshot = snapshot_of(3)
    state = execution_state(store_of(snapshot, Journal()), snapshot.run_id)
    assert (state.status, state.attempt, state.progress.n_cases) == (RunStatus.PENDING, 0, 3)


def test_a_run_is_running_until_it_is_said_to_have_finished() -> None:
    snapshot = snapshot_of()
    journal = Journal()
    journal.started()
    assert run_head(store_of(snapshot, journal), snapshot.run_id).status is RunStatus.RUNNING
    journal.finished("partial_failure")
    assert (
        run_head(store_of(snapshot, journal), snapshot.run_id).status is RunStatus.PARTIAL_FAILURE
    )


def test_a_run_whose_failures_were_healed_later_is_completed() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.started()
    journal.failed(0, StepAddress(Stage.GENERATE, 0), "timeout")
    journal.case_finished(0)
    journal.finished("partial_failure")
    journal.started(attempt=2)
    journal.generate(0)
    journal.score(0, 1)
    journal.case_finished(0)
    journal.finished("completed")
    state = execution_state(store_of(snapshot, journal), snapshot.run_id)
    assert state.status is RunStatus.COMPLETED
    assert state.completed_through_stage == "judge"
    assert [about["status"] for about in state.attempts] == ["partial_failure", "completed"]
    assert state.progress.cases_with_errors == 0
    assert state.progress.stages["generate"].failed == 0


def test_an_attempt_that_is_gone_on_with_keeps_its_start_and_runs_again() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    first = journal.started()
    journal.finished("interrupted", through=None)
    journal.started()
    state = execution_state(store_of(snapshot, journal), snapshot.run_id)
    assert state.status is RunStatus.RUNNING
    assert len(state.attempts) == 1
    assert state.attempts[0]["started"] == first.at
    assert "finished" not in state.attempts[0]
    assert state.completed_through_stage is None


def test_progress_counts_steps_once_and_tokens_of_work_done_only() -> None:
    snapshot = snapshot_of(3)
    journal = Journal()
    journal.started()
    journal.generate(0, token_usage=USAGE, latency_ms=100.0)
    journal.generate(1, token_usage=USAGE, latency_ms=50.0, reused=True)
    journal.failed(2, StepAddress(Stage.GENERATE, 0), "timeout")
    journal.score(0, 1)
    journal.case_finished(0)
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    generate = progress.stages["generate"]
    assert (generate.done, generate.reused, generate.failed) == (2, 1, 1)
    assert progress.tokens == progress.tokens_reused == USAGE
    assert progress.latency_ms_sum == 100.0
    assert (progress.cases_finished, progress.cases_with_errors) == (1, 1)


def test_tokens_of_superseded_and_judging_work_are_counted() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.generate(0, token_usage=USAGE)
    journal.generate(0, token_usage=USAGE)
    journal.done(
        0,
        StepAddress(Stage.JUDGE, 0, "rubric", "call"),
        {"call": {}, "prompt": {}, "response": {"text": "", "token_usage": {"prompt_tokens": 5}}},
    )
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert progress.tokens == {"completion_tokens": 4, "prompt_tokens": 25}
    assert progress.stages["generate"].done == 1


def test_tokens_of_a_reused_answer_count_apart_as_long_as_it_stands() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    call = StepAddress(Stage.JUDGE, 0, "rubric", "call")
    said = {"call": {}, "prompt": {}, "response": {"text": "", "token_usage": {"prompt_tokens": 5}}}
    for case in (0, 1):
        journal.generate(case, token_usage=USAGE, reused=True)
        journal.done(case, call, said, reused=True)
    journal.generate(1, token_usage={"prompt_tokens": 1})
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert progress.tokens == {"prompt_tokens": 1}
    assert progress.tokens_reused == {"completion_tokens": 2, "prompt_tokens": 10 + 5 + 5}


def test_work_is_priced_where_its_price_is_known_and_never_for_nothing() -> None:
    snapshot = snapshot_of(6)
    journal = Journal()
    for case in range(3):
        journal.generate(case, token_usage=USAGE).data["cost"] = 0.1
    journal.generate(3, token_usage=USAGE)
    journal.generate(4)
    journal.generate(5, token_usage=USAGE, reused=True)
    call = StepAddress(Stage.JUDGE, 0, "rubric", "call")
    payload = {"call": {}, "prompt": {}, "response": {"text": "", "token_usage": USAGE}}
    journal.done(0, call, payload).data["cost"] = 0.5
    journal.attempt = 2
    journal.done(0, call, payload).data["cost"] = 0.5
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert progress.cost_usd == 1.3
    assert progress.unpriced_calls == 1


def test_latencies_are_those_of_generations_and_judge_calls_made() -> None:
    snapshot = snapshot_of(4)
    journal = Journal()
    journal.generate(0, latency_ms=100.0, artifacts={"first_token_ms": 20.0})
    journal.generate(1, latency_ms=300.0, artifacts={"first_token_ms": "soon"})
    journal.generate(2, latency_ms=9000.0, reused=True)
    journal.generate(3)  # whose adapter tells no time: that of the step
    call = StepAddress(Stage.JUDGE, 0, "rubric", "call")
    journal.done(0, call, {"call": {}, "response": {"text": "", "latency_ms": 700.0}})
    journal.done(0, StepAddress(Stage.SCORE, 0, EXACT), {"value": 1}, ms=8000.0)
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert progress.latency_ms == {
        "p50": pytest.approx(100.0, rel=0.01),
        "p90": 700.0,
        "p99": 700.0,
        "max": 700.0,
    }
    assert progress.latency_ms_sum == 1105.0
    assert progress.first_token_ms["max"] == 20.0


def test_a_run_without_calls_has_no_latencies() -> None:
    snapshot = snapshot_of(1)
    progress = execution_state(store_of(snapshot, Journal()), snapshot.run_id).progress
    assert (progress.latency_ms, progress.first_token_ms) == ({}, {})
    assert (progress.cost_usd, progress.unpriced_calls) == (0.0, 0)


def test_why_a_run_was_stopped_is_told_until_it_goes_on() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.started()
    journal.finished("interrupted", through=None, reason="the budget of 100 tokens is spent")
    state = execution_state(store_of(snapshot, journal), snapshot.run_id)
    assert state.reason == "the budget of 100 tokens is spent"
    assert state.attempts[0]["reason"] == state.reason
    journal.started()
    state = execution_state(store_of(snapshot, journal), snapshot.run_id)
    assert state.reason is None
    assert "reason" not in state.attempts[0]
    journal.finished()
    assert execution_state(store_of(snapshot, journal), snapshot.run_id).reason is None


def test_the_oldest_generation_is_dated_by_its_artifact_though_reused() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    payload = {"candidate_id": "c", "final_output": "x"}
    address = StepAddress(Stage.GENERATE, 0)
    journal.done(0, address, payload, reused=True, made_at=12.0)
    new = journal.done(1, address, payload)
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert (progress.oldest, progress.newest) == (12.0, new.at)


def test_a_judge_that_is_out_makes_no_error_of_the_case_by_itself() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.failed(0, StepAddress(Stage.JUDGE, 0, "panel", "call"), "judge")
    journal.done(0, StepAddress(Stage.JUDGE, 0, "panel"), {"value": 1})
    progress = execution_state(store_of(snapshot, journal), snapshot.run_id).progress
    assert progress.cases_with_errors == 0
    assert progress.stages["judge"].failed == 1


def test_a_rerun_counts_its_own_finished_cases() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    journal.started()
    journal.case_finished(0)
    journal.case_finished(1)
    journal.finished()
    journal.started(attempt=2, mode="rerun")
    journal.case_finished(0)
    store = store_of(snapshot, journal)
    assert execution_state(store, snapshot.run_id).progress.cases_finished == 1


def test_a_case_that_went_less_far_is_not_finished() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    journal.started(until="generate")
    journal.case_finished(0, through="generate")
    journal.case_finished(1, through="generate")
    journal.finished(through="generate")
    journal.started(attempt=2)
    journal.case_finished(1)
    store = store_of(snapshot, journal)
    assert execution_state(store, snapshot.run_id).progress.cases_finished == 1


def test_a_note_is_told_once() -> None:
    snapshot = snapshot_of(1)
    journal = Journal()
    journal.note("code changed")
    journal.note("code changed")
    assert run_head(store_of(snapshot, journal), snapshot.run_id).notes == ["code changed"]


def test_the_timeline_tells_attempts_and_stages_apart() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    first = journal.started()
    journal.done(
        0,
        StepAddress(Stage.GENERATE, 0),
        {"candidate_id": "c", "final_output": 'says "tries"', "tries": [{"category": "timeout"}]},
        ms=100.0,
    )
    journal.done(1, StepAddress(Stage.GENERATE, 0), {"final_output": '"tries"'}, ms=300.0)
    last = journal.done(0, StepAddress(Stage.SCORE, 0, EXACT), {"value": 1}, ms=1.0)
    journal.attempt = 2
    journal.generate(0, reused=True)
    one, two = read_standing(store_of(snapshot, journal), snapshot).headline.timeline
    assert (one.first, one.last, one.seconds) == (first.at, last.at, 3.0)
    assert [stage.stage for stage in one.stages] == ["generate", "score"]
    generate = one.stages[0]
    assert (generate.made, generate.retried, generate.max_ms) == (2, 1, 300.0)
    assert (generate.p50_ms, generate.work_ms) == (100.0, 400.0)
    assert (two.attempt, two.stages[0].reused, two.stages[0].p50_ms) == (2, 1, None)


def test_what_was_too_old_is_counted_for_the_newest_attempt_alone() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    journal.started()
    journal.generate(0).data["renewed"] = True
    journal.finished()
    journal.started(attempt=2, mode="rerun")
    journal.generate(1).data["renewed"] = True
    store = store_of(snapshot, journal)
    assert execution_state(store, snapshot.run_id).progress.renewed == 1
