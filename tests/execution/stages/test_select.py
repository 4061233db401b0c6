"""Selectors and the judge calls they make: asked once, retried, resumed, and ended with the run.

Covers: themis.catalog.judged.best_of_n, themis.core.protocols, themis.execution.stages.select
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.runs import events, experiment
from themis.core.errors import ProviderError, RunStoppedError
from themis.core.events import Stage
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import Case, GenerationResult
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge


class Swallowing:
    """Rates every sample by a judge, and takes any trouble for a bad rating."""

    component_id = "swallowing"
    version = "1"

    def __init__(self, way: str) -> None:
        self.way = way

    def fingerprint(self) -> str:
        return "swallowing"

    async def select(self, candidates: Any, ctx: Any) -> Any:
        (judge,) = ctx.judge_models
        prompts = [RenderedJudgePrompt(text=str(one.final_output)) for one in candidates]
        if self.way == "gather":
            asked = [judge.judge(prompt) for prompt in prompts]
            rated = [
                float(answer.text) if isinstance(answer, JudgeResponse) else -1.0
                for answer in await asyncio.gather(*asked, return_exceptions=True)
            ]
        elif self.way == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(judge.judge(prompt)) for prompt in prompts]
            rated = [float(task.result().text) for task in tasks]
        elif self.way == "another exception":
            try:
                rated = [float((await judge.judge(prompt)).text) for prompt in prompts]
            except BaseException:
                raise ValueError("no rating") from None
        else:
            rated = [await self.rate(judge, prompt) for prompt in prompts]
        return [candidates[rated.index(max(rated))]]

    async def rate(self, judge: Any, prompt: RenderedJudgePrompt) -> float:
        caught = Exception if self.way == "except Exception" else BaseException
        try:
            return float((await judge.judge(prompt)).text)
        except caught:
            return -1.0


@pytest.mark.parametrize(
    "way",
    ["except Exception", "except BaseException", "gather", "TaskGroup", "another exception"],
)
def test_a_selector_cannot_make_a_selection_of_a_stop(way: str) -> None:
    working, asked = asyncio.Event(), asyncio.Event()

    class Generator(ScriptedGenerator):
        """Gives a fatal error for another case, once the selector's first question is asked."""

        async def generate(self, case: Case, ctx: Any) -> GenerationResult:
            if stopping and (case.case_id, ctx.sample_index) == ("c1", 0):
                working.set()
                await asked.wait()
                raise ProviderError("bad key", fatal=True)
            return await super().generate(case, ctx)

    async def wait() -> None:
        if stopping:
            await working.wait()
            asked.set()
            for _ in range(100):  # turns of the loop, until the run is told to stop
                await asyncio.sleep(0)

    stopping = True
    judge = ScriptedJudge(lambda prompt, seed: prompt.text, wait=wait)
    one = experiment(
        Generator({f"c{i}": [1, 2, 3, 4] for i in range(2)}),
        cases=2,
        samples=4,
        metrics=[],
        judges=[judge],
        selector=Swallowing(way),
        max_concurrent_tasks=2,
    )
    with pytest.raises(RunStoppedError):
        one.run()
    selections = [
        event.kind
        for event in one.store.events(one.compile().run_id)
        if event.address and event.address.stage is Stage.SELECT and not event.address.call
    ]
    assert selections == []
    assert judge.count() == 1
    stopping = False
    result = one.run()
    assert result.status == "completed"
    assert [case.selected_candidate_ids for case in result.cases] == [
        [f"c{i}-scripted#3"] for i in range(2)
    ]
    assert set(judge.prompts) == {"1", "2", "3", "4"}
    assert judge.prompts.count("1") == 1


def test_a_selector_cannot_ask_when_the_selection_is_over() -> None:
    class Lingering:
        component_id = "lingering"
        version = "1"
        left: list[asyncio.Task[Any]] = []  # noqa: RUF012 - of this one test

        def fingerprint(self) -> str:
            return "lingering"

        async def select(self, candidates: Any, ctx: Any) -> Any:
            (judge,) = ctx.judge_models

            async def later() -> None:
                await judge.judge(RenderedJudgePrompt(text="first"))
                await asyncio.sleep(0.05)
                await judge.judge(RenderedJudgePrompt(text="second"))

            self.left.append(asyncio.create_task(later()))
            await asyncio.sleep(0)
            return candidates[:1]

    selector = Lingering()
    judge = ScriptedJudge("1", wait=lambda: asyncio.sleep(0.01))

    async def run() -> Any:
        one = experiment(
            ScriptedGenerator(), cases=1, metrics=[], judges=[judge], selector=selector
        )
        result = await one.run_async()
        outcomes = await asyncio.gather(*selector.left, return_exceptions=True)
        return result, outcomes

    result, outcomes = asyncio.run(run())
    assert result.status == "completed"
    assert judge.prompts == ["first"]
    assert ["the selection is over" in str(one) for one in outcomes] == [True]


