"""A run that goes on to an earlier stage than before: what it leaves alone holds, and is told."""

from __future__ import annotations

import pytest

from tests.support.runs import experiment, table
from themis import use
from themis.core.models import ScoreError
from themis.core.results import RunStatus
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

RUBRIC = use("builtin/llm_rubric", rubric="Right?", name="rubric")
DOWN = ValueError("down")


def test_healing_that_fails_again_leaves_the_rows_of_the_other_samples() -> None:
    generator = ScriptedGenerator(failures={"c1": [None, DOWN, DOWN, None]})
    one = experiment(generator, samples=2, max_concurrent_tasks=1)
    first = one.run()
    assert first.status is RunStatus.PARTIAL_FAILURE
    rows = table(first)
    assert len(rows) == 6
    shorter = one.run(until_stage="generate")
    assert generator.count("c1") == 3
    assert shorter.status is RunStatus.PARTIAL_FAILURE
    assert table(shorter) == rows
    healed = one.run()
    assert healed.status is RunStatus.COMPLETED
    assert [row[4] for row in table(healed)] == [1.0] * 6


def test_healing_up_to_a_stage_drops_only_what_rests_on_what_is_new() -> None:
    generator = ScriptedGenerator(failures={"c1": [None, DOWN]})
    one = experiment(
        generator,
        samples=2,
        judges=[ScriptedJudge()],
        metrics=[CountingMetric(), RUBRIC],
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert len([row for row in table(first) if row[1] == "c1" and row[5] != "error"]) == 2
    shorter = one.run(until_stage="generate")
    assert shorter.status is RunStatus.COMPLETED
    scored = [row for row in table(shorter) if row[1] == "c1"]
    assert [(row[2], row[5]) for row in scored] == [
        ("counting/metric", "correct"),
        ("rubric", "correct"),
    ]
    metric = one.evaluation.metrics[0]
    before = len(metric.calls)
    assert one.run().status is RunStatus.COMPLETED
    assert len(metric.calls) == before + 1  # of the new sample only


def test_a_vote_is_dropped_where_one_of_its_samples_is_new() -> None:
    answers = {"c1": [5, 5, 5]}
    generator = ScriptedGenerator(answers)
    one = experiment(generator, samples=3, reducer="builtin/majority_vote", max_concurrent_tasks=1)
    assert [row[4] for row in table(one.run())] == [1.0, 0.0, 1.0]
    rerun = one.runtime.model_copy(update={"existing_run_policy": "rerun"})
    generator.answers = {"c1": [1, 1, 1]}
    shorter = one.run(until_stage="generate", runtime=rerun)
    assert table(shorter) == []
    assert [row[4] for row in table(one.run())] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("until", ["generate", "parse", "score"])
def test_an_outage_beyond_the_last_stage_is_not_said_to_be_healed(until: str) -> None:
    judge = ScriptedJudge(failures=DOWN)
    one = experiment(metrics=[CountingMetric(), RUBRIC], judges=[judge], parser=CountingParser())
    first = one.run()
    assert first.status is RunStatus.PARTIAL_FAILURE
    asked = judge.count()
    shorter = one.run(until_stage=until)
    assert judge.count() == asked
    assert shorter.status is RunStatus.PARTIAL_FAILURE
    assert table(shorter) == table(first)
    assert shorter.completed_through_stage == "judge"
    judge.failures = ()
    assert one.run().status is RunStatus.COMPLETED


def test_what_a_metric_refuses_for_good_is_no_outage_of_a_shorter_attempt() -> None:
    refusing = CountingMetric(lambda value, case: ScoreError(metric_id="m", reason="no gold"))
    generator = ScriptedGenerator(failures={"c1": [None, DOWN]})
    one = experiment(generator, samples=2, metrics=[refusing], max_concurrent_tasks=1)
    assert one.run().status is RunStatus.PARTIAL_FAILURE
    assert one.run(until_stage="generate").status is RunStatus.COMPLETED
