"""Judged metrics: a rubric put to one judge, or to a panel, and the mean of what they say.

They only say what to ask and how to read the answers; the calls, their retries and their journal
are the engine's. A judge that gives no verdict is left out where ``min_judges`` allows it, and
never counted as a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from themis.catalog.shipped import ShippedComponent
from themis.catalog.verdicts import PASS_FAIL, Scale, judge_prompt
from themis.core.contexts import EvalScoreContext
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.judging import (
    AggregationResult,
    CandidateSetSubject,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Score


class RubricWorkflow:
    """One candidate, one rubric, any number of questions; their mean."""

    def __init__(
        self,
        *,
        metric_id: str,
        rubric: str,
        scale: Scale,
        calls: Sequence[JudgeCall],
        min_judgments: int | None,
    ) -> None:
        self.min_judgments = min_judgments
        """How many judgments suffice; None for all."""
        self._metric_id = metric_id
        self._rubric = rubric
        self._scale = scale
        self._calls = list(calls)

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return the questions."""
        return self._calls

    def render_prompt(
        self, call: JudgeCall, subject: CandidateSetSubject, ctx: EvalScoreContext
    ) -> RenderedJudgePrompt:
        """Return the prompt, the same for every judge."""
        del call
        return judge_prompt(
            rubric=self._rubric,
            scale=self._scale,
            candidate=subject.candidates[0].final_output,
            ctx=ctx,
        )

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext
    ) -> ParsedJudgment:
        """Return the verdict; raise ``ParseError`` where the answer is none."""
        del ctx
        verdict = self._scale.read(response.text)
        return ParsedJudgment(
            call_id=call.call_id, judge=call.judge, verdict=verdict.value, reason=verdict.reason
        )

    def score_judgment(
        self, call: JudgeCall, judgment: ParsedJudgment, ctx: EvalScoreContext
    ) -> Score:
        """Return 1 or 0 for pass or fail, or the number given."""
        del call, ctx
        return Score(metric_id=self._metric_id, value=self._scale.score(judgment.verdict))

    def aggregate(
        self,
        judgments: Sequence[ParsedJudgment],
        scores: Sequence[Score],
        ctx: EvalScoreContext,
    ) -> AggregationResult:
        """Return the mean score; the details hold each verdict and reason by call."""
        del ctx
        return AggregationResult(
            value=sum(float(score.value) for score in scores) / len(scores),
            details={
                "n_judges": len({judgment.judge for judgment in judgments}),
                "verdicts": {one.call_id: one.verdict for one in judgments},
                "reasons": {one.call_id: one.reason for one in judgments if one.reason},
            },
        )


class _RubricMetric(ShippedComponent):
    """What the rubric metrics have in common."""

    subject = "candidate"
    higher_is_better = True
    unparsed = "incorrect"

    def __init__(self, *, rubric: str, scale: str, min_judges: int | None, **params: Any) -> None:
        super().__init__({"rubric": rubric, "scale": scale, "min_judges": min_judges, **params})
        self._rubric = self.text_param("rubric", rubric, "a text that says what a good answer is")
        if min_judges is not None:
            self.count_param("min_judges", min_judges)
        self._scale = Scale.of(scale)
        self._min_judges = min_judges
        self.value_range = (self._scale.low, self._scale.high)

    def _workflow(self, calls: Sequence[JudgeCall]) -> RubricWorkflow:
        return RubricWorkflow(
            metric_id=self.component_id,
            rubric=self._rubric,
            scale=self._scale,
            calls=calls,
            min_judgments=self._min_judges,
        )

    def _known(self, judge: str, judge_names: Sequence[str], field: str) -> str:
        if judge not in judge_names:
            raise DefinitionError(
                f"{self.component_id}: the run has no judge '{judge}'"
                f"{did_you_mean(judge, judge_names)}",
                field=field,
                value=judge,
            )
        return judge

    def _some(self, judge_names: Sequence[str]) -> None:
        if not judge_names:
            raise DefinitionError(
                f"{self.component_id} needs a judge: set judge_models=[...], "
                'such as judge_models=["builtin/demo_judge"]',
                field="judge_models",
            )


