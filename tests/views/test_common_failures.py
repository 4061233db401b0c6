"""What failed in a run, and how often.

Covers: themis.views.common_failures, themis.views.steps
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runs import experiment
from tests.views.journals import EXACT, Journal, snapshot_of, store_of
from themis.core.events import Stage, StepAddress
from themis.core.models import ScoreError
from themis.testing.scripted import CountingMetric, ScriptedGenerator
from themis.views.common_failures import MOST, CommonFailure, FailuresFold, common_failures
from themis.views.steps import fold_cases

GENERATE = StepAddress(Stage.GENERATE, 0)


def failures_of(one: Any) -> list[CommonFailure]:
    result = one.run()
    return common_failures(one.store, result.snapshot).told


def test_the_most_frequent_failure_comes_first_and_counts_once_a_case() -> None:
    snapshot = snapshot_of(4, num_samples=2)
    journal = Journal()
    journal.failed(0, GENERATE, "generation", "gen: rare")
    for case in (1, 2):
        for sample in (0, 1):
            journal.failed(case, StepAddress(Stage.GENERATE, sample), "timeout", "gen: slow")
    journal.failed(3, GENERATE, "timeout", "gen: slow")
    journal.generate(3)
    journal.failed(3, StepAddress(Stage.JUDGE, 0, EXACT, "call"), "judge", "judge: out")
    found = common_failures(store_of(snapshot, journal), snapshot).told
    assert [(one.message, one.n_cases, one.first) for one in found] == [
        ("gen: slow", 2, 1),
        ("gen: rare", 1, 0),
    ]
    assert all(one.may_heal for one in found)


class Refusing(CountingMetric):
    """Says that it can score nothing."""

    def __init__(self, *, retryable: bool) -> None:
        super().__init__()
        self._retryable = retryable

    def score(self, parsed: Any, case: Any, ctx: Any) -> Any:
        return ScoreError(metric_id="m", reason="no gold answer", retryable=self._retryable)


@pytest.mark.parametrize("retryable", [True, False])
def test_what_a_metric_refuses_may_heal_only_where_it_says_so(retryable: bool) -> None:
    (found,) = failures_of(experiment(metrics=[Refusing(retryable=retryable)]))
    assert "no gold answer" in found.message
    assert (found.n_cases, found.may_heal) == (3, retryable)


def test_a_generator_that_is_out_may_heal() -> None:
    (found,) = failures_of(experiment(ScriptedGenerator(failures={"c1": ValueError("down")})))
    assert (found.n_cases, found.first, found.may_heal) == (1, 1, True)


def test_of_endless_messages_the_first_are_told_apart_and_the_others_counted() -> None:
    snapshot = snapshot_of(9, num_samples=2)
    journal = Journal()
    for case in range(9):
        message = "gen: again" if case in (2, 8) else f"gen: {case}"
        for sample in (0, 1):  # a case has two messages that are its own, or shares one
            said = message if case in (2, 8) else f"{message}/{sample}"
            journal.failed(case, StepAddress(Stage.GENERATE, sample), "timeout", said)
    fold = FailuresFold(most=5)
    fold_cases(store_of(snapshot, journal), snapshot, fold)
    found = fold.failures()
    assert [(one.message, one.n_cases) for one in found.told] == [
        ("gen: again", 2),
        *((f"gen: {case}/{sample}", 1) for case in (0, 1) for sample in (0, 1)),
    ]
    assert found.n_others == 5  # cases 3 to 7
    assert found.others_may_heal


def test_a_run_of_failures_that_all_differ_is_told_in_flat_memory() -> None:
    count = MOST + 500
    snapshot = snapshot_of(count)
    journal = Journal()
    for case in range(count):
        journal.failed(case, GENERATE, "timeout", f"gen: {case}")
    found = common_failures(store_of(snapshot, journal), snapshot)
    assert (len(found.told), found.n_others) == (MOST, 500)
