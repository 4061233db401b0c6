"""Components as users write them: a sync metric, an async parser, a sync generator."""

from __future__ import annotations

from themis import Experiment, PromptSpec, evaluate, use
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.contexts import GenerateContext, ParseContext, ScoreContext
from themis.core.models import (
    Case,
    Dataset,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    Score,
)


class Loud:
    component_id = "generator/loud"
    version = "1"

    def fingerprint(self) -> str:
        return "loud"

    def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        return GenerationResult(candidate_id=case.case_id, final_output=str(case.input).upper())


class Words:
    component_id = "parser/words"
    version = "1"

    def fingerprint(self) -> str:
        return "words"

    async def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        return ParsedOutput(value=str(candidate.final_output).split())


class Count:
    component_id = "metric/count"
    version = "1"
    kind = "value"

    def fingerprint(self) -> str:
        return "count"

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score:
        return Score(metric_id=self.component_id, value=float(len(parsed.value)))


experiment = Experiment(
    generation=GenerationConfig(generator=Loud(), prompt_spec=PromptSpec(prefix="Say:")),
    evaluation=EvaluationConfig(
        metrics=[Count(), "builtin/exact_match", use("builtin/exact_match", name="again")],
        parsers=[Words()],
    ),
    storage=StorageConfig(store="memory"),
    datasets=[Dataset(dataset_id="d", cases=[Case(case_id="1", input="a b")])],
)
mean: float | None = experiment.run().metrics["metric/count"].value
status: str = evaluate(
    model=Loud(), data=[{"input": "x"}], metric=Count(), parser=Words()
).status.value
