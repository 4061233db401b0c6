"""Components, stores and callers that do their worst: each kind of it was once seen to do harm.

What befalls judges and those who ask them stands in ``test_under_attack_judges``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import UnreliableStore, dataset, events, experiment, table
from themis import Experiment, InMemoryRunStore, get_execution_state, use
from themis.core.config import StorageConfig
from themis.core.errors import (
    DefinitionError,
    ParseError,
    ProviderError,
    RunOwnedError,
    RunStoppedError,
    StoreUnavailableError,
)
from themis.core.models import Case, Dataset, GenerationResult, ReducedCandidate, Score
from themis.execution.engine import Engine
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

CASES = ["correct", "error", "correct"]
"""Outcomes where the second of three cases is the one that fails."""


class Part:
    """A component that does what the test hands it, under one name."""

    component_id = "part"
    version = "1"

    def __init__(self, act: Any) -> None:
        self.act = act

    def fingerprint(self) -> str:
        return "part"


class SyncGenerator(Part):
    def generate(self, case: Case, ctx: Any) -> GenerationResult:
        if case.case_id == "c1":
            return self.act()
        return GenerationResult(candidate_id="x", final_output=case.input)


class SyncReducer(Part):
    def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
        if ctx.case_id == "c1":
            return self.act()
        return ReducedCandidate(
            candidate_id="r",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=candidates[0].final_output,
        )


class SyncSelector(Part):
    def select(self, candidates: Any, ctx: Any) -> Any:
        return self.act() if ctx.case_id == "c1" else candidates[:1]


def _in_threads(role: str, act: Any, **settings: Any) -> Experiment:
    """Return an experiment in which ``act`` is called, in a thread, for case c1 only."""
    if role == "generator":
        return experiment(SyncGenerator(act), generation_retry_attempts=1, **settings)
    part = SyncReducer(act) if role == "reducer" else SyncSelector(act)
    return experiment(samples=2, **{role: part}, **settings)


CATEGORY = {"generator": "generation", "reducer": "reduction", "selector": "selection"}


def _raise(error: BaseException) -> Any:
    raise error


def _rerun(one: Experiment) -> Any:
    return one.runtime.model_copy(update={"existing_run_policy": "rerun"})


# ── what a component returns ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "given",
    [
        {"value": 1},
        {"failure": {"category": "parse_failure", "message": "mine"}, "value": 99},
        {"failure": 1},
    ],
)
def test_a_dict_that_a_metric_returns_is_its_cases_error_and_never_a_score(given: Any) -> None:
    class Metric(CountingMetric):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Any:
            return given if case.case_id == "c1" else super().score(parsed, case, ctx)

    result = experiment(metrics=[Metric()]).run()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert (rows[1].value, rows[1].error_category) == (None, "scoring")
    assert "dict" in (rows[1].error_message or "")
    assert [failure.cause for failure in result.cases[1].evaluation_failures] == [
        "InvalidResultError"
    ]
    assert result.metrics["counting/metric"].mean == 1.0
    assert result.status == "partial_failure"


@pytest.mark.parametrize(
    "given",
    [
        {"value": 1},
        {"failure": "boom"},
        {"failure": {"category": "parse_null", "message": "mine"}},
    ],
)
def test_a_dict_that_a_parser_returns_is_its_cases_error_and_no_failure_of_the_models(
    given: Any,
) -> None:
    class Parser(CountingParser):
        def parse(self, candidate: Any, ctx: Any) -> Any:
            return given if ctx.case_id == "c1" else super().parse(candidate, ctx)

    result = experiment(parser=Parser()).run()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert (rows[1].value, rows[1].error_category) == (None, "parser")
    assert "dict" in (rows[1].error_message or "")
    assert result.metrics["counting/metric"].failures == {}
    assert result.cases[1].parse_error is not None
    assert result.cases[1].parse_error.cause == "InvalidResultError"
    assert result.status == "partial_failure"


@pytest.mark.parametrize("role", ["generator", "reducer"])
def test_a_candidate_id_that_no_store_can_keep_is_its_cases_error(role: str) -> None:
    def act() -> Any:
        if role == "generator":
            return GenerationResult(candidate_id="a\ud800", final_output=1)
        return ReducedCandidate(candidate_id="a\ud800", source_candidate_ids=[], final_output=1)

    result = _in_threads(role, act).run()
    assert result.status == "partial_failure"
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == CATEGORY[role]
    assert "surrogate" in (rows[1].error_message or "")


def test_samples_that_fail_to_parse_for_different_reasons_each_show_their_own() -> None:
    def read(output: Any) -> Any:
        raise ParseError(f"no answer in {output}")

    generator = ScriptedGenerator({"c0": ["this", "that", "this"]})
    result = experiment(generator, cases=1, samples=3, parser=CountingParser(read)).run()
    assert [row.outcome for row in result.score_rows()] == ["incorrect"] * 3
    said = [row.error_message or "" for row in result.score_rows()]
    assert ["this" in words for words in said] == [True, False, True]
    assert ["that" in words for words in said] == [False, True, False]


def test_what_a_metric_calls_better_is_part_of_what_its_scores_depend_on() -> None:
    class Graded(CountingMetric):
        kind = "value"
        value_range = (0.0, 10.0)

    def read(output: Any) -> Any:
        raise ParseError("nothing")

    store = InMemoryRunStore()
    means = []
    for better in (True, False):
        metric = Graded()
        metric.higher_is_better = better  # type: ignore[attr-defined]
        one = experiment(parser=CountingParser(read), metrics=[metric])
        means.append(one.run(store=store).metrics["counting/metric"].mean)
    assert means == [0.0, 10.0]  # the worst there is, either way


def test_outputs_that_a_metric_cannot_use_are_errors_that_no_second_run_tries_again() -> None:
    class Strict(CountingMetric):
        unparsed = "error"

    def read(output: Any) -> Any:
        if output == 1:
            raise ParseError("nothing")
        return output

    parser, metric = CountingParser(read), Strict()
    one = experiment(parser=parser, metrics=[metric])
    first = one.run()
    assert [row.outcome for row in first.score_rows()] == CASES
    assert first.status == "completed"
    assert first.metrics["counting/metric"].mean == 1.0
    journal = len(events(first, one.store))
    second = one.run()
    assert second.status == "completed"
    assert len(second.state.attempts) == 1
    assert len(events(first, one.store)) == journal
    assert (len(parser.calls), len(metric.calls)) == (3, 2)


# ── what a component raises, and when it never returns ────────────────────────────────────────────


@pytest.mark.parametrize("role", ["generator", "reducer", "selector"])
def test_a_stop_of_iteration_in_a_thread_is_its_cases_error_at_once(role: str) -> None:
    result = _in_threads(role, lambda: next(iter([]))).run()
    assert result.status == "partial_failure"
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == CATEGORY[role]
    assert "StopIteration" in (rows[1].error_message or "")


@pytest.mark.parametrize("role", ["reducer", "selector"])
def test_a_reducer_or_selector_that_hangs_in_a_thread_is_abandoned_as_a_timeout(role: str) -> None:
    release = threading.Event()
    try:
        result = _in_threads(role, lambda: release.wait(60), generation_timeout=0.2).run()
    finally:
        release.set()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == "timeout"
    assert result.status == "partial_failure"
    assert any("1 call in threads" in note for note in result.notes)


class Fault(BaseException):
    """An exception that ``except Exception`` does not catch."""


@pytest.mark.parametrize("role", ["generator", "parser", "metric", "judge"])
def test_an_exception_outside_exception_is_its_cases_error(role: str) -> None:
    def fault(value: Any, *_: Any) -> Any:
        if value == 1 or "\n1\n" in str(value):
            raise Fault("at odds")
        return "VERDICT: PASS" if role == "judge" else value

    judge = ScriptedJudge(lambda prompt, seed: fault(prompt.text))
    parts: dict[str, dict[str, Any]] = {
        "generator": {"generator": ScriptedGenerator(lambda case, ctx: fault(case.input))},
        "parser": {"parser": CountingParser(fault)},
        "metric": {"metrics": [CountingMetric(lambda value, case: fault(value) == value)]},
        "judge": {"metrics": [use("builtin/llm_rubric", rubric="Good?")], "judges": [judge]},
    }
    result = experiment(**parts[role]).run()
    assert [row.outcome for row in result.score_rows()] == CASES
    assert result.status == "partial_failure"
    (row,) = (row for row in result.score_rows() if row.outcome == "error")
    assert "Fault" in (row.error_message or "")
    assert "at odds" in (row.error_message or "")


def test_an_interrupt_of_the_run_is_no_cases_error() -> None:
    async def wait() -> None:
        if generator.count() == 1:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)

    generator = ScriptedGenerator(wait=wait)
    one = experiment(generator, cases=50, max_concurrent_tasks=1)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    state = get_execution_state(one.store, one.compile().run_id)
    assert (state.status, state.completed_through_stage) == ("interrupted", None)
    assert state.progress.cases_with_errors == 0
    assert one.run().status == "completed"
    assert generator.count() == 50


async def test_a_cancellation_of_the_run_is_no_cases_error() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    one = experiment(ScriptedGenerator(wait=wait))
    task = asyncio.create_task(one.run_async())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = get_execution_state(one.store, one.compile().run_id)
    assert (state.status, state.completed_through_stage) == ("interrupted", None)
    assert state.progress.cases_with_errors == 0


@pytest.mark.parametrize(
    "facts",
    [
        {"status": "503"},
        {"status": "unwell"},
        {"status": 503.0},
        {"status": 503, "retry_after": "5"},
        {"status": 503, "retry_after": "soon"},
        {"status": 503, "retry_after": float("inf")},
        {"status": 503, "retry_after": float("nan")},
        {"status": 503, "retry_after": -1.0},
        {"status": 503, "retry_after": [5]},
    ],
    ids=str,
)
def test_no_odd_fact_of_a_provider_error_ends_the_run(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    async def pause(self: Engine, seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(Engine, "pause", pause)
    generator = ScriptedGenerator(failures={"c1": ProviderError("busy", retryable=True, **facts)})
    one = experiment(generator, generation_retry_attempts=2)
    result = one.run()
    assert result.status == "partial_failure"
    assert generator.count("c1") == 2
    assert asked == [0.0] or (facts.get("retry_after") == "5" and asked == [5.0])
    (failure,) = result.cases[1].generation_failures
    assert failure.status in (503, None)
    generator.failures = {}
    assert one.run().status == "completed"


# ── what a component changes ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("facts", [{"list": [1]}, {}], ids=["some", "none"])
def test_what_a_component_changes_in_its_context_is_nobody_elses(facts: dict[str, Any]) -> None:
    seen: list[Any] = []

    def meddle(*shown: Any) -> None:
        seen.extend(deepcopy(shown))
        for one in shown:
            one.setdefault("list", []).append(2)
            one["mine"] = True

    class Meddler(CountingMetric):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
            meddle(ctx.metadata, ctx.dataset_metadata)
            case.metadata["mine"] = ctx.case.metadata["mine"] = True
            return super().score(parsed, case, ctx)

    def answer(case: Case, ctx: Any) -> Any:
        meddle(ctx.metadata, case.metadata)
        return case.input

    cases = [Case(case_id="c", input=1, expected_output=1, metadata=deepcopy(facts))]
    data = Dataset(dataset_id="d", cases=cases, metadata=deepcopy(facts))
    one = experiment(
        ScriptedGenerator(answer, reads=("input", "metadata")),
        cases=data,
        samples=2,
        metrics=[Meddler(component_id="first"), Meddler(component_id="second")],
    )
    run_id = one.compile().run_id
    result = one.run()
    assert result.status == "completed"
    assert seen == [facts] * 12
    assert one.compile().run_id == run_id == result.run_id
    assert data.metadata == cases[0].metadata == facts


# ── what is done again ────────────────────────────────────────────────────────────────────────────


def test_new_answers_never_stand_beside_the_scores_of_the_old_ones() -> None:
    generator, judge = ScriptedGenerator(), ScriptedJudge()
    one = experiment(
        generator,
        parser=CountingParser(),
        metrics=[CountingMetric(), use("builtin/llm_rubric", rubric="Good?")],
        judges=[judge],
    )
    assert len(table(one.run())) == 6
    generator.answers = {f"c{i}": "wrong" for i in range(3)}
    judge.answer = "VERDICT: FAIL"
    rerun = one.run(until_stage="generate", runtime=_rerun(one))
    assert [case.generated_candidates[0].final_output for case in rerun.cases] == ["wrong"] * 3
    assert list(rerun.score_rows()) == []
    assert all(case.scores == [] and case.parsed_outputs == {} for case in rerun.cases)
    assert all(case.evaluation_executions == [] for case in rerun.cases)
    assert {summary.mean for summary in rerun.metrics.values()} == {None}
    assert rerun.completed_through_stage == "generate"
    after = one.run()
    assert after.status == "completed"
    assert after.completed_through_stage == "judge"
    assert [row.value for row in after.score_rows()] == [0] * 6
    assert generator.count() == 6


@pytest.mark.parametrize("role", ["generator", "selector", "reducer", "parser", "metric"])
def test_what_a_rerun_failed_at_is_tried_again_and_not_filled_with_what_it_was_to_replace(
    role: str,
) -> None:
    down = False
    tried: list[bool] = []

    def act(value: Any = 1, *_: Any) -> Any:
        if value == 1:
            tried.append(down)
            if down:  # a parser's ValueError would be the model's failure
                raise (ConnectionError if role == "parser" else ValueError)("down")
        return value

    reduced = {"candidate_id": "r", "source_candidate_ids": []}
    one = {
        "generator": lambda: experiment(ScriptedGenerator(lambda case, ctx: act(case.input))),
        "selector": lambda: _in_threads("selector", lambda: act() and [sample]),
        "reducer": lambda: _in_threads(
            "reducer", lambda: ReducedCandidate(final_output=act(), **reduced)
        ),
        "parser": lambda: experiment(parser=CountingParser(act)),
        "metric": lambda: experiment(metrics=[CountingMetric(lambda value, _: act(value) >= 0)]),
    }[role]()
    sample = GenerationResult(candidate_id="c1-scripted#0", final_output=1)
    assert one.run().status == "completed"
    down = True
    assert one.run(runtime=_rerun(one)).status == "partial_failure"
    again = one.run()
    assert tried == [False, True, True]
    assert again.status == "partial_failure"
    assert [row.outcome for row in again.score_rows()] == CASES
    down = False
    assert one.run().status == "completed"
    assert tried == [False, True, True, False]


def test_a_run_that_was_stopped_is_complete_through_no_stage() -> None:
    generator = ScriptedGenerator(failures={"c1": ProviderError("bad key", fatal=True)})
    one = experiment(generator, max_concurrent_tasks=1)
    run_id = one.compile().run_id
    with pytest.raises(RunStoppedError):
        one.run()
    state = get_execution_state(one.store, run_id)
    assert (state.status, state.completed_through_stage) == ("failed", None)
    generator.failures = {}
    assert one.run().completed_through_stage == "judge"
    generator.failures = {"c1": ProviderError("bad key", fatal=True)}
    with pytest.raises(RunStoppedError):
        one.run(runtime=_rerun(one))
    state = get_execution_state(one.store, run_id)
    assert (state.status, state.completed_through_stage) == ("failed", None)


# ── stores, and who works on a run ────────────────────────────────────────────────────────────────


async def test_a_run_that_a_failed_release_left_held_is_taken_up_at_once_by_its_own_process() -> (
    None
):
    store = UnreliableStore({"append": 1_000_000, "release": 1_000_000})
    generator = ScriptedGenerator()
    one = experiment(generator, store_retry_attempts=2)
    with pytest.raises(StoreUnavailableError):
        await one.run_async(store=store)
    store.outages.clear()
    begun, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await release.wait()

    generator._wait = wait
    task = asyncio.create_task(one.run_async(store=store))
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert begun.is_set()
    with pytest.raises(RunOwnedError):  # but an open run is never taken over
        await one.run_async(store=store)
    release.set()
    assert (await task).status == "completed"
    assert (await one.run_async(store=store)).status == "completed"


@pytest.mark.parametrize(("cases", "cap"), [(3, 32), (40, 2), (400, 1)])
async def test_a_case_that_stands_in_two_datasets_is_generated_once(cases: int, cap: int) -> None:
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0))
    data = [dataset(cases, dataset_id=name) for name in ("a", "b")]
    result = await experiment(generator, cases=data, max_concurrent_tasks=cap).run_async()
    assert result.status == "completed"
    assert [row.outcome for row in result.score_rows()] == ["correct"] * 2 * cases
    assert generator.count() == cases


# ── what is refused before anything happens ───────────────────────────────────────────────────────


def _refused(work: Any, *named: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        work()
    said = str(refused.value)
    assert "\n" not in said
    assert [word for word in named if word not in said] == []


def _filed(path: Path, **parts: Any) -> Experiment:
    storage = StorageConfig(store="sqlite", parameters={"path": str(path)})
    return experiment(storage=storage, **parts)


def test_an_aggregate_that_would_have_to_be_awaited_is_refused_while_compiling() -> None:
    class Corpus(CountingMetric):
        async def aggregate(self, statistics: Any) -> float:
            return 42.0

    _refused(experiment(metrics=[Corpus()]).compile, "Corpus", "aggregate()", "plain method")


WRONG: dict[str, dict[str, Any]] = {
    "an empty mapping": {"runtime": {}},
    "a mapping": {"runtime": {"max_concurrent_tasks": 2}},
    "a store's name": {"store": "x"},
    "a number": {"subscribers": 3},
    "an object": {"tracing_provider": object()},
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("verb", ["run", "replay", "rejudge"])
def test_options_of_the_wrong_kind_are_refused_before_a_file_is_made(
    verb: str, what: str, tmp_path: Path
) -> None:
    options = WRONG[what]
    generator = ScriptedGenerator()
    one = _filed(tmp_path / "runs.db", generator=generator)
    (named,) = options
    stage = {"stage": "score"} if verb == "replay" else {}
    _refused(lambda: getattr(one, verb)(**options, **stage), named)
    assert list(tmp_path.iterdir()) == []
    assert generator.count() == 0


@pytest.mark.parametrize("name", ["on_event", "before_generate", "after_score"])
def test_an_async_subscriber_is_refused_before_a_file_is_made(name: str, tmp_path: Path) -> None:
    async def told(self: Any, *_: Any) -> None: ...

    subscriber = type("Async", (), {name: told})()
    one = _filed(tmp_path / "runs.db")
    _refused(lambda: one.run(subscribers=[subscriber]), "Async", "async")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("shut"), OSError(5)])
def test_data_that_cannot_be_read_is_refused_naming_the_dataset(error: OSError) -> None:
    class Source:
        def __iter__(self) -> Iterator[Case]:
            yield Case(case_id="c0", input=1)
            raise error

    data = Dataset.from_source(Source(), dataset_id="far away")
    _refused(experiment(cases=data).compile, "far away")
    _refused(experiment(cases=data).run, "far away")
