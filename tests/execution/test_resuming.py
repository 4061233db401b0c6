"""Whatever failed on the way, a resumed run ends with the table of a run that went well.

That holds too where the later attempt stops at an earlier stage.

Covers: themis.execution.attempt, themis.execution.case, themis.execution.case_run
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.runs import UnreliableStore, experiment, table
from themis import use
from themis.core.errors import (
    DefinitionError,
    ProviderError,
    RunStoppedError,
    StoreUnavailableError,
)
from themis.core.models import ParsedOutput, Score, ScoreError
from themis.core.results import RunStatus
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge

CASES = 4
SHAPES = ("plain", "reduced", "judged", "selected")
UNTIL = ("generate", "parse", "score", "judge")
ERRORS = {
    "busy": lambda: ProviderError("busy", status=503),
    "broken": lambda: ValueError("broken"),
    "late": lambda: TimeoutError("late"),
    "fatal": lambda: ProviderError("no key", status=401, fatal=True),
}


def _answer(case: Any, ctx: Any) -> Any:
    return case.input if (case.input + ctx.sample_index) % 3 else 99


def _verdict(prompt: Any, seed: int | None) -> str:
    return f"VERDICT: {'PASS' if (seed or 0) % 2 else 'FAIL'}"


def _rating(prompt: Any, seed: int | None) -> str:
    return f"VERDICT: {sum(prompt.text.partition('rate:')[2].encode()) % 11}"


class Script:
    """An experiment whose parts fail and wait as drawn."""

    def __init__(self, shape: str, samples: int, tasks: int, seed: int) -> None:
        self.draw = random.Random(seed)
        self.generator = ScriptedGenerator(_answer, wait=self.wait)
        judge = _rating if shape == "selected" else _verdict
        self.judges = [
            ScriptedJudge(judge, wait=self.wait, component_id=f"judge/{i}") for i in range(2)
        ]
        rubric = use("builtin/panel_of_judges", rubric="Good?", name="panel")
        self.one = experiment(
            self.generator,
            cases=CASES,
            samples=samples,
            parser=CountingParser(),
            metrics=[use("builtin/exact_match"), *([rubric] if shape == "judged" else [])],
            judges=self.judges if shape in ("judged", "selected") else [],
            selector="builtin/best_of_n" if shape == "selected" else None,
            reducer="builtin/majority_vote" if shape == "reduced" else None,
            max_concurrent_tasks=tasks,
            generation_retry_attempts=2,
            judge_retry_attempts=2,
            store_retry_attempts=1,
        )

    def mend(self) -> None:
        """Let nothing fail any more."""
        self.generator.failures = {}
        for judge in self.judges:
            judge.failures = ()

    async def wait(self) -> None:
        for _ in range(self.draw.randint(0, 4)):
            await asyncio.sleep(0)


ATTEMPT = st.fixed_dictionaries(
    {
        "generation": st.dictionaries(
            st.sampled_from([f"c{i}" for i in range(CASES)]),
            st.lists(st.sampled_from([None, *ERRORS]), max_size=4),
            max_size=3,
        ),
        "judges": st.lists(st.sampled_from([None, None, "busy", "broken", "fatal"]), max_size=6),
        "store_leaves_after": st.one_of(st.none(), st.integers(0, 6)),
        "cancel_after": st.one_of(st.none(), st.integers(1, 8)),
        "until": st.sampled_from(UNTIL),
        "verb": st.sampled_from(["run", "run", "run", "run", "replay", "rejudge", "rerun"]),
        "reuse": st.sampled_from(["all", "all", "none", "5s"]),
        "stage": st.sampled_from(["generate", "parse", "score", "judge"]),
        "hence": st.sampled_from([0.0, 0.0, 3.0, 7.0]),
    }
)


@contextmanager
def passing_time() -> Iterator[Callable[[float], None]]:
    """Let seconds pass in no time: results grow older than a bound of age."""
    real, ahead = time.time, [0.0]

    def go_on(seconds: float) -> None:
        ahead[0] += seconds

    def now() -> float:
        return real() + ahead[0]

    with mock.patch.object(time, "time", now):
        yield go_on


async def _attempt(script: Script, store: UnreliableStore, plan: dict[str, Any]) -> None:
    """Make one attempt at the run, in which things go wrong as planned."""
    script.generator.failures = {
        case: [ERRORS[kind]() if kind else None for kind in kinds]
        for case, kinds in plan["generation"].items()
    }
    script.generator._asked.clear()
    for judge in script.judges:
        judge.failures = [ERRORS[kind]() if kind else None for kind in plan["judges"]]
        judge.prompts.clear()
    store.asked.clear()
    leaves = plan["store_leaves_after"]
    one, task = script.one, None
    runtime = one.runtime
    if plan["verb"] == "rerun":
        runtime = runtime.model_copy(update={"existing_run_policy": "rerun"})
    if plan["verb"] == "replay":
        promise = one.replay_async(stage=plan["stage"], store=store)
    elif plan["verb"] == "rejudge":
        promise = one.rejudge_async(store=store)
    else:
        reuse = "all" if plan["verb"] == "rerun" else plan["reuse"]
        promise = one.run_async(
            until_stage=plan["until"], store=store, runtime=runtime, reuse=reuse
        )
    task = asyncio.ensure_future(promise)
    count = 0
    while not task.done():
        await asyncio.sleep(0.001)
        count += 1
        if leaves is not None and store.asked.get("append", 0) >= leaves:
            store.outages["append"] = 10**9
        if plan["cancel_after"] == count:
            task.cancel()
    store.outages.clear()
    try:
        await task
    except (RunStoppedError, StoreUnavailableError, asyncio.CancelledError):
        return
    except DefinitionError as error:  # nothing there yet, or nothing of that kind, to be done again
        assert plan["verb"] in ("replay", "rejudge"), error  # noqa: PT017 - only these may refuse


@given(
    shape=st.sampled_from(SHAPES),
    samples=st.integers(1, 3),
    tasks=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 10**6),
    plans=st.lists(ATTEMPT, min_size=1, max_size=3),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_of_failures_heals_to_the_table_of_a_run_that_went_well(
    shape: str, samples: int, tasks: int, seed: int, plans: list[dict[str, Any]]
) -> None:
    script, store = Script(shape, samples, tasks, seed), UnreliableStore({})

    async def live() -> None:
        for plan in plans:
            await _attempt(script, store, plan)
            go_on(plan["hence"])
        script.mend()

    with passing_time() as go_on:
        asyncio.run(live())
    healed = script.one.run(store=store)
    again = script.one.run(store=store)
    clean = Script(shape, samples, 4, 0).one.run()
    assert healed.status == again.status == "completed"
    assert table(healed) == table(clean)
    calls = script.generator.count()
    script.one.run(store=store)
    assert script.generator.count() == calls


class Quoting(CountingMetric):
    """Scores by saying what it was given."""

    def score(self, parsed: ParsedOutput, case: Any, ctx: Any) -> Score:
        return Score(metric_id="quoting", value=1, details={"read": parsed.value})


@given(
    samples=st.integers(1, 3),
    tasks=st.sampled_from([1, 8]),
    seed=st.integers(0, 10**6),
    plans=st.lists(ATTEMPT, min_size=1, max_size=3),
    rivals=st.integers(0, 2),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_scored_is_what_was_generated_even_if_no_two_answers_are_alike(
    samples: int, tasks: int, seed: int, plans: list[dict[str, Any]], rivals: int
) -> None:
    count = [0]

    def answer(case: Any, ctx: Any) -> Any:
        count[0] += 1
        return [case.input, ctx.sample_index, count[0]]

    store = UnreliableStore({})
    scripts = [Script("plain", samples, tasks, seed + rival) for rival in range(rivals + 1)]
    for number, script in enumerate(scripts):
        script.generator.answers = answer
        metric = Quoting(component_id=f"quoting/{number}")
        script.one.evaluation = script.one.evaluation.model_copy(update={"metrics": [metric]})

    async def live() -> None:
        for plan in plans:
            await asyncio.gather(*(_attempt(script, store, plan) for script in scripts))

    asyncio.run(live())
    for script in scripts:
        script.generator.failures = {}
        result = script.one.run(store=store)
        assert result.status == "completed"
        for case in result.cases:
            made = {one.candidate_id: one.final_output for one in case.generated_candidates}
            assert {one: parsed.value for one, parsed in case.parsed_outputs.items()} == made
        rows = list(result.score_rows())
        outputs = {
            (case.case_id, one.candidate_id): one.final_output
            for case in result.cases
            for one in case.generated_candidates
        }
        assert {(row.case_id, row.candidate_id): row.details["read"] for row in rows} == outputs


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
