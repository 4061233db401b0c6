"""Whatever a component does wrong is an error of one case, named, and the run goes on.

Covers: themis.execution.failures, themis.execution.session, themis.execution.stages.generate,
themis.execution.stages.parse, themis.execution.stages.score
"""

from __future__ import annotations

import asyncio
import datetime
import math
import sys
from typing import Any

import pytest

from tests.support.runs import events, experiment, table
from themis.core.errors import ParseError, ProviderError
from themis.core.models import Case, GenerationResult, ParsedOutput, Score, ScoreError
from themis.execution.session import RunSession
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator


class Odd:
    """A generator that gives back, for case c1, whatever a function makes."""

    component_id = "odd"
    version = "1"

    def __init__(self, make: Any) -> None:
        self.make = make

    def fingerprint(self) -> str:
        return "odd"

    async def generate(self, case: Case, ctx: Any) -> Any:
        if case.case_id == "c1":
            return self.make()
        return GenerationResult(candidate_id="x", final_output=case.input)


def _raise(error: BaseException) -> Any:
    raise error


def _unchecked(value: Any) -> Any:
    return GenerationResult.model_construct(candidate_id="x", final_output=value)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


ODD = {
    "None": (lambda: None, "None"),
    "text": (lambda: "4", "str '4'"),
    "NaN": (lambda: GenerationResult(candidate_id="x", final_output=math.nan), "nan"),
    "unchecked NaN": (lambda: _unchecked(math.nan), "nan"),
    "infinity inside": (lambda: _unchecked({"a": [1, math.inf]}), "value.a[1]"),
    "bytes": (lambda: GenerationResult(candidate_id="x", final_output=b"4"), "bytes"),
    "datetime": (lambda: _unchecked(datetime.datetime(2026, 1, 1)), "datetime"),
    "lone surrogate": (lambda: _unchecked("\ud83d"), "surrogate"),
    "an error": (lambda: _raise(ValueError("boom")), "boom"),
    "an error with a lone surrogate": (lambda: _raise(ValueError("bad \ud83d here")), "bad"),
    "an error of many lines": (lambda: _raise(ValueError("first:\n\n  second")), "first: second"),
    "an endless error": (lambda: _raise(ValueError("long " * 1_000_000)), "long"),
    "an error without words": (lambda: _raise(KeyError()), "KeyError"),
    "an error whose words fail": (lambda: _raise(Unspeakable()), "Unspeakable"),
    "an exit": (lambda: sys.exit(3), "exit"),
    "a cancellation of its own": (lambda: _raise(asyncio.CancelledError()), "cancel"),
    "an exception group": (lambda: _raise(ExceptionGroup("several", [ValueError()])), "several"),
    "a stop of iteration": (lambda: _raise(StopAsyncIteration()), "Stop"),
    "an unfit candidate id": (lambda: GenerationResult(candidate_id=4, final_output=1), "4"),
}


@pytest.mark.parametrize("what", ODD)
def test_a_generator_that_misbehaves_costs_its_own_case_only(what: str) -> None:
    make, named = ODD[what]
    one = experiment(Odd(make))
    result = one.run()
    assert result.status == "partial_failure"
    good, bad, other = result.cases
    assert good.scores[0].value == other.scores[0].value == 1
    assert good.generation_failures == other.generation_failures == []
    assert bad.generated_candidates == []
    (failure,) = bad.generation_failures
    assert failure.category == "generation"
    assert failure.component == "odd"
    assert named in failure.message
    assert "\n" not in failure.message
    assert len(failure.message) < 1200
    rows = {row.case_id: row for row in result.score_rows()}
    assert rows["c1"].outcome == "error"
    assert rows["c1"].value is None
    assert rows["c1"].error_category == "generation"
    assert result.metrics["counting/metric"].mean == 1.0
    assert result.metrics["counting/metric"].n_errors == 1
    assert result.metrics["counting/metric"].bounds == pytest.approx([2 / 3, 1.0])


