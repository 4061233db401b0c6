"""The way to a candidate: its trace or conversation, for metrics that are about that.

A candidate that has none cannot be scored by them. That is a result like any other: no outage, for
trying again would give none either, and no zero, for nothing is known of a way that was not told.
"""

from __future__ import annotations

from themis.core.models import ConversationTrace, GenerationResult, WorkflowTrace
from themis.execution.failures import ExplainedError
from themis.execution.flight import Candidate
from themis.planning.work import Bound

WAYS = ("trace", "conversation")
"""The subjects that are ways."""


def is_about_the_way(metric: Bound) -> bool:
    """Return whether a metric scores the way to a candidate."""
    return metric.facts.subject in WAYS


def trace_of(metric: Bound, candidate: Candidate) -> WorkflowTrace | None:
    """Return the trace of a candidate, for a metric that is about traces; else None.

    Raises:
        ExplainedError: the candidate has none.
    """
    if metric.facts.subject != "trace":
        return None
    shown = candidate.shown
    steps = shown.trace if isinstance(shown, GenerationResult) else None
    if steps is None:
        raise _missing("trace")
    trace = WorkflowTrace(trace_id=candidate.candidate_id, steps=steps)
    return trace if metric.code is None else trace.model_copy(deep=True)


def conversation_of(metric: Bound, candidate: Candidate) -> ConversationTrace | None:
    """Return the conversation of a candidate, for a metric that is about these; else None.

    Raises:
        ExplainedError: the candidate has none.
    """
    if metric.facts.subject != "conversation":
        return None
    shown = candidate.shown
    turns = shown.conversation if isinstance(shown, GenerationResult) else None
    if turns is None:
        raise _missing("conversation")
    told = ConversationTrace(trace_id=candidate.candidate_id, messages=turns)
    return told if metric.code is None else told.model_copy(deep=True)


def _missing(what: str) -> ExplainedError:
    return ExplainedError(
        f"the candidate has no {what}: its generator gave none",
        category=f"no_{what}",
        outage=False,
    )
