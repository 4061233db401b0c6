"""What a judged metric is made of: subject, calls, prompts, responses, judgments, aggregation."""

from __future__ import annotations

from pydantic import Field

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.models import ConversationTrace, Score, WorkflowTrace

UNREADABLE = "unreadable_verdict"
"""A judge answered, and no verdict could be read: a result, kept like a model's parse failure."""


class JudgedCandidate(Model):
    """A candidate as a judge sees it."""

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
    """What the workflow needs to know about the call, such as the order of a pair."""


class RenderedJudgePrompt(Model):
    """What a judge is asked."""

    text: str
    instructions: str | None = None
    response_schema: JSONObject | None = None
    """JSON schema of the answer, for endpoints that enforce one."""


class JudgeResponse(Model):
    """What a judge answered."""

    text: str
    token_usage: dict[str, int] | None = None
    latency_ms: float | None = None
    artifacts: JSONObject | None = None


class ParsedJudgment(Model):
    """A judge's answer, read."""

    call_id: str
    judge: str
    verdict: JSONValue
    """What was decided: a label, a number, a list of these."""
    reason: str | None = None
    details: JSONObject = Field(default_factory=dict)


class AggregationResult(Model):
    """What a workflow makes of its judgments."""

    value: float | bool
    details: JSONObject = Field(default_factory=dict)


class WorkflowFailure(Model):
    """A call of a workflow that gave no judgment: the judge was out, or its answer unreadable."""

    call_id: str
    judge: str
    category: str
    reason: str


class EvaluationExecution(Model):
    """All that happened in one judged metric of one subject."""

    metric_id: str
    candidate_id: str | None = None
    calls: list[JudgeCall] = Field(default_factory=list)
    prompts: dict[str, RenderedJudgePrompt] = Field(default_factory=dict)
    """By call id."""
    responses: dict[str, JudgeResponse] = Field(default_factory=dict)
    """By call id; a call that failed has none."""
    judgments: list[ParsedJudgment] = Field(default_factory=list)
    scores: list[Score] = Field(default_factory=list)
    """One a judgment."""
    failures: list[WorkflowFailure] = Field(default_factory=list)
    aggregation: AggregationResult | None = None
    """None where the metric ended as an error."""
