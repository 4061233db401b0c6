"""What stops a run must have happened to several cases and to none before.

Covers: themis.execution.limits.shared_failures
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import use
from themis.core.contexts import GenerateContext
from themis.core.errors import ProviderError, RunStoppedError
from themis.core.models import Case, GenerationResult
from themis.execution.limits.shared_failures import SharedFailures
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge


def refused(**more: Any) -> ProviderError:
    return ProviderError("no", **{"status": 403, "fatal": True, "confirm": "none_answered", **more})


def in_a_row() -> ProviderError:
    return refused(status=401, confirm="in_a_row")


class Slow(ScriptedGenerator):
    """Answers some cases late, and fails the others soon."""

    def __init__(self, failing: set[str]) -> None:
        super().__init__()
        self.failing = failing
        self.asked: list[str] = []

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        self.asked.append(case.case_id)
        if case.case_id in self.failing:
            await asyncio.sleep(0.005)
            raise refused()
        await asyncio.sleep(0.1)
        return GenerationResult(candidate_id=case.case_id, final_output="4")


async def _weighed(shared: SharedFailures, index: int, error: ProviderError) -> bool:
    await shared.enter("model")
    shared.weigh("model", index, error)
    shared.leave("model", answered=False)
    return error.fatal


async def test_three_different_cases_bear_it_out() -> None:
    shared = SharedFailures(10)
    told = [await _weighed(shared, index, refused()) for index in (0, 0, 1, 1, 2)]
    assert told == [False, False, False, False, True]


async def test_of_fewer_cases_all_must_have_met_it() -> None:
    assert await _weighed(SharedFailures(1), 0, refused())
    shared = SharedFailures(2)
    assert [await _weighed(shared, index, refused()) for index in (0, 1)] == [False, True]


async def test_an_answer_refutes_it_for_good_and_a_key_only_for_a_while() -> None:
    shared = SharedFailures(10)
    await shared.enter("model")
    shared.leave("model", answered=True)
    assert not any([await _weighed(shared, index, refused()) for index in range(9)])
    shared.answered_before("other")
    told = [await _weighed(shared, index, in_a_row()) for index in range(9)]
    assert told[-1]
    await shared.enter("model")
    shared.leave("model", answered=True)
    assert [await _weighed(shared, i, in_a_row()) for i in (1, 2, 3)] == [False, False, True]


async def test_what_is_certain_needs_no_second_case() -> None:
    certain = ProviderError("the variable is not set", fatal=True)
    assert await _weighed(SharedFailures(10), 0, certain)


async def test_no_call_begins_while_others_may_still_be_answered() -> None:
    shared = SharedFailures(10)
    await shared.enter("model")
    await shared.enter("model")
    shared.weigh("model", 0, refused())
    shared.leave("model", answered=False)
    waiting = asyncio.ensure_future(shared.enter("model"))
    await asyncio.wait_for(shared.enter("judge"), 1)  # of another component nothing is known
    await asyncio.sleep(0)
    assert not waiting.done()
    shared.leave("model", answered=True)
    await asyncio.wait_for(waiting, 1)


async def test_a_run_that_stops_holds_nobody_up() -> None:
    shared = SharedFailures(10)
    await shared.enter("model")
    await shared.enter("model")
    shared.weigh("model", 0, refused())
    shared.leave("model", answered=False)
    waiting = asyncio.ensure_future(shared.enter("model"))
    await asyncio.sleep(0)
    shared.close()
    await asyncio.wait_for(waiting, 1)


def test_prompts_that_are_refused_at_once_do_not_hide_that_others_are_answered_later() -> None:
    failing = {"c0", "c1", "c2", "c3"}
    generator = Slow(failing)
    one = experiment(generator, cases=dataset(12), max_concurrent_tasks=8)
    for _ in range(2):  # the second run asks the refused ones alone, and stops no more than before
        result = one.run()
        assert result.status == "partial_failure"
        failed = {case.case_id for case in result.cases if case.generation_failures}
        assert failed == failing
    assert len(generator.asked) == 12 + 4


def test_a_key_that_is_revoked_half_way_stops_the_run_soon() -> None:
    failures = {f"c{number}": in_a_row() for number in range(5, 40)}
    generator = ScriptedGenerator(failures=failures)
    with pytest.raises(RunStoppedError, match="no"):
        experiment(generator, cases=dataset(40), max_concurrent_tasks=1).run()
    assert len(generator.calls) == 5 + 3


def test_a_judge_that_refuses_one_question_is_asked_the_others() -> None:
    judge = ScriptedJudge(failures=[None, refused(), None, None, None, None])
    result = experiment(
        ScriptedGenerator(),
        cases=dataset(6),
        metrics=[use("builtin/llm_rubric", rubric="Right?")],
        judges=[judge],
        max_concurrent_tasks=1,
    ).run()
    assert judge.count() == 6
    assert not any("asked no more" in note for note in result.notes)
