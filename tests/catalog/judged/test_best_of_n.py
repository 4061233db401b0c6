"""The selector best_of_n by itself: the best rated sample is kept, and of equals the first.

Covers: themis.catalog.judged, themis.catalog.judged.best_of_n
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from themis.catalog.judged.best_of_n import BestOfN
from themis.core.contexts import SelectContext
from themis.core.errors import ComponentError, DefinitionError
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import GenerationResult


def results(*outputs: Any) -> list[GenerationResult]:
    return [
        GenerationResult(candidate_id=f"c{index}", final_output=output)
        for index, output in enumerate(outputs)
    ]


class ScriptedJudge:
    """Answers with the rating written in the candidate, after a hash sign."""

    component_id = "judge/scripted"
    version = "1"

    def __init__(self, shift: float = 0) -> None:
        self.asked: list[RenderedJudgePrompt] = []
        self._shift = shift

    def fingerprint(self) -> str:
        return str(self._shift)

    async def judge(
        self, prompt: RenderedJudgePrompt, /, *, seed: int | None = None
    ) -> JudgeResponse:
        self.asked.append(prompt)
        said = prompt.text.split("#")[1].split("\n")[0]
        if said == "fail":
            raise ComponentError("the judge is out")
        if said.isdigit():
            said = f"VERDICT: {float(said) + self._shift:g}"
        return JudgeResponse(text=said)


async def test_the_best_rated_sample_is_kept_and_of_equals_the_first(
    select_context: Callable[..., SelectContext],
) -> None:
    judges = [ScriptedJudge(), ScriptedJudge(shift=1)]
    candidates = results("#3", "#8", "#8", "#no idea")
    kept = await BestOfN().select(candidates, select_context(judge_models=judges))
    assert [one.candidate_id for one in kept] == ["c1"]
    assert [len(judge.asked) for judge in judges] == [4, 4]


async def test_a_single_sample_is_kept_unasked(
    select_context: Callable[..., SelectContext],
) -> None:
    judge = ScriptedJudge()
    kept = await BestOfN().select(results("x"), select_context(judge_models=[judge]))
    assert len(kept) == 1
    assert not judge.asked


async def test_a_selection_without_a_readable_rating_fails(
    select_context: Callable[..., SelectContext],
) -> None:
    ctx = select_context(judge_models=[ScriptedJudge()])
    with pytest.raises(ComponentError, match="no judge gave a readable rating"):
        await BestOfN().select(results("#hm", "#well"), ctx)
    with pytest.raises(ComponentError, match="the judge is out"):
        await BestOfN().select(results("#3", "#fail"), ctx)
    with pytest.raises(DefinitionError, match="needs a judge"):
        await BestOfN().select(results("#3", "#4"), select_context())
