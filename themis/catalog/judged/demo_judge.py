"""A judge that needs no model: for tutorials, tests and trying out a judged metric.

Its verdicts follow from the prompt by a hash, so they say nothing about any answer.
"""

from __future__ import annotations

import re

from themis.catalog.component import Share, ShippedPart
from themis.catalog.draws import unit_draw
from themis.core.judging import JudgeResponse, RenderedJudgePrompt

_LABELS = re.compile(r'"VERDICT: ([^"<>]+)"')
_NUMBERS = re.compile(r"the number from (-?[\d.]+?) to (-?[\d.]+?)\.?(?=\s|$)")


class DemoJudge(ShippedPart):
    """Passes a fixed share of the prompts; on a scale of numbers a pass is in the upper half.

    On a scale of labels, the first half of those listed in the prompt is a pass.
    """

    component_id = "builtin/demo_judge"

    pass_rate: Share = 1.0
    """Share of the prompts that pass, from 0 to 1."""

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        """Return an answer in the form that the prompt asks for."""
        draw = unit_draw("demo_judge", [prompt.instructions, prompt.text, seed])
        passes = draw < self.pass_rate
        asked = _NUMBERS.findall(prompt.text)
        labels = _labels_on_offer(prompt.text)
        if labels:
            half = len(labels) // 2
            side = labels[:half] if passes else labels[half:]
            verdict = side[int(unit_draw("demo_label", [prompt.text, seed]) * len(side))]
        elif asked:
            low, high = map(float, asked[-1])
            place = (draw + 1) / 2 if passes else draw / 2
            verdict = f"{low + round(place * (high - low)):g}"
        else:
            verdict = "PASS" if passes else "FAIL"
        text = f"Decided by a hash of the prompt.\nVERDICT: {verdict}"
        return JudgeResponse(
            text=text,
            token_usage={
                "prompt_tokens": len(prompt.text.split()),
                "completion_tokens": len(text.split()),
            },
            latency_ms=0.0,
        )


def _labels_on_offer(text: str) -> list[str]:
    """Return the labels that a prompt's question offers, where they are not pass and fail."""
    question = next((line for line in reversed(text.splitlines()) if "VERDICT:" in line), "")
    labels = _LABELS.findall(question)
    return [] if labels in ([], ["PASS", "FAIL"]) else labels
