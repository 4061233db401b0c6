"""Candidates and their parsed values, as they pass between a case's stages."""

from __future__ import annotations

from typing import Any, NamedTuple

from themis.core.errors import InvalidResultError
from themis.core.models import (
    ConversationTrace,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    WorkflowTrace,
)
from themis.execution.failures import ExplainedError, as_storable
from themis.planning.compiled_run import BoundComponent

_CONTAINERS = frozenset({dict, list})


class Candidate(NamedTuple):
    """A sample or the reduced candidate, as later stages see it.

    Attributes:
        sample: index of the sample; None for the reduced candidate.
        candidate_id: its id, unique in the case.
        shown: the candidate without evidence (artifacts, usage, latency): keys do not cover these.
        content: digest of output, trace and conversation, and of a refusal that it is one.
        refused: why it is no answer, where the model refused.
    """

    sample: int | None
    candidate_id: str
    shown: GenerationResult | ReducedCandidate
    content: bytes
    refused: str | None = None


class Parsed(NamedTuple):
    """A candidate as a parser read it: a value, or why there is none."""

    output: ParsedOutput | None
    content: bytes
    category: str | None = None
    message: str | None = None
    outage: bool = False
    """Whether the machinery failed, not the model."""


def own_copy(bound: BoundComponent, value: Any) -> Any:
    """Return data as a component is shown it; a user's component gets a copy of its own."""
    return value if bound.code is None else copied(value)


def check_id(candidate_id: str) -> None:
    """Refuse an id that no store can keep.

    Raises:
        InvalidResultError: it holds a lone surrogate.
    """
    if not candidate_id.isascii() and as_storable(candidate_id) != candidate_id:
        raise InvalidResultError(f"candidate_id {candidate_id!a} holds a lone surrogate")


def shown_to(bound: BoundComponent, candidate: Candidate) -> GenerationResult | ReducedCandidate:
    """Return a candidate as a component is shown it; a user's component gets one of its own."""
    shown = candidate.shown
    if bound.code is None or not _is_container(shown.final_output):
        return shown
    return shown.model_copy(update={"final_output": copied(shown.final_output)})


def parsed_for(bound: BoundComponent, output: ParsedOutput) -> ParsedOutput:
    """Return a parsed output as a component is shown it; a user's component gets one of its own."""
    if bound.code is None or not _is_container(output.value):
        return output
    return output.model_copy(update={"value": copied(output.value)})


def _is_container(value: Any) -> bool:
    return type(value) in _CONTAINERS


def copied(value: Any) -> Any:
    """Return a copy of JSON data: its lists and objects are new, all the way down."""
    if type(value) is dict:
        return {
            key: copied(item) if type(item) in _CONTAINERS else item for key, item in value.items()
        }
    if type(value) is list:
        return [copied(item) if type(item) in _CONTAINERS else item for item in value]
    return value


TRAJECTORIES = ("trace", "conversation")
"""The subjects that are trajectories: how the candidate was come to."""


def scores_trajectory(metric: BoundComponent) -> bool:
    """Return whether a metric scores how a candidate was come to."""
    return metric.facts.subject in TRAJECTORIES


def trajectory_of(metric: BoundComponent, candidate: Candidate) -> dict[str, Any]:
    """Return the trace or the conversation of a candidate, for a metric that is about it.

    Returns:
        It, under "trace" or "conversation"; nothing for any other metric.

    Raises:
        ExplainedError: the candidate has none.
    """
    subject = metric.facts.subject
    if subject not in TRAJECTORIES:
        return {}
    shown = candidate.shown
    told: Any = getattr(shown, subject) if isinstance(shown, GenerationResult) else None
    if told is None:
        raise ExplainedError(
            f"the candidate has no {subject}: its generator gave none",
            category=f"no_{subject}",
            outage=False,
        )
    made: WorkflowTrace | ConversationTrace = (
        WorkflowTrace(trace_id=candidate.candidate_id, steps=told)
        if subject == "trace"
        else ConversationTrace(trace_id=candidate.candidate_id, messages=told)
    )
    return {subject: made if metric.code is None else made.model_copy(deep=True)}
