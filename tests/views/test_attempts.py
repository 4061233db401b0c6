"""A run as of an attempt: every view of RUN@n is that of a journal that ends with attempt n.

Covers: themis.experiment.queries, themis.views.attempts, themis.views.timeline
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.views.journals import Journal, snapshot_of, store_of
from themis.core.errors import DefinitionError, RunNotFoundError, StoreError
from themis.core.events import EventKind, Stage, StepAddress
from themis.execution.lease import this_process
from themis.experiment.queries import get_execution_state, get_run_snapshot, quickcheck
from themis.experiment.result import RunResult
from themis.reporting import Reporter
from themis.views.attempts import as_of, split_name
from themis.views.headline import read_standing

CASES = 3
GENERATE, SCORE = StepAddress(Stage.GENERATE, 0), "builtin/exact_match"


def three_attempts() -> Journal:
    journal = Journal()
    journal.started()
    journal.generate(0)
    journal.score(0, 0)
    journal.case_finished(0)
    journal.finished()
    journal.started(attempt=2, mode="rerun")
    journal.generate(0)
    journal.score(0, 1)
    journal.case_finished(0)
    journal.note("said in the second")
    journal.finished()
    journal.started(attempt=3)
    journal.failed(1, GENERATE, "timeout")
    journal.finished("partial_failure")
    return journal


def test_each_attempt_shows_the_run_as_it_left_it() -> None:
    snapshot = snapshot_of(CASES)
    store = store_of(snapshot, three_attempts())
    means = [RunResult.of(store, f"{snapshot.run_id}@{n}").metrics[SCORE].mean for n in (1, 2, 3)]
    assert means == [0.0, 1.0, 1.0]
    states = [get_execution_state(store, f"{snapshot.run_id}@{n}") for n in (1, 2, 3)]
    assert [one.status for one in states] == ["completed", "completed", "partial_failure"]
    assert [one.attempt for one in states] == [1, 2, 3]
    assert [one.later_attempts for one in states] == [[2, 3], [3], []]
    assert [len(one.attempts) for one in states] == [1, 2, 3]
    assert [one.notes for one in states] == [[], ["said in the second"], ["said in the second"]]
    assert get_execution_state(store, snapshot.run_id) == states[2]
    assert get_run_snapshot(store, f"{snapshot.run_id}@1") == snapshot


def test_what_is_shown_of_an_earlier_attempt_says_that_there_are_later_ones() -> None:
    snapshot = snapshot_of(CASES)
    store = store_of(snapshot, three_attempts())
    name = f"{snapshot.run_id}@1"
    said = "as of attempt 1; there are later ones: 2, 3"
    assert said in repr(RunResult.of(store, name))
    assert quickcheck(store, name)["later_attempts"] == [2, 3]
    for form in ("markdown", "html"):
        assert said in Reporter(store).render(name, form)
        assert "later ones" not in Reporter(store).render(snapshot.run_id, form)
    assert name in Reporter(store).render(name, "latex")
    assert "later ones" not in repr(RunResult.of(store, snapshot.run_id))


def test_a_result_as_of_an_attempt_reports_that_attempt(tmp_path: Any) -> None:
    snapshot = snapshot_of(CASES)
    store = store_of(snapshot, three_attempts())
    path = RunResult.of(store, f"{snapshot.run_id}@1").report(tmp_path / "report.md")
    assert "as of attempt 1" in path.read_text()


def test_attempts_stand_side_by_side_in_a_report() -> None:
    snapshot = snapshot_of(CASES)
    store = store_of(snapshot, three_attempts())
    text = Reporter(store).render([f"{snapshot.run_id}@1", f"{snapshot.run_id}@2"])
    short = snapshot.run_id[:8]
    assert f"gen ({short}@1)" in text
    assert f"gen ({short}@2)" in text


def test_an_unknown_attempt_is_refused_by_naming_those_there_are() -> None:
    snapshot = snapshot_of(CASES)
    store = store_of(snapshot, three_attempts())
    with pytest.raises(DefinitionError) as refusal:
        get_execution_state(store, f"{snapshot.run_id}@7")
    assert str(refusal.value) == (
        f"run {snapshot.run_id} has no attempt 7; it has 1 (run), 2 (rerun), 3 (run)"
    )
    empty = store_of(snapshot, Journal())
    with pytest.raises(DefinitionError, match="no attempt 1; it has not begun"):
        as_of(empty, f"{snapshot.run_id}@1")
    with pytest.raises(RunNotFoundError):
        as_of(store, "nothing@1")


@pytest.mark.parametrize("name", ["r@", "r@x", "r@-1", "r@1@2", "r@ 1", "@2", "r@²"])
def test_what_names_no_attempt_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="write RUN@N"):
        split_name(name)


def test_names_are_split_at_their_attempt() -> None:
    assert split_name("abc") == ("abc", None)
    assert split_name("latest@12") == ("latest", 12)


def test_nothing_can_be_written_through_an_attempt() -> None:
    snapshot = snapshot_of(CASES)
    shown, run_id = as_of(store_of(snapshot, three_attempts()), f"{snapshot.run_id}@1")
    writes: dict[str, Any] = {
        "append": lambda: shown.append(run_id, [], epoch=1),
        "save_snapshot": lambda: shown.save_snapshot(snapshot),
        "lease": lambda: shown.lease(run_id, this_process(), 1.0),
        "clear_run": lambda: shown.clear_run(run_id),
        "save_cases": lambda: shown.save_cases("f", 0, []),
        "put_blob": lambda: shown.put_blob(b""),
    }
    for name, write in writes.items():
        with pytest.raises(StoreError, match=rf"@1 can only be read: {name}\(\)"):
            write()
    assert all(event.attempt == 1 for event in shown.events(run_id))


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["generate", "score", "failed", "dropped", "finished", "attempt"]),
        st.integers(0, CASES - 1),
    ),
    max_size=40,
)


def _written(moves: list[tuple[str, int]]) -> Journal:
    journal = Journal()
    journal.started()
    for move, case in moves:
        if move == "generate":
            journal.generate(case)
        elif move == "score":
            journal.score(case, len(journal.events) % 2)
        elif move == "failed":
            journal.failed(case, GENERATE, "timeout")
        elif move == "dropped":
            address = StepAddress(Stage.SCORE, 0, SCORE)
            journal._add(EventKind.STEP_DROPPED, case_index=case, address=address)
        elif move == "finished":
            journal.case_finished(case)
        else:
            journal.finished()
            journal.started(attempt=journal.attempt + 1, mode=("run", "rerun")[case % 2])
    return journal


@given(moves=MOVES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_folding_as_of_an_attempt_is_folding_a_journal_that_ends_with_it(
    moves: list[tuple[str, int]], data: st.DataObject
) -> None:
    journal = _written(moves)
    attempt = data.draw(st.integers(1, journal.attempt))
    snapshot = snapshot_of(CASES)
    shown, run_id = as_of(store_of(snapshot, journal), f"{snapshot.run_id}@{attempt}")
    cut = Journal()
    cut.events = [event for event in journal.events if event.attempt <= attempt]
    ended = store_of(snapshot, cut)
    now, then = RunResult(shown, snapshot), RunResult(ended, snapshot)
    assert list(now.score_rows()) == list(then.score_rows())
    assert list(now.cases) == list(then.cases)
    assert now.metrics == then.metrics
    shown_headline, ended_headline = (
        read_standing(one, snapshot).headline for one in (shown, ended)
    )
    assert shown_headline.timeline == ended_headline.timeline
    later = list(range(attempt + 1, journal.attempt + 1))
    assert now.state == then.state.model_copy(update={"later_attempts": later})
    assert run_id == snapshot.run_id