@pytest.mark.parametrize("what", ["an error", "an exit", "None"])
def test_a_sync_generator_that_misbehaves_costs_its_own_case_only(what: str) -> None:
    class SyncOdd(Odd):
        def generate(self, case: Case, ctx: Any) -> Any:
            if case.case_id == "c1":
                return self.make()
            return GenerationResult(candidate_id="x", final_output=case.input)

    result = experiment(SyncOdd(ODD[what][0])).run()
    assert result.status == "partial_failure"
    assert [row.outcome for row in result.score_rows()] == ["correct", "error", "correct"]


def test_the_next_run_tries_only_what_failed_and_heals_to_completed() -> None:
    generator = ScriptedGenerator(failures={"c1": ValueError("down")})
    one = experiment(generator, cases=5)
    first = one.run()
    assert first.status == "partial_failure"
    assert generator.count() == 5
    generator.failures = {}
    second = one.run()
    assert second.run_id == first.run_id
    assert second.status == "completed"
    assert generator.count() == 6
    assert generator.calls[-1] == ("c1", 0)
    assert second.cases[1].generation_failures == []
    assert table(second) == table(experiment(cases=5).run())
    third = one.run()
    assert third.status == "completed"
    assert generator.count() == 6
    assert len(third.state.attempts) == 2


def test_a_run_in_which_nothing_was_generated_has_failed() -> None:
    failures = {f"c{i}": ValueError("down") for i in range(3)}
    generator = ScriptedGenerator(failures=failures)
    one = experiment(generator)
    assert one.run().status == "failed"
    generator.failures = {}
    assert one.run().status == "completed"


def test_one_failed_sample_leaves_the_others_scored() -> None:
    generator = ScriptedGenerator(failures={"c0": [None, ValueError("down")]})
    result = experiment(generator, cases=2, samples=3, max_concurrent_tasks=1).run()
    rows = [row for row in result.score_rows() if row.case_id == "c0"]
    assert sorted(row.outcome for row in rows) == ["correct", "correct", "error"]
    assert result.status == "partial_failure"
    assert result.metrics["counting/metric"].n_cases_scored == 2


def _bad_score(kind: str) -> Any:
    return {
        "NaN": lambda value, case: math.nan,
        "out of range": lambda value, case: 2,
        "half": lambda value, case: 0.5,
        "None": lambda value, case: None,
        "an error": lambda value, case: _raise(ZeroDivisionError("division")),
        "refusal": lambda value, case: ScoreError(metric_id="m", reason="cannot"),
    }[kind]


@pytest.mark.parametrize("kind", ["NaN", "out of range", "half", "None", "an error", "refusal"])
def test_a_metric_that_misbehaves_gives_an_error_row_and_never_a_zero(kind: str) -> None:
    bad = CountingMetric(
        lambda value, case: _bad_score(kind)(value, case) if value == 1 else True,
        component_id="bad",
    )
    result = experiment(metrics=[bad, CountingMetric()]).run()
    rows = {(row.case_id, row.metric_id): row for row in result.score_rows()}
    assert rows["c1", "bad"].outcome == "error"
    assert rows["c1", "bad"].value is None
    assert rows["c1", "bad"].error_category == "scoring"
    assert rows["c1", "counting/metric"].outcome == "correct"
    assert result.metrics["bad"].mean == 1.0
    assert result.metrics["bad"].n_scored == 2
    # What a metric refuses for good, another run cannot better.
    assert result.status == ("completed" if kind == "refusal" else "partial_failure")


def test_an_output_that_cannot_be_read_is_the_models_failure_and_a_result_like_any_other() -> None:
    def read(output: Any) -> Any:
        if output == 1:
            raise ParseError("no number", reason="nothing_found")
        return None if output == 2 else output

    parser = CountingParser(read)
    generator = ScriptedGenerator()
    one = experiment(generator, parser=parser, cases=4)
    result = one.run()
    assert result.status == "completed"
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == ["correct", "incorrect", "incorrect", "correct"]
    assert rows[1].error_category == "parse_failure"
    assert rows[2].error_category == "parse_null"
    assert rows[1].value == 0
    summary = result.metrics["counting/metric"]
    assert summary.mean == 0.5
    assert summary.n_unparsed == 2
    assert summary.n_errors == 0
    assert result.cases[1].parse_error is not None
    assert one.run().status == "completed"
    assert len(parser.calls) == 4