def test_a_hard_stop_leaves_no_judge_call_of_a_selector_behind() -> None:
    class Leaving:
        component_id = "leaving"
        version = "1"

        def fingerprint(self) -> str:
            return "leaving"

        async def select(self, candidates: Any, ctx: Any) -> Any:
            (judge,) = ctx.judge_models
            for number in range(5):
                task = asyncio.ensure_future(judge.judge(RenderedJudgePrompt(text=str(number))))
                tasks.append(task)
            await asyncio.sleep(0)
            return candidates[:1]

    tasks: list[asyncio.Future[Any]] = []
    judge = ScriptedJudge("1", wait=lambda: asyncio.sleep(30))

    async def run() -> None:
        one = experiment(
            ScriptedGenerator(), cases=1, metrics=[], judges=[judge], selector=Leaving()
        )
        running = asyncio.create_task(one.run_async())
        while judge.in_flight < 5:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert judge.in_flight == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_best_of_n_asks_once_for_each_answer_and_keeps_the_best() -> None:
    generator = ScriptedGenerator({"c0": [5, 0, 7], "c1": [1, 8, 9]})

    def rate(prompt: Any, seed: Any) -> str:
        answer = prompt.text.partition("The answer to rate:")[2]
        return "VERDICT: 9" if "\n0\n" in answer or "\n1\n" in answer else "VERDICT: 2"

    judge = ScriptedJudge(rate)
    one = experiment(generator, cases=2, samples=3, judges=[judge], selector="builtin/best_of_n")
    result = one.run()
    assert judge.count() == 6
    assert [row.value for row in result.score_rows()] == [1, 1]
    assert len(result.cases[0].selected_candidate_ids or []) == 1
    assert one.run().status == "completed"
    assert judge.count() == 6
    selecting = [
        one
        for one in events(result, one.store)
        if one.address and one.address.stage is Stage.SELECT and one.address.call
    ]
    assert len(selecting) == 6


def test_a_selector_that_puts_a_question_twice_gets_one_answer() -> None:
    judge = ScriptedJudge("VERDICT: 5")
    one = experiment(
        ScriptedGenerator({"c0": [3, 3, 3]}),
        cases=1,
        samples=3,
        judges=[judge],
        selector="builtin/best_of_n",
    )
    assert one.run().status == "completed"
    assert judge.count() == 1


def test_a_selectors_judge_call_is_tried_again_like_any_judge_call() -> None:
    judge = ScriptedJudge("VERDICT: 5", failures=[ProviderError("busy", status=503)])
    one = experiment(
        ScriptedGenerator({"c0": [1, 2]}),
        cases=1,
        samples=2,
        judges=[judge],
        selector="builtin/best_of_n",
        judge_retry_attempts=2,
    )
    assert one.run().status == "completed"
    assert judge.count() == 3


def test_a_selector_whose_judge_is_out_resumes_with_the_calls_that_are_missing() -> None:
    judge = ScriptedJudge("VERDICT: 5", failures=[None, ValueError("out")])
    one = experiment(
        ScriptedGenerator({"c0": [1, 2, 3]}),
        cases=1,
        samples=3,
        judges=[judge],
        selector="builtin/best_of_n",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert first.status == "partial_failure"
    assert [row.error_category for row in first.score_rows()] == ["selection"]
    assert judge.count() == 3
    assert one.run().status == "completed"
    assert judge.count() == 4


def test_a_selector_with_a_failed_sample_waits_for_it() -> None:
    judge = ScriptedJudge("VERDICT: 5")
    generator = ScriptedGenerator({"c0": [0, 0]}, failures={"c0": [None, ValueError("x")]})
    one = experiment(
        generator,
        cases=1,
        samples=2,
        judges=[judge],
        selector="builtin/best_of_n",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert [row.outcome for row in first.score_rows()] == ["error"]
    assert judge.count() == 0
    assert [row.outcome for row in one.run().score_rows()] == ["correct"]
    assert generator.count() == 3
