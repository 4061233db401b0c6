"""Judges, and those who ask them, that do their worst: each kind of it was once seen to do harm.

What befalls everybody else stands in ``test_under_attack``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import events, experiment, table
from themis import Experiment, RunResult, use
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, ProviderError, RunStoppedError
from themis.core.events import Event, EventKind, Stage
from themis.core.judging import (
    AggregationResult,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Case, GenerationResult, Score
from themis.testing.scripted import CallLog, CountingMetric, ScriptedGenerator, ScriptedJudge

RUBRIC = use("builtin/llm_rubric", rubric="Is it right?", name="rubric")
CASES = ["scored", "error", "scored"]
"""Outcomes where the second of three cases is the one that fails."""


def _panel(**params: Any) -> Any:
    return use("builtin/panel_of_judges", rubric="Is it right?", name="panel", **params)


def _outcomes(result: RunResult) -> list[str]:
    return [row.outcome for row in result.score_rows()]


def _calls(one: Experiment, result: RunResult) -> list[Event]:
    """Return the events of judge calls."""
    return [event for event in events(result, one.store) if event.address and event.address.call]


class Judged:
    """A metric that puts each output to every judge, and reads the answers as it is told to."""

    version = "1"

    def __init__(
        self,
        component_id: str = "judged",
        *,
        read: Callable[[JudgeCall, Any], Any] | None = None,
        look: Callable[[Any], object] = id,
    ) -> None:
        self.component_id = component_id
        self.read = read
        self.look = look

    def fingerprint(self) -> str:
        return self.component_id

    def build_workflow(self, subject: Any, ctx: Any) -> Any:
        self.look(ctx)
        return Workflow(self.component_id, ctx.judge_model_refs, self.read)


class Workflow:
    def __init__(self, metric_id: str, judges: Any, read: Any) -> None:
        self.metric_id, self.judges, self.read = metric_id, judges, read

    def judge_calls(self) -> Any:
        return [JudgeCall(call_id=name, judge=name) for name in self.judges]

    def render_prompt(self, call: JudgeCall, subject: Any, ctx: Any) -> RenderedJudgePrompt:
        return RenderedJudgePrompt(text=str(subject.candidates[0].final_output))

    def parse_judgment(self, call: JudgeCall, response: JudgeResponse, ctx: Any) -> Any:
        if self.read is not None and ctx.case_id == "c1":
            return self.read(call, response)
        return ParsedJudgment(call_id=call.call_id, judge=call.judge, verdict=response.text)

    def score_judgment(self, call: JudgeCall, judgment: Any, ctx: Any) -> Score:
        return Score(metric_id=self.metric_id, value=1)

    def aggregate(self, judgments: Any, scores: Any, ctx: Any) -> AggregationResult:
        return AggregationResult(value=1.0)


# ── who is asked, and how often ───────────────────────────────────────────────────────────────────


def test_two_judges_that_are_equal_in_all_but_name_are_two_votes(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "calls.log")
    judges = [
        use("themis.testing.scripted:ScriptedJudge", name=name, log=str(log.path))
        for name in ("a", "b")
    ]
    one = experiment(metrics=[_panel()], judges=judges)
    result = one.run()
    assert result.status == "completed"
    calls = _calls(one, result)
    assert [event.kind for event in calls] == [EventKind.STEP_DONE] * 6
    assert len({event.key for event in calls}) == 6
    asked = [line[2] for line in log.lines()]  # digests of judge, prompt and seed
    assert len(asked) == len(set(asked)) == 6
    for case in result.cases:
        (execution,) = case.evaluation_executions
        said = [(execution.responses[name].artifacts or {})["asked"] for name in ("a", "b")]
        assert said[0] != said[1]
        assert set(said) <= set(asked)
    assert one.run().status == "completed"
    assert len(log.lines()) == 6


async def test_equal_questions_in_flight_at_once_are_asked_once() -> None:
    judge = ScriptedJudge(wait=lambda: asyncio.sleep(0.01))
    one = experiment(
        ScriptedGenerator({f"c{i}": ["same"] * 4 for i in range(5)}),
        cases=5,
        samples=4,
        metrics=[RUBRIC, _panel()],
        judges=[judge],
    )
    result = await one.run_async()
    assert judge.count() == 5
    assert result.status == "completed"
    assert len(table(result)) == 40
    assert {row.value for row in result.score_rows()} == {1}


def test_equal_questions_that_closely_follow_each_other_are_asked_once() -> None:
    def answers(case: int) -> list[str]:
        """Answers of which most are every case's, and come a little later in each case."""
        own = [f"c{case}, {number}" for number in range(5)]
        return [*own[:case], *(f"shared, {number}" for number in range(20)), *own[case:]]

    judge = ScriptedJudge("5")
    one = experiment(
        ScriptedGenerator({f"c{i}": answers(i) for i in range(5)}),
        cases=5,
        samples=25,
        metrics=[],
        judges=[judge],
        selector=Swallowing("except Exception"),
    )
    assert one.run().status == "completed"
    assert len(set(judge.prompts)) == 45
    assert judge.count() == 45


