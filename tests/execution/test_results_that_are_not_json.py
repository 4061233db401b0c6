"""A result that is not JSON is its case's error at every stage, in words that say what to do.

Nothing is coerced, save a metric's value: a NumPy scalar is a number, and is kept as the number it
is. What only a parser can be to blame for is never counted against the model.

Covers: themis.execution.candidates, themis.execution.stages.generate,
themis.execution.stages.parse, themis.execution.stages.score, themis.execution.step
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from tests.support.in_threads import CASES, CATEGORY, in_threads
from tests.support.runs import dataset, experiment
from themis import Experiment, use
from themis.core.judging import (
    AggregationResult,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Case, GenerationResult, ParsedOutput, ReducedCandidate, Score
from themis.testing.scripted import CountingMetric, ScriptedJudge

REFUSED: dict[str, tuple[Any, str]] = {
    "NaN": (float("nan"), "is nan; JSON has finite numbers only"),
    "infinity": (float("-inf"), "is -inf; JSON has finite numbers only"),
    "a NaN deep inside": ({"a": [1, {"b": float("nan")}]}, ".a[1].b is nan"),
    "bytes": (b"x", "is bytes, not a JSON value; decode it to text first"),
    "a datetime": (datetime.datetime(2026, 1, 1), "not a JSON value; use its isoformat()"),
    "a NumPy float": (numpy.float64(0.5), "is numpy.float64, not a JSON value; use its item()"),
    "a NumPy integer": (numpy.int64(3), "is numpy.int64, not a JSON value; use its item()"),
    "a NumPy bool": (numpy.bool_(True), "is numpy.bool, not a JSON value; use its item()"),
    "an array": (numpy.array([1, 2]), "is numpy.ndarray, not a JSON value; use its tolist()"),
    "a tuple": ((1, 2), "is tuple, not a JSON value; make it a list"),
    "a key that is no text": ({1: 2}, "has the key 1, but keys are strings; use str()"),
    "a lone surrogate": ("a\ud800", "holds a lone surrogate, which is not text; replace it"),
}
KEPT: dict[str, Any] = {"10 MB of text": "é" * 5_000_000, "a NUL": "a\0b", "a big integer": 2**70}
FROM_THE_MODEL = {"NaN", "infinity", "a NaN deep inside", "a lone surrogate"}
"""What a parser may have found in an answer, rather than made of it."""


class Part:
    """A component that gives a value for case c1, and what is right for the others."""

    component_id = "part"
    version = "1"
    kind = "value"

    def __init__(self, value: Any) -> None:
        self.value = value

    def fingerprint(self) -> str:
        return "part"

    def given(self, case_id: str, otherwise: Any) -> Any:
        return self.value if case_id == "c1" else otherwise


class Generator(Part):
    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        said = self.given(case.case_id, case.input)
        return GenerationResult(candidate_id="x", final_output=said)


class Evidence(Part):
    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        raw = {"raw": self.given(case.case_id, None)}
        return GenerationResult(candidate_id="x", final_output=case.input, artifacts=raw)


class Reducer(Part):
    async def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
        return ReducedCandidate(
            candidate_id="r",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=self.given(ctx.case_id, candidates[0].final_output),
        )


class Selector(Part):
    async def select(self, candidates: Any, ctx: Any) -> Any:
        return self.given(ctx.case_id, candidates[:1])


class Parser(Part):
    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        return ParsedOutput(value=self.given(ctx.case_id, candidate.final_output))


class Metric(Part):
    def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
        return Score(metric_id="part", value=self.given(case.case_id, 1.0))


class Details(Part):
    def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
        return Score(metric_id="part", value=1.0, details={"d": self.given(case.case_id, 0)})


class Judge(Part):
    async def judge(self, prompt: Any, *, seed: int | None = None) -> JudgeResponse:
        raw = self.value if "\n1\n" in prompt.text else None
        return JudgeResponse(text="VERDICT: PASS", artifacts={"raw": raw})


STAGES: dict[str, Callable[[Any], Experiment]] = {
    "generate": lambda value: experiment(Generator(value)),
    "generate, in its artifacts": lambda value: experiment(Evidence(value)),
    "reduce": lambda value: experiment(samples=2, reducer=Reducer(value)),
    "parse": lambda value: experiment(parser=Parser(value)),
    "score, in its details": lambda value: experiment(metrics=[Details(value)]),
    "judge": lambda value: experiment(
        metrics=[use("builtin/llm_rubric", rubric="Right?")], judges=[Judge(value)]
    ),
}
CATEGORIES = {"reduce": "reduction", "parse": "parser", "judge": "judge"}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_not_json_is_its_cases_error_and_says_what_to_do(stage: str, what: str) -> None:
    value, said = REFUSED[what]
    result = STAGES[stage](value).run(progress=False)
    rows = {row.case_id: row for row in result.score_rows()}
    assert rows["c0"].outcome in ("correct", "scored")
    assert rows["c2"].outcome in ("correct", "scored")
    assert said in (rows["c1"].error_message or "")
    if stage == "parse" and what in FROM_THE_MODEL:
        assert (rows["c1"].outcome, rows["c1"].error_category) == ("incorrect", "parse_failure")
        assert result.status == "completed"
        return
    assert rows["c1"].outcome == "error"
    family = stage.partition(",")[0]
    wanted = CATEGORIES.get(family, "generation" if family == "generate" else "scoring")
    assert rows["c1"].error_category == wanted
    assert result.status == "partial_failure"


@pytest.mark.parametrize("what", KEPT)
@pytest.mark.parametrize("stage", STAGES)
def test_long_text_a_nul_and_a_big_integer_are_kept_as_they_are(stage: str, what: str) -> None:
    result = STAGES[stage](KEPT[what]).run(progress=False)
    assert result.status == "completed"
    assert {row.error_message for row in result.score_rows()} <= {None}
    if stage == "generate":
        assert result.cases[1].generated_candidates[0].final_output == KEPT[what]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (numpy.float64(0.25), 0.25),
        (numpy.float32(0.25), 0.25),
        (numpy.int64(3), 3),
        (numpy.bool_(True), 1),
    ],
)
def test_a_numpy_scalar_as_a_score_is_the_number_it_is(value: Any, number: float) -> None:
    result = experiment(metrics=[Metric(value)]).run(progress=False)
    kept = {row.case_id: row.value for row in result.score_rows()}["c1"]
    assert kept == number
    assert type(kept) in (float, int, bool)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "Score.value = nan: must be a finite number or be a valid boolean"),
        (b"x", "Score.value = b'x': must be a valid number or be a valid boolean"),
        ("1", "Score.value = '1': must be a valid number or be a valid boolean"),
    ],
)
def test_a_score_that_is_no_number_is_its_cases_error(value: Any, said: str) -> None:
    result = experiment(metrics=[Metric(value)]).run(progress=False)
    row = {row.case_id: row for row in result.score_rows()}["c1"]
    assert (row.outcome, row.error_category) == ("error", "scoring")
    assert said in (row.error_message or "")


@pytest.mark.parametrize("value", [b"x", "c1", float("nan"), [3]])
def test_a_selection_of_what_was_not_given_is_its_cases_error(value: Any) -> None:
    result = experiment(samples=2, selector=Selector(value), cases=dataset(3)).run(progress=False)
    failed = {row.case_id for row in result.score_rows() if row.outcome == "error"}
    assert failed == {"c1"}
    (row,) = [row for row in result.score_rows() if row.outcome == "error"]
    assert row.error_category == "selection"
    assert "select()" in (row.error_message or "")


@pytest.mark.parametrize("role", ["generator", "reducer"])
def test_a_candidate_id_that_no_store_can_keep_is_its_cases_error(role: str) -> None:
    def act() -> Any:
        if role == "generator":
            return GenerationResult(candidate_id="a\ud800", final_output=1)
        return ReducedCandidate(candidate_id="a\ud800", source_candidate_ids=[], final_output=1)

    result = in_threads(role, act).run()
    assert result.status == "partial_failure"
    rows = list(result.score_rows())
    assert [row.outcome for row in rows] == CASES
    assert rows[1].error_category == CATEGORY[role]
    assert "surrogate" in (rows[1].error_message or "")


RUBRIC = use("builtin/llm_rubric", rubric="Is it right?", name="rubric")


JUDGED_CASES = ["scored", "error", "scored"]
"""Outcomes where the second of three cases is the one that fails."""


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
    assert [rows["judged", f"c{i}"] for i in range(3)] == JUDGED_CASES
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
