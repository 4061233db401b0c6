"""Scoring: a parsed value against the case, by a metric that needs nobody else."""

from __future__ import annotations

import math
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import ScoreContext
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.models import Score, ScoreError
from themis.core.snapshot import MetricFacts
from themis.execution.failures import ExplainedError
from themis.execution.flight import Candidate, CaseRun, Parsed, own_copy, parsed_for
from themis.execution.stage import take
from themis.execution.stages.parse import as_refusal
from themis.execution.stages.way import conversation_of, is_about_the_way, trace_of
from themis.execution.step import Payload, Step, Taken
from themis.planning.keys import score_key, way_digest
from themis.planning.work import Bound


class ByRule:
    """A score that no metric gave: the engine's own, which user code cannot return by chance."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload


async def score(case: CaseRun, metric: Bound, subject: Candidate, parsed: Parsed) -> Taken:
    """Take the score step of one subject and metric, and return how it ended."""
    engine, facts = case.engine, metric.facts
    if subject.refused is not None and scores_refusals(metric):
        parsed = as_refusal(subject)
    content = parsed.content
    if is_about_the_way(metric):
        content = way_digest(subject.content, content)
    method = engine.method(metric, "score")

    def call() -> Any:
        if parsed.output is None:
            if parsed.outage:
                raise ExplainedError(parsed.message or "", category=parsed.category or "parse")
            return ByRule(by_rule(facts, parsed.category or "parse_failure", parsed.message or ""))
        view = case.view_for(metric)
        context = ScoreContext(
            **case.common(metric),
            case=view,
            parsed_output=parsed.output,
            dataset_metadata=own_copy(metric, case.dataset_metadata),
            candidate_id=CandidateId(subject.candidate_id),
            trace=trace_of(metric, subject),
            conversation=conversation_of(metric, subject),
        )
        return method(parsed_for(metric, parsed.output), view, context)

    return await take(
        case,
        Step(
            address=address_of(Stage.SCORE, subject.sample, metric.name),
            key=score_key(
                metric.digest,
                content,
                case.digests.read_by(metric.reads),
                case.dataset_digest,
            ),
            bound=metric,
            call=call,
            seal=lambda value: seal(value, facts),
            category="scoring",
            candidate_id=subject.candidate_id,
        ),
    )


def scores_refusals(metric: Bound) -> bool:
    """Return whether a metric is given what the model refused.

    It asks for it, or it scores the way there, which is the same whatever came of it.
    """
    return metric.facts.scores_refusals or is_about_the_way(metric)


def by_rule(facts: MetricFacts, category: str, message: str) -> Payload:
    """Return the score of a candidate that is no answer, as the field's conventions have it.

    A binary metric counts it incorrect; a bounded one gives its worst value; where neither is
    possible, or the metric says so, it is an error.
    """
    if facts.unparsed == "error" or facts.value_range is None:
        raise ExplainedError(message, category=category, outage=False)
    worst = facts.value_range[0] if facts.higher_is_better else facts.value_range[1]
    return {
        "value": 0 if facts.kind == "binary" else worst,
        "failure": {"category": category, "message": message},
    }


def seal(value: Any, facts: MetricFacts) -> Payload:
    """Check a metric's answer and return it as it is stored."""
    if isinstance(value, ByRule):
        return value.payload
    if isinstance(value, ScoreError):
        raise ExplainedError(value.reason, category="scoring", outage=value.retryable)
    if not isinstance(value, Score):
        raise InvalidResultError(
            f"score() returned {type(value).__name__}, not a Score or ScoreError"
        )
    number = checked_number(value.value, facts)
    payload: Payload = {"value": number}
    if facts.corpus:
        _check_statistics(value.details.get("statistics"))
    if value.details:
        payload["details"] = value.details
    return payload


def checked_number(value: Any, facts: MetricFacts) -> float | int:
    """Return a score as a number the metric's declarations allow.

    Raises:
        InvalidResultError: it is not finite, not 0 or 1 for a binary metric, or out of range.
    """
    number = int(value) if isinstance(value, bool) else value
    if not math.isfinite(number):
        raise InvalidResultError(f"the score is {value!r}; it must be a finite number")
    if facts.kind == "binary" and number not in (0, 1):
        raise InvalidResultError(f"the score is {value!r}, but a binary metric gives 0 or 1")
    if facts.value_range is not None:
        low, high = facts.value_range
        if not low <= number <= high:
            raise InvalidResultError(
                f"the score is {value!r}, outside the declared range [{low:g}, {high:g}]"
            )
    return int(number) if facts.kind == "binary" else number


def _check_statistics(found: Any) -> None:
    """Refuse a corpus metric's score without the numbers that its aggregate is made of."""
    numbers = found if isinstance(found, list) else []
    if not numbers or any(type(one) not in (int, float) for one in numbers):
        raise InvalidResultError(
            f"details['statistics'] is {found!r}; a metric with aggregate() gives a list of numbers"
        )
    for one in numbers:
        try:
            float(one)
        except OverflowError:
            raise InvalidResultError(
                "details['statistics'] holds an integer that no float can hold"
            ) from None
