"""The way to a candidate and to a judgment: traces, conversations, and all that judges were asked.

It shows what was journaled, in the types that components were given it in, and reads nothing else.
"""

from __future__ import annotations

from typing import Any

from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.judging import (
    AggregationResult,
    EvaluationExecution,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
    WorkflowFailure,
)
from themis.core.models import ConversationTrace, Message, Score, TraceStep, WorkflowTrace
from themis.views.steps import CaseSteps


def candidate_traces(steps: CaseSteps) -> dict[str, WorkflowTrace]:
    """Return the traces of a case's samples, by candidate id; a sample without one has none."""
    return {
        name: WorkflowTrace(trace_id=name, steps=[TraceStep(**step) for step in payload["trace"]])
        for name, payload in _candidates(steps)
        if payload.get("trace") is not None
    }


def candidate_conversations(steps: CaseSteps) -> dict[str, ConversationTrace]:
    """Return the conversations of a case's samples, by candidate id."""
    return {
        name: ConversationTrace(
            trace_id=name, messages=[Message(**turn) for turn in payload["conversation"]]
        )
        for name, payload in _candidates(steps)
        if payload.get("conversation") is not None
    }


def _candidates(steps: CaseSteps) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for address, event in sorted(steps.newest.items(), key=lambda item: item[0].sample or 0):
        if address.stage is Stage.GENERATE and event.artifact is not None:
            payload = event.artifact.payload
            found.append((event.candidate_id or payload["candidate_id"], payload))
    return found


def evaluation_execution(
    steps: CaseSteps, metric_id: str, sample: int | None
) -> EvaluationExecution | None:
    """Return all that happened in a judged metric of one subject; None where nothing did.

    Args:
        steps: the case.
        metric_id: the judged metric.
        sample: index of the sample; None for the reduced candidate or the whole case.
    """
    aggregated = steps.newest.get(StepAddress(Stage.JUDGE, sample, metric_id))
    asked = _calls(steps, metric_id, sample)
    if aggregated is None and not asked:
        return None
    told = told_by(aggregated)
    calls = [JudgeCall(**call) for call in told.get("calls", [])]
    failures = [WorkflowFailure(**failure) for failure in told.get("failures", [])]
    if told:
        # Calls of a superseded workflow, if any, are no part of what was aggregated.
        asked = {call.call_id: asked[call.call_id] for call in calls if call.call_id in asked}
    else:
        failures = [_unanswered(name, event) for name, event in asked.items() if _failed(event)]
    answers = {
        name: event.artifact.payload
        for name, event in asked.items()
        if event.artifact is not None and not _failed(event)
    }
    first = next(iter(asked.values()), None)
    about = aggregated or first
    return EvaluationExecution(
        metric_id=metric_id,
        candidate_id=None if about is None else about.candidate_id,
        calls=calls or [JudgeCall(**payload["call"]) for payload in answers.values()],
        prompts={name: RenderedJudgePrompt(**said["prompt"]) for name, said in answers.items()},
        responses={name: _response(said) for name, said in answers.items()},
        judgments=[ParsedJudgment(**judgment) for judgment in told.get("judgments", [])],
        scores=[Score(**score) for score in told.get("scores", [])],
        failures=failures,
        aggregation=AggregationResult(value=told["value"], details=told.get("details") or {})
        if "value" in told
        else None,
    )


def _response(payload: dict[str, Any]) -> JudgeResponse:
    """Return a judge's answer, the tries that failed before it among its artifacts."""
    fields = dict(payload["response"])
    if "tries" in payload:
        fields["artifacts"] = {**(fields.get("artifacts") or {}), "tries": payload["tries"]}
    return JudgeResponse(**fields)


def _calls(steps: CaseSteps, metric_id: str, sample: int | None) -> dict[str, Event]:
    """Return the newest event of each judge call, by call id, in order of the ids."""
    found = {
        address.call: event
        for address, event in steps.newest.items()
        if address.stage is Stage.JUDGE
        and address.component == metric_id
        and address.sample == sample
        and address.call is not None
    }
    return dict(sorted(found.items()))


def told_by(aggregated: Event | None) -> dict[str, Any]:
    """Return what the aggregation, done or failed, tells of its calls."""
    if aggregated is None:
        return {}
    if aggregated.artifact is not None and not _failed(aggregated):
        return aggregated.artifact.payload
    told: dict[str, Any] = aggregated.data.get("execution") or {}
    return told


def _failed(event: Event) -> bool:
    return event.kind is EventKind.STEP_FAILED


def _unanswered(name: str, event: Event) -> WorkflowFailure:
    failure = event.data["failure"]
    return WorkflowFailure(
        call_id=name,
        judge=failure.get("component") or "",
        category=failure["category"],
        reason=failure["message"],
    )