async def test_equal_questions_that_all_fail_are_each_an_error_and_nobody_waits_for_ever() -> None:
    judge = ScriptedJudge(wait=lambda: asyncio.sleep(0.01), failures=ValueError("out"))
    one = experiment(
        ScriptedGenerator({"c0": ["same"] * 4}),
        cases=1,
        samples=4,
        metrics=[RUBRIC],
        judges=[judge],
    )
    result = await one.run_async()
    assert _outcomes(result) == ["error"] * 4
    judge.failures = ()
    assert _outcomes(await one.run_async()) == ["correct"] * 4


# ── selectors ─────────────────────────────────────────────────────────────────────────────────────


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


# ── what a judge says, and when it says nothing ───────────────────────────────────────────────────

CUT = "cut \ud83d"
"""Text with half of a character, which no store can keep."""


def _judgment(call: JudgeCall, **fields: Any) -> ParsedJudgment:
    """Return a judgment that nothing has checked."""
    given = {"verdict": 1, "reason": None, "details": {}, **fields}
    return ParsedJudgment.model_construct(call_id=call.call_id, judge=call.judge, **given)


UNSTORABLE: dict[str, Callable[[JudgeCall, Any], Any]] = {
    "reason": lambda call, _: _judgment(call, reason=CUT),
    "verdict": lambda call, _: _judgment(call, verdict=CUT),
    "details": lambda call, _: _judgment(call, details={"seen": [CUT]}),
    "checked reason": lambda call, _: ParsedJudgment(
        call_id=call.call_id, judge=call.judge, verdict=1, reason=CUT
    ),
    "checked verdict": lambda call, _: ParsedJudgment(
        call_id=call.call_id, judge=call.judge, verdict=CUT
    ),
    "an error's words": lambda call, _: (_ for _ in ()).throw(ValueError(CUT)),
}


@pytest.mark.parametrize("where", UNSTORABLE)
def test_a_judgment_that_no_store_can_keep_is_its_cases_error(where: str) -> None:
    one = experiment(
        metrics=[Judged(read=UNSTORABLE[where]), CountingMetric()], judges=[ScriptedJudge()]
    )
    result = one.run()
    rows = {(row.metric_id, row.case_id): row.outcome for row in result.score_rows()}
    assert [rows["judged", f"c{i}"] for i in range(3)] == CASES
    assert [rows["counting/metric", f"c{i}"] for i in range(3)] == ["correct"] * 3
    assert len(result.cases) == len(list(result.cases)) == 3


@pytest.mark.parametrize(
    "answer",
    ['{"verdict": "PASS", "reason": "cut \\ud83d"}', f"{CUT}\nVERDICT: PASS", f"VERDICT: {CUT}"],
    ids=["escaped in JSON", "in prose", "in the verdict"],
)
def test_an_answer_that_no_store_can_keep_does_not_end_the_run(answer: str) -> None:
    def said(prompt: RenderedJudgePrompt, seed: int | None) -> str:
        return answer if "\n1\n" in prompt.text else "VERDICT: PASS"

    one = experiment(metrics=[RUBRIC, CountingMetric()], judges=[ScriptedJudge(said)])
    result = one.run()
    rows = {(row.metric_id, row.case_id): row for row in result.score_rows()}
    assert len(rows) == 6
    assert [rows["rubric", f"c{i}"].outcome for i in (0, 2)] == ["correct"] * 2
    assert rows["rubric", "c1"].outcome in ("correct", "error")
    assert [rows["counting/metric", f"c{i}"].outcome for i in range(3)] == ["correct"] * 3
    assert len(list(result.cases)) == 3


def test_an_unreadable_verdict_is_a_result_that_only_rejudging_asks_for_again() -> None:
    judge = ScriptedJudge("I would rather not say.")
    one = experiment(metrics=[RUBRIC], judges=[judge])
    first = one.run()
    assert _outcomes(first) == ["error"] * 3
    assert first.metrics["rubric"].mean is None
    assert first.status == "completed"
    journal = len(events(first, one.store))
    second = one.run()
    assert second.status == "completed"
    assert judge.count() == 3
    assert len(second.state.attempts) == 1
    assert len(events(first, one.store)) == journal
    judge.answer = "VERDICT: PASS"
    third = one.rejudge()
    assert judge.count() == 6
    assert _outcomes(third) == ["correct"] * 3


def test_a_panel_that_went_on_without_a_judge_says_so_in_the_notes() -> None:
    judges = [ScriptedJudge(component_id=f"judge/{name}") for name in ("a", "b")]
    judges[1].failures = ConnectionError("down")
    one = experiment(metrics=[_panel(min_judges=1)], judges=judges, cases=7, judge_retry_attempts=1)
    result = one.run()
    assert result.status == "completed"
    assert {row.details["n_judges"] for row in result.score_rows()} == {1}
    (note,) = result.notes
    assert "judge/b" in note
    assert "7 calls" in note
    judges[1].failures = ()
    assert one.run().status == "completed"
    assert judges[1].count() == 7
    whole = one.rejudge()
    assert {row.details["n_judges"] for row in whole.score_rows()} == {2}


