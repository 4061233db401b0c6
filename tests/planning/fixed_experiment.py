"""One experiment that never changes, and every id and key that comes of it, printed as JSON."""

from __future__ import annotations

import json
from typing import Any

from themis import Experiment, InMemoryRunStore
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.judging import (
    AggregationResult,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import (
    Case,
    Dataset,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    Score,
)
from themis.core.prompts import PromptSpec


class Part:
    version = "1"

    def __init__(self, component_id: str) -> None:
        self.component_id = component_id

    def fingerprint(self) -> str:
        return f"{self.component_id} is fixed"


class Generator(Part):
    reads = ("input",)

    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        return GenerationResult(
            candidate_id="x", final_output={"answer": case.input, "sample": ctx.sample_index}
        )


class Selector(Part):
    async def select(self, candidates: Any, ctx: Any) -> Any:
        return candidates[:2]


class Reducer(Part):
    async def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
        return ReducedCandidate(
            candidate_id="r",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=candidates[0].final_output,
        )


class Parser(Part):
    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        return ParsedOutput(value=candidate.final_output["answer"])


class Metric(Part):
    kind = "binary"

    def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
        return Score(metric_id="m", value=parsed.value == case.expected_output)


class Judge(Part):
    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        return JudgeResponse(text="0.5")


class Folding(Part):
    of = "metric"
    reads = ("expected_output",)
    reads_parsed = True

    def score_set(self, scores: Any, case: Case, ctx: Any) -> Score:
        return Score(metric_id="f", value=sum(one.value for one in scores) / len(scores))


class Workflow:
    def judge_calls(self) -> list[JudgeCall]:
        return [JudgeCall(call_id="one", judge="judge")]

    def render_prompt(self, call: Any, subject: Any, ctx: Any) -> RenderedJudgePrompt:
        return RenderedJudgePrompt(text="How good?")

    def parse_judgment(self, call: Any, response: Any, ctx: Any) -> ParsedJudgment:
        return ParsedJudgment(call_id="one", judge="judge", verdict=float(response.text))

    def score_judgment(self, call: Any, judgment: Any, ctx: Any) -> Score:
        return Score(metric_id="judged", value=judgment.verdict)

    def aggregate(self, judgments: Any, scores: Any, ctx: Any) -> AggregationResult:
        return AggregationResult(value=scores[0].value)


class Judged(Part):
    value_range = (0.0, 1.0)

    def build_workflow(self, subject: Any, ctx: Any) -> Workflow:
        return Workflow()


def make(**changes: Any) -> Experiment:
    """Return the experiment, with changes to what it is made of."""
    generation: dict[str, Any] = {
        "generator": Generator("generator"),
        "candidate_policy": {"num_samples": 3},
        "prompt_spec": PromptSpec(instructions="Be brief.", blocks=[{"title": "Näh", "n": 1.0}]),
        "selector": Selector("selector"),
        "reducer": Reducer("reducer"),
    }
    evaluation: dict[str, Any] = {
        "metrics": [Metric("metric"), Judged("judged")],
        "parsers": [Parser("parser")],
        "judge_models": [Judge("judge")],
        "judge_config": {"scale": [0, 1]},
    }
    data = {
        "dataset_id": "sums",
        "cases": [
            Case(case_id="a", input="1+1", expected_output="2", metadata={"é": [1.5, None]}),
            Case(case_id="b", input={"q": "2+2", "n": 2**70}, expected_output=4),
        ],
        "revision": "v1",
        "metadata": {"source": "made up"},
    }
    rest: dict[str, Any] = {
        "storage": StorageConfig(store="memory"),
        "seeds": [],
        "runtime": RuntimeConfig(),
    }
    for name, value in changes.items():
        part = next(
            (part for part in (generation, evaluation, data) if name in part),
            rest,
        )
        part[name] = value
    return Experiment(
        generation=GenerationConfig(**generation),
        evaluation=EvaluationConfig(**evaluation),
        datasets=[Dataset(**data)],  # type: ignore[arg-type]
        **rest,
    )


def identities() -> dict[str, Any]:
    """Return the run id, the dataset's fingerprint, and the key of every step of case "a"."""
    one, store = make(), InMemoryRunStore()
    result = one.run(store=store, progress=False)
    assert result.status == "completed", [case.generation_failures for case in result.cases]
    keys = {
        " ".join(str(part) for part in event.address if part is not None): event.key
        for event in store.case_events(result.run_id, 0, 1)
        if event.address is not None
    }
    return {
        "run_id": result.run_id,
        "dataset": result.snapshot.identity.datasets[0].fingerprint,
        "case_key": result.cases[0].case_key,
        "keys": dict(sorted(keys.items())),
    }


def folding() -> dict[str, Any]:
    """Return the run id of the experiment with a candidate-set metric, and that step's key."""
    changes: dict[str, Any] = {"selector": None, "reducer": None}
    one = make(metrics=[Metric("metric"), Folding("folding")], **changes)
    store = InMemoryRunStore()
    result = one.run(store=store, progress=False)
    events = store.case_events(result.run_id, 0, 1)
    keys = [event.key for event in events if event.address and event.address[2] == "folding"]
    return {"run_id": result.run_id, "keys": keys}


if __name__ == "__main__":
    print(json.dumps({**identities(), "folding": folding()}, indent=4))
