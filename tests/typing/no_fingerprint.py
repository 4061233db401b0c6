"""A generator that forgot to say what it is: the checker must say so, once and readably."""

from __future__ import annotations

from themis.core.config import GenerationConfig
from themis.core.contexts import GenerateContext
from themis.core.models import Case, GenerationResult


class Nameless:
    component_id = "generator/nameless"
    version = "1"

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        return GenerationResult(candidate_id=case.case_id, final_output=case.input)


config = GenerationConfig(generator=Nameless())
