"""Which attempt is gone on with, and what in it stands for a step that is to be done again.

Covers: themis.execution.attempt, themis.execution.history
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runs import experiment
from themis.core.base import ArtifactKey, RunId
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.execution.attempt import Attempt, RunRequest
from themis.execution.history import Ledger, decide, read_history
from themis.planning.compile import compile_run
from themis.planning.compiled_run import CompiledRun
from themis.stores.memory import InMemoryRunStore

RUN = RunId("mine")
STEP = StepAddress(Stage.PARSE, 0, "p")


def compiled() -> CompiledRun:
    one = experiment(cases=2)
    return compile_run(
        generation=one.generation,
        evaluation=one.evaluation,
        datasets=one.datasets,
        seeds=[],
        environment={},
    )


def attempt(**fields: Any) -> Attempt:
    return Attempt(number=2, mode="rerun", until=Stage.JUDGE, began=100.0, **fields)


def artifact(*, run: str = RUN, at: float = 100.0) -> Artifact:
    return Artifact(key=ArtifactKey("k"), raw=b"{}", at=at, run_id=RunId(run))


def test_only_what_this_attempt_made_stands_for_a_step_that_is_done_again() -> None:
    again = attempt(redo=frozenset({Stage.PARSE}))
    assert again.accepts(artifact(), STEP, RUN)
    assert not again.accepts(artifact(at=99.9), STEP, RUN)
    assert not again.accepts(artifact(run="another's"), STEP, RUN)
    assert again.accepts(artifact(at=1.0, run="another's"), StepAddress(Stage.GENERATE, 0), RUN)


def test_what_is_as_old_as_is_allowed_is_not_too_old() -> None:
    bounded = attempt(not_before=50.0)
    assert bounded.accepts(artifact(at=50.0), STEP, RUN)
    assert not bounded.accepts(artifact(at=49.9), STEP, RUN)


def test_a_replay_of_some_metrics_parses_again_with_their_parsers_alone() -> None:
    some = attempt(
        redo=frozenset({Stage.PARSE, Stage.SCORE}),
        metric_ids=frozenset({"m"}),
        parsers=frozenset({"p"}),
    )
    assert some.redoes(STEP)
    assert not some.redoes(StepAddress(Stage.PARSE, 0, "another"))
    assert some.redoes(StepAddress(Stage.SCORE, 0, "m"))
    assert not some.redoes(StepAddress(Stage.SCORE, 0, "another"))
    assert not some.redoes(StepAddress(Stage.JUDGE, 0, "m"))


@pytest.mark.parametrize(
    ("mode", "status", "number"),
    [
        ("run", None, 1),
        ("run", "interrupted", 1),
        ("run", "failed", 1),
        ("run", "completed", 2),
        ("run", "partial_failure", 2),
        ("import", None, 2),
        ("import", "interrupted", 2),
    ],
)
def test_an_attempt_that_came_to_no_end_is_gone_on_with_unless_it_was_an_import(
    mode: str, status: str | None, number: int
) -> None:
    run = compiled()
    store = InMemoryRunStore()
    store.save_snapshot(run.snapshot)
    begun = {**attempt().data(), "mode": mode, "provenance": {"code": run.code()}}
    events = [Event(kind=EventKind.RUN_STARTED, attempt=1, at=1.0, seq=1, data=begun)]
    if status is not None:
        ended = {"status": status, "through": None}
        events.append(Event(kind=EventKind.RUN_FINISHED, attempt=1, at=2.0, seq=2, data=ended))
    store.append(run.run_id, events, epoch=1)
    decision = decide(read_history(store, run), store, run, RunRequest(), 9.0)
    assert decision is not None
    assert decision.attempt.number == number
    assert decision.resumed is (number == 1)
    assert decision.attempt.began == (1.0 if number == 1 else 9.0)


def test_code_that_changed_and_changed_back_leaves_no_case_as_it_was() -> None:
    run = compiled()
    store = InMemoryRunStore()
    store.save_snapshot(run.snapshot)

    def begun(number: int, code: dict[str, Any]) -> Event:
        data = {**attempt().data(), "mode": "run", "provenance": {"code": code}}
        return Event(kind=EventKind.RUN_STARTED, attempt=number, at=1.0, data=data)

    def done(case: int) -> Event:
        data = {"through": "judge", "outages": 0, "generated": True}
        return Event(kind=EventKind.CASE_FINISHED, attempt=1, at=1.0, case_index=case, data=data)

    now = dict(run.code())
    other = dict.fromkeys(now, "another digest")
    events = [begun(1, now), done(0), done(1), begun(2, other), begun(3, now)]
    for seq, event in enumerate(events, start=1):
        event.seq = seq
    store.append(run.run_id, events, epoch=1)
    history = read_history(store, run)
    assert history.ledger.any_stale()
    assert not any(history.ledger.done(attempt()))


def test_an_attempt_that_reuses_nothing_has_cases_of_earlier_ones_left_to_do() -> None:
    ledger = Ledger(1)
    data = {"through": "judge", "outages": 0, "generated": True}
    ledger.record(Event(kind=EventKind.CASE_FINISHED, attempt=1, at=1.0, case_index=0, data=data))
    assert all(ledger.done(attempt()))
    assert not any(ledger.done(attempt(reuse="none")))
    assert not any(ledger.done(attempt(redo=frozenset({Stage.SCORE}))))
