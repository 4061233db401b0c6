"""Rubrics put to a judge about the trajectory that led to an answer: its trace or conversation.

They ask what ``builtin/llm_rubric`` asks, with its parameters and its verdicts. What the judge is
shown is the trajectory, step by step, in place of the answer.
"""

from __future__ import annotations

from themis.catalog.judged.rubrics import LLMRubric
from themis.catalog.tool_calls import has_failed
from themis.core.base import JSONValue
from themis.core.judging import ConversationSubject, TraceSubject
from themis.core.models import TraceStep
from themis.core.prompts import as_text


def trace_as_text(subject: TraceSubject) -> str:
    """Return the steps of a trace as a judge is shown them."""
    steps = enumerate(subject.trace.steps, start=1)
    return "\n\n".join(_step_as_text(number, step) for number, step in steps) or "(no steps)"


def conversation_as_text(subject: ConversationSubject) -> str:
    """Return the messages of a conversation as a judge is shown them."""
    turns = subject.conversation.messages
    text = "\n\n".join(f"{turn.role}:\n{as_text(turn.content)}" for turn in turns)
    return text or "(no messages)"


class TraceRubric(LLMRubric):
    """Has one judge say whether, or how well, the steps to an answer meet a rubric."""

    component_id = "builtin/trace_rubric"
    subject = "trace"

    def _shown(self, subject: TraceSubject) -> str:
        return trace_as_text(subject)


class ConversationRubric(LLMRubric):
    """Has one judge say whether, or how well, a conversation meets a rubric.

    Parameters are those of ``builtin/llm_rubric``.
    """

    component_id = "builtin/conversation_rubric"
    subject = "conversation"

    def _shown(self, subject: ConversationSubject) -> str:
        return conversation_as_text(subject)


def _step_as_text(number: int, step: TraceStep) -> str:
    lines = [f"Step {number}: {step.step_type} {step.step_name}"]
    parts: list[tuple[str, JSONValue]] = [("input", step.input), ("output", step.output)]
    lines += [f"{name}: {as_text(value)}" for name, value in parts if value not in ({}, None)]
    if has_failed(step):
        error = step.metadata.get("error")
        lines.append(f"it failed: {as_text(error)}" if error not in (None, True) else "it failed")
    return "\n".join(lines)
