"""One of each kind of component."""

from __future__ import annotations

from typing import Any

from themis.core.judging import JudgeResponse
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate, Score


class Echo:
    component_id = "acme/echo"
    version = "1"

    def __init__(self, *, before: str = "") -> None:
        self.before = before

    def fingerprint(self) -> str:
        return f"echo {self.before}"

    async def generate(self, case: Any, ctx: Any) -> GenerationResult:
        return GenerationResult(candidate_id="echo", final_output=f"{self.before}{case.input}")


class Upper:
    component_id = "acme/upper"
    version = "1"

    def fingerprint(self) -> str:
        return "upper"

    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        return ParsedOutput(value=str(candidate.final_output).upper())


class First:
    component_id = "acme/first"
    version = "1"

    def fingerprint(self) -> str:
        return "first"

    async def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
        return ReducedCandidate(
            candidate_id="first",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=candidates[0].final_output,
        )


class Keeper:
    component_id = "acme/keeper"
    version = "1"

    def fingerprint(self) -> str:
        return "keeper"

    async def select(self, candidates: Any, ctx: Any) -> Any:
        return list(candidates)


class Similar:
    component_id = "acme/similar"
    version = "1"
    kind = "value"
    value_range = (0, 1)

    def fingerprint(self) -> str:
        return "similar"

    def score(self, parsed: Any, case: Any, ctx: Any) -> Score:
        same = str(parsed.value).endswith(str(case.expected_output))
        return Score(metric_id="acme/similar", value=0.75 if same else 0.25)


class Strict:
    component_id = "acme/strict"
    version = "1"

    def fingerprint(self) -> str:
        return "strict"

    async def judge(self, prompt: Any, *, seed: int | None = None) -> JudgeResponse:
        return JudgeResponse(text="FAIL")


def strict_judge() -> Strict:
    return Strict()