def test_a_metric_may_ask_for_unparsed_outputs_as_errors() -> None:
    class Strict(CountingMetric):
        unparsed = "error"

    def read(output: Any) -> Any:
        raise ParseError("nothing")

    result = experiment(parser=CountingParser(read), metrics=[Strict()]).run()
    assert [row.outcome for row in result.score_rows()] == ["error"] * 3
    assert result.metrics["counting/metric"].mean is None


def test_a_parser_that_loses_its_connection_is_an_outage_that_is_tried_again() -> None:
    down = [True]

    def read(output: Any) -> Any:
        if down[0]:
            raise ConnectionError("parser service away")
        return output

    one = experiment(parser=CountingParser(read))
    first = one.run()
    assert [row.outcome for row in first.score_rows()] == ["error"] * 3
    down[0] = False
    assert [row.outcome for row in one.run().score_rows()] == ["correct"] * 3


@pytest.mark.parametrize("fault", [ValueError("no int"), KeyError("answer"), RuntimeError("x")])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_parser_does_not_say_is_its_own_fault_and_never_the_models(
    fault: Exception, is_async: bool
) -> None:
    def read(output: Any) -> Any:
        if output == 1:
            raise fault
        return output

    class Async(CountingParser):
        async def parse(self, candidate: Any, ctx: Any) -> Any:
            return super().parse(candidate, ctx)

    parser = Async(read) if is_async else CountingParser(read)
    result = experiment(parser=parser).run()
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert (rows[1].value, rows[1].error_category) == (None, "parser")
    assert result.metrics["counting/metric"].failures == {}
    assert result.metrics["counting/metric"].mean == 1.0
    assert result.cases[1].parse_error is not None
    assert result.cases[1].parse_error.cause == type(fault).__name__
    assert result.status == "partial_failure"


def test_a_parser_that_gives_no_parsed_output_is_an_outage() -> None:
    class Wrong(CountingParser):
        def parse(self, candidate: Any, ctx: Any) -> Any:
            return "text"

    result = experiment(parser=Wrong()).run()
    assert {row.error_category for row in result.score_rows()} == {"parser"}


def test_no_metrics_at_all_is_a_completed_run_without_rows() -> None:
    result = experiment(metrics=[]).run()
    assert result.status == "completed"
    assert list(result.score_rows()) == []
    assert len(result.cases[0].generated_candidates) == 1


def test_a_case_that_failed_at_every_stage_still_reads() -> None:
    class Broken(CountingMetric):
        def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
            raise OSError("disk")

    result = experiment(
        ScriptedGenerator(failures={"c0": ValueError("x")}), metrics=[Broken()], samples=2
    ).run()
    assert len(result.cases) == 3
    assert [len(case.generation_failures) for case in result.cases] == [2, 0, 0]
    assert [len(case.evaluation_failures) for case in result.cases] == [0, 2, 2]


CASES = ["correct", "error", "correct"]
"""Outcomes where the second of three cases is the one that fails."""


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


def test_samples_that_fail_to_parse_for_different_reasons_each_show_their_own() -> None:
    def read(output: Any) -> Any:
        raise ParseError(f"no answer in {output}")

    generator = ScriptedGenerator({"c0": ["this", "that", "this"]})
    result = experiment(generator, cases=1, samples=3, parser=CountingParser(read)).run()
    assert [row.outcome for row in result.score_rows()] == ["incorrect"] * 3
    said = [row.error_message or "" for row in result.score_rows()]
    assert ["this" in words for words in said] == [True, False, True]
    assert ["that" in words for words in said] == [False, True, False]


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

    async def pause(self: RunSession, seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(RunSession, "pause", pause)
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
