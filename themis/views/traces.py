"""Trajectories and judged evaluations, read from the journal: traces, conversations, judge calls.

They are returned in the types in which components were given them.
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
from themis.core.models import Score
from themis.views.steps import CaseSteps


def evaluation_execution(
    steps: CaseSteps, metric_id: str, sample: int | None
) -> EvaluationExecution | None:
    """Return a judged metric's calls, verdicts and scores for one subject; None without any.

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
        # Calls of a superseded workflow were not aggregated.
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
    """Return the details of a metric's judge calls that its event, done or failed, holds."""
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
