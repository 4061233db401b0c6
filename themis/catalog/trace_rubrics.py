"""Rubrics put to a judge about the way to a candidate: its trace, or its conversation.

They ask what ``builtin/llm_rubric`` asks, with its parameters and its verdicts; what is judged is
the way, told step by step, in place of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from themis.catalog.judged import LLMRubric
from themis.catalog.tool_calls import has_failed
from themis.core.base import JSONValue
from themis.core.contexts import EvalScoreContext
from themis.core.judging import (
    AggregationResult,
    CandidateSetSubject,
    ConversationSubject,
    JudgeCall,
    JudgedCandidate,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
    TraceSubject,
)
from themis.core.models import Score, TraceStep
from themis.core.prompts import as_text
from themis.core.protocols import EvaluationWorkflow


class _OverTheWay:
    """A rubric's workflow, which is shown the way as the text to be judged."""

    def __init__(self, inner: EvaluationWorkflow, shown: CandidateSetSubject) -> None:
        self._inner = inner
        self._shown = shown
        self.min_judgments: int | None = getattr(inner, "min_judgments", None)
        """How many judgments suffice; None for all."""

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return the questions."""
        return self._inner.judge_calls()

    def render_prompt(
        self, call: JudgeCall, subject: Any, ctx: EvalScoreContext
    ) -> RenderedJudgePrompt:
        """Return the prompt about the way."""
        del subject
        return self._inner.render_prompt(call, self._shown, ctx)

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext
    ) -> ParsedJudgment:
        """Return the verdict; raise ``ParseError`` where the answer is none."""
        return self._inner.parse_judgment(call, response, ctx)

    def score_judgment(
        self, call: JudgeCall, judgment: ParsedJudgment, ctx: EvalScoreContext
    ) -> Score:
        """Return one judgment's score."""
        return self._inner.score_judgment(call, judgment, ctx)

    def aggregate(
        self,
        judgments: Sequence[ParsedJudgment],
        scores: Sequence[Score],
        ctx: EvalScoreContext,
    ) -> AggregationResult:
        """Return the metric's value."""
        return self._inner.aggregate(judgments, scores, ctx)


class TraceRubric(LLMRubric):
    """Has one judge say whether, or how well, the steps to an answer meet a rubric.

    Parameters are those of ``builtin/llm_rubric``.
    """

    component_id = "builtin/trace_rubric"
    subject = "trace"

    def build_workflow(self, subject: TraceSubject, ctx: EvalScoreContext) -> Any:  # type: ignore[override]
        """Return the workflow about a trace."""
        steps = enumerate(subject.trace.steps, start=1)
        told = "\n\n".join(_step_told(number, step) for number, step in steps)
        shown = _as_candidate(subject.candidate_id, told or "(no steps)")
        return _OverTheWay(super().build_workflow(shown, ctx), shown)


class ConversationRubric(LLMRubric):
    """Has one judge say whether, or how well, a conversation meets a rubric.

    Parameters are those of ``builtin/llm_rubric``.
    """

    component_id = "builtin/conversation_rubric"
    subject = "conversation"

    def build_workflow(self, subject: ConversationSubject, ctx: EvalScoreContext) -> Any:  # type: ignore[override]
        """Return the workflow about a conversation."""
        turns = subject.conversation.messages
        told = "\n\n".join(f"{turn.role}:\n{as_text(turn.content)}" for turn in turns)
        shown = _as_candidate(subject.candidate_id, told or "(no messages)")
        return _OverTheWay(super().build_workflow(shown, ctx), shown)


def _as_candidate(candidate_id: str, told: str) -> CandidateSetSubject:
    return CandidateSetSubject(
        candidates=[JudgedCandidate(candidate_id=candidate_id, final_output=told)]
    )


def _step_told(number: int, step: TraceStep) -> str:
    lines = [f"Step {number}: {step.step_type} {step.step_name}"]
    parts: list[tuple[str, JSONValue]] = [("input", step.input), ("output", step.output)]
    lines += [f"{name}: {as_text(value)}" for name, value in parts if value not in ({}, None)]
    if has_failed(step):
        error = step.metadata.get("error")
        lines.append(f"it failed: {as_text(error)}" if error not in (None, True) else "it failed")
    return "\n".join(lines)
