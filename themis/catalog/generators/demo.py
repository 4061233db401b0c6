"""A generator that needs no model: for tutorials, smoke tests and benchmarks of the engine itself.

It answers from the case's own gold answer, so its scores say nothing about any model.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar

from themis.catalog.component import MustBe, Share, ShippedPart
from themis.catalog.draws import unit_draw
from themis.core.contexts import GenerateContext
from themis.core.models import Case, GenerationResult
from themis.core.prompts import PromptSpec, as_text


class DemoGenerator(ShippedPart):
    """Gives the expected output, or, for a fixed share of the samples, a wrong one of its form.

    Without an expected output it gives back what it was sent. Which samples are wrong follows from
    case id and seed, so that every run of it is the same.
    """

    component_id = "builtin/demo_generator"
    reads: ClassVar[frozenset[str]] = frozenset({"input", "expected_output"})

    accuracy: Share = 1.0
    """Share of right answers, from 0 to 1."""
    latency_ms: Annotated[float, MustBe("milliseconds, not below 0", lambda ms: ms >= 0)] = 0.0
    """Milliseconds that each answer takes."""

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the answer; token counts are counts of words."""
        spec = ctx.prompt_spec or PromptSpec()
        sent = spec.render_input(case.input, metadata=case.metadata)
        answer = sent if case.expected_output is None else case.expected_output
        if not self._is_right(case.case_id, ctx.seed):
            answer = wrong(answer)
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000)
        return GenerationResult(
            candidate_id=f"{case.case_id}-demo",
            final_output=answer,
            artifacts=None
            if spec.is_empty()
            else {"request": {"instructions": spec.instructions, "input": sent}},
            token_usage={
                "prompt_tokens": _words(spec.instructions or "") + _words(as_text(sent)),
                "completion_tokens": _words(as_text(answer)),
            },
            latency_ms=self.latency_ms,
        )

    def _is_right(self, case_id: str, seed: int | None) -> bool:
        if self.accuracy >= 1:
            return True
        return unit_draw("demo_generator", [case_id, seed]) < self.accuracy


def wrong(value: Any) -> Any:
    """Return a value of the same form that differs from the one given."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 1.0 if abs(value) < 2**50 else -value
    if isinstance(value, str):
        return _wrong_text(value)
    if isinstance(value, list):
        return [wrong(item) for item in value] or [None]
    if isinstance(value, dict):
        return {key: wrong(item) for key, item in value.items()} or {"answer": None}
    return "unknown"


def _wrong_text(value: str) -> str:
    if value.isascii() and value.isdigit():
        return str(int(value) + 1) if len(value) < 1000 else f"1{value}"
    if len(value) == 1 and value.isascii() and value.isalpha():
        first = ord("a") if value.islower() else ord("A")
        # Among the first four, so that it stays a choice that is on offer.
        return chr(first + (ord(value) - first + 1) % 4)
    return f"not {value}"


def _words(content: str) -> int:
    return len(content.split())