class LLMRubric(_RubricMetric):
    """Has one judge say whether, or how well, an answer meets a rubric.

    Args:
        rubric: what a good answer is, in words.
        judge: name of the judge; not needed where the run has one only.
        scale: "pass_fail", or a range of numbers such as "0-10".
        min_judges: how many judgments suffice, where ``repeats`` asks for several; all by default.
        repeats: how often the judge is asked; the score is the mean.
    """

    component_id = "builtin/llm_rubric"

    def __init__(
        self,
        *,
        rubric: str,
        judge: str | None = None,
        scale: str = PASS_FAIL,
        min_judges: int | None = None,
        repeats: int = 1,
    ) -> None:
        super().__init__(
            rubric=rubric, scale=scale, min_judges=min_judges, judge=judge, repeats=repeats
        )
        self.count_param("repeats", repeats)
        if min_judges is not None and min_judges > repeats:
            raise self.refuse("min_judges", min_judges, f"at most repeats, which is {repeats}")
        self._judge = judge
        self._repeats = repeats
        self.kind = "binary" if self._scale.is_binary and repeats == 1 else "value"

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the one judge that is asked, of the run's judges.

        Raises:
            DefinitionError: there is none, not the one named, or several and none is named.
        """
        self._some(judge_names)
        if self._judge is not None:
            return [self._known(self._judge, judge_names, "judge")]
        if len(judge_names) > 1:
            raise DefinitionError(
                f"{self.component_id} asks one judge and the run has {len(judge_names)} "
                f"({', '.join(judge_names)}): name one with "
                f'use("{self.component_id}", judge="{judge_names[0]}", ...), '
                "or ask them all with builtin/panel_of_judges",
                field="judge",
            )
        return [judge_names[0]]

    def build_workflow(self, subject: CandidateSetSubject, ctx: EvalScoreContext) -> RubricWorkflow:
        """Return the workflow: the same question, ``repeats`` times."""
        del subject
        (judge,) = self.judges_needed(ctx.judge_model_refs)
        return self._workflow(
            [
                JudgeCall(
                    call_id=judge if repeat == 0 else f"{judge}#{repeat + 1}",
                    judge=judge,
                    repeat=repeat,
                )
                for repeat in range(self._repeats)
            ]
        )


class PanelOfJudges(_RubricMetric):
    """Has several judges decide by the same rubric; the score is the mean of their verdicts.

    Source: Verga et al. 2024, "Replacing Judges with Juries", https://arxiv.org/abs/2404.18796.

    Args:
        rubric: what a good answer is, in words.
        judges: names of the judges; all of the run's by default.
        min_judges: how many judgments suffice; all by default.
    """

    component_id = "builtin/panel_of_judges"
    kind = "value"

    def __init__(
        self, *, rubric: str, judges: list[str] | None = None, min_judges: int | None = None
    ) -> None:
        super().__init__(rubric=rubric, scale=PASS_FAIL, min_judges=min_judges, judges=judges)
        if judges is not None and (not judges or len(set(judges)) != len(judges)):
            raise self.refuse("judges", judges, "a list of different names")
        self._judges = judges

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges.

        Raises:
            DefinitionError: there is none, one that is named is not there, or they are fewer than
                ``min_judges``.
        """
        self._some(judge_names)
        asked = [
            self._known(judge, judge_names, "judges")
            for judge in (judge_names if self._judges is None else self._judges)
        ]
        if self._min_judges is not None and self._min_judges > len(asked):
            raise self.refuse("min_judges", self._min_judges, f"at most {len(asked)}, the judges")
        return asked

    def build_workflow(self, subject: CandidateSetSubject, ctx: EvalScoreContext) -> RubricWorkflow:
        """Return the workflow: the same question to each judge."""
        del subject
        return self._workflow(
            [
                JudgeCall(call_id=judge, judge=judge)
                for judge in self.judges_needed(ctx.judge_model_refs)
            ]
        )
