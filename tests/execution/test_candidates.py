"""What a component changes in what it is given reaches no other component and no dataset.

Covers: themis.core.contexts, themis.execution.candidates
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.support.runs import experiment, table
from themis.core.errors import ProviderError
from themis.core.judging import (
    AggregationResult,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Case, Dataset, GenerationResult, ParsedOutput, Score
from themis.testing.scripted import CountingMetric, ScriptedGenerator, ScriptedJudge

TALK = [{"role": "user", "content": "2+2?"}]


class Part:
    version = "1"

    def __init__(self, component_id: str) -> None:
        self.component_id = component_id

    def fingerprint(self) -> str:
        return self.component_id


class Appending(Part):
    """Adds to the messages it was given, as many a script does, and fails once."""

    def __init__(self) -> None:
        super().__init__("appending")
        self.lengths: list[int] = []

    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        case.input.append({"role": "assistant", "content": "4"})
        case.metadata["tries"] = len(self.lengths)
        self.lengths.append(len(case.input))
        if len(self.lengths) == 1:
            raise ProviderError("busy", status=503)
        return GenerationResult(candidate_id="x", final_output=[3, 1, 2])


class Sorting(Part):
    kind = "binary"

    def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
        before = list(parsed.value)
        parsed.value.sort()
        case.expected_output.append("mine")
        return Score(metric_id=self.component_id, value=before == [3, 1, 2])


class Emptying(Part):
    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        value = list(candidate.final_output)
        candidate.final_output.clear()
        return ParsedOutput(value=value)


def test_what_a_component_changes_is_neither_anothers_nor_the_datasets() -> None:
    case = Case(case_id="c", input=list(TALK), expected_output=[1], metadata={"a": 1})
    data = Dataset(dataset_id="d", cases=[case])
    generator = Appending()
    one = experiment(
        generator,
        cases=data,
        samples=3,
        parser=Emptying("emptying"),
        metrics=[Sorting("first"), Sorting("second")],
    )
    run_id = one.compile().run_id
    result = one.run()
    assert generator.lengths == [2, 2, 2, 2]
    assert [row[-1] for row in table(result)] == ["correct"] * 6
    assert case.input == TALK
    assert case.expected_output == [1]
    assert case.metadata == {"a": 1}
    assert one.compile().run_id == run_id
    assert result.cases[0].generated_candidates[0].final_output == [3, 1, 2]


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
