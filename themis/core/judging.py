"""The types of a judged metric: subject, calls, prompts, responses, judgments, aggregation."""

from __future__ import annotations

from pydantic import Field

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.models import ConversationTrace, Score, WorkflowTrace

UNREADABLE = "unreadable_verdict"
"""The category of a judge's answer in which no verdict could be read. It is a result that is
kept."""


class JudgedCandidate(Model):
    """A candidate as it is given to a judged metric."""

    candidate_id: str
    final_output: JSONValue


class CandidateSetSubject(Model):
    """One or more candidates of a case, to be judged together."""

    candidates: list[JudgedCandidate]


class ConversationSubject(Model):
    """The conversation that led to a candidate."""

    candidate_id: str
    conversation: ConversationTrace


class TraceSubject(Model):
    """The steps that led to a candidate."""

    candidate_id: str
    trace: WorkflowTrace


class JudgeCall(Model):
    """One question to one judge."""

    call_id: str
    """Unique within the workflow."""
    judge: str
    """Name of the judge, one of ``EvalScoreContext.judge_model_refs``."""
    repeat: int = 0
    """Which repetition of the same question this is."""
    details: JSONObject = Field(default_factory=dict)
    """Data of the workflow's own about the call, such as the order of a pair."""


class RenderedJudgePrompt(Model):
    """The prompt that is sent to a judge."""

    text: str
    instructions: str | None = None
    response_schema: JSONObject | None = None
    """JSON schema of the answer, for endpoints that enforce one."""


class JudgeResponse(Model):
    """A judge's answer."""

    text: str
    token_usage: dict[str, int] | None = None
    latency_ms: float | None = None
    artifacts: JSONObject | None = None


class ParsedJudgment(Model):
    """A verdict that was read from a judge's answer."""

    call_id: str
    judge: str
    verdict: JSONValue
    """The verdict: a label, a number, or a list of these."""
    reason: str | None = None
    details: JSONObject = Field(default_factory=dict)


class AggregationResult(Model):
    """The value that a workflow computes from its judgments."""

    value: float | bool
    details: JSONObject = Field(default_factory=dict)


class WorkflowFailure(Model):
    """A judge call without a judgment: the call failed, or its answer had no readable verdict."""

    call_id: str
    judge: str
    category: str
    reason: str


class EvaluationExecution(Model):
    """The calls, prompts, answers, judgments and scores of a judged metric for one subject."""

    metric_id: str
    candidate_id: str | None = None
    calls: list[JudgeCall] = Field(default_factory=list)
    prompts: dict[str, RenderedJudgePrompt] = Field(default_factory=dict)
    """By call id."""
    responses: dict[str, JudgeResponse] = Field(default_factory=dict)
    """By call id; a call that failed has none."""
    judgments: list[ParsedJudgment] = Field(default_factory=list)
    scores: list[Score] = Field(default_factory=list)
    """One score for each judgment."""
    failures: list[WorkflowFailure] = Field(default_factory=list)
    aggregation: AggregationResult | None = None
    """None if the metric ended with an error."""