def test_a_judge_that_is_asked_no_more_is_named_in_the_notes() -> None:
    judges = [ScriptedJudge(component_id=f"judge/{name}") for name in ("a", "b")]
    judges[1].failures = ProviderError("bad key", status=401, fatal=True)
    one = experiment(metrics=[_panel(min_judges=1)], judges=judges, cases=7, max_concurrent_tasks=1)
    result = one.run()
    assert judges[1].count() == 1
    assert result.status == "completed"
    assert {row.details["n_judges"] for row in result.score_rows()} == {1}
    assert all("judge/b" in note for note in result.notes)
    assert any("bad key" in note for note in result.notes)
    assert any("7 calls" in note for note in result.notes)


def test_what_rejudging_failed_at_is_asked_again_and_not_filled_with_the_old_verdict() -> None:
    judge = ScriptedJudge()
    one = experiment(metrics=[RUBRIC], judges=[judge], judge_retry_attempts=1)
    one.run()
    judge.failures = ConnectionError("down")
    assert one.rejudge().status == "partial_failure"
    again = one.run()
    assert judge.count() == 9
    assert _outcomes(again) == ["error"] * 3
    judge.failures, judge.answer = (), "VERDICT: FAIL"
    healed = one.run()
    assert healed.status == "completed"
    assert _outcomes(healed) == ["incorrect"] * 3
    assert judge.count() == 12


# ── what a metric changes ─────────────────────────────────────────────────────────────────────────


def test_what_a_judged_metric_changes_in_its_context_is_nobody_elses() -> None:
    seen: list[Any] = []

    def meddle(ctx: Any) -> None:
        seen.append(deepcopy(ctx.judge_config))
        ctx.judge_config["scale"]["steps"].append(3)
        ctx.judge_config["mine"] = True
        for empty in (ctx.metadata, ctx.dataset_metadata):
            assert empty == {}
            empty["mine"] = True
        ctx.judge_model_refs.append("another")

    given: dict[str, Any] = {"scale": {"steps": [1, 2]}}
    one = experiment(
        metrics=[Judged("first", look=meddle), Judged("second", look=meddle)],
        judges=[ScriptedJudge()],
        judge_config=given,
    )
    run_id = one.compile().run_id
    result = one.run()
    assert len(seen) == 6
    assert [config for config in seen if config != {"scale": {"steps": [1, 2]}}] == []
    assert given == one.evaluation.judge_config == {"scale": {"steps": [1, 2]}}
    assert one.compile().run_id == run_id == result.run_id
    assert one.store.load_snapshot(run_id).identity.judge_config == given


# ── asking again for what is not there ────────────────────────────────────────────────────────────


def _refused(work: Any, *named: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        work()
    said = str(refused.value)
    assert "\n" not in said
    assert [word for word in named if word not in said] == []


@pytest.mark.parametrize("verb", ["replay", "rejudge"])
def test_what_was_never_run_is_not_done_again(verb: str, tmp_path: Path) -> None:
    generator, judge = ScriptedGenerator(), ScriptedJudge()
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    one = experiment(generator, metrics=[RUBRIC], judges=[judge], storage=storage)
    again = {"stage": "generate"} if verb == "replay" else {}
    _refused(lambda: getattr(one, verb)(**again), verb, one.compile().run_id)
    assert list(tmp_path.iterdir()) == []
    other = experiment(generator).run(store=one.store)
    _refused(lambda: getattr(one, verb)(**again), verb, one.compile().run_id)
    assert [record.run_id for record in one.store.runs()] == [other.run_id]
    assert (generator.count(), judge.count()) == (3, 0)
    one.store.close()


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"stage": "select"}, ["select"]),
        ({"stage": "reduce"}, ["reduce"]),
        ({"stage": "judge"}, ["judge"]),
        ({"stage": "judge", "metric_ids": ["counting/metric"]}, ["counting/metric", "judge"]),
        ({"stage": "score", "metric_ids": []}, ["metric_ids", "leave it out"]),
        ({"stage": "score", "metric_ids": "counting/metric"}, ["metric_ids", "list"]),
        ({"stage": "score", "metric_ids": ["counting/metrics"]}, ["did you mean"]),
    ],
    ids=str,
)
def test_a_replay_of_nothing_is_refused(wish: dict[str, Any], named: list[str]) -> None:
    one = experiment()
    first = one.run()
    journal = len(events(first, one.store))
    _refused(lambda: one.replay(**wish), *named)
    if wish["stage"] == "judge":
        del wish["stage"]
        _refused(lambda: one.rejudge(**wish), *named)
    assert len(events(first, one.store)) == journal
