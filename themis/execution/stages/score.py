"""Scoring: a parsed value against the case, by a metric that needs nobody else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import ScoreContext
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.models import Case, ParsedOutput, Score, ScoreError
from themis.core.snapshot import MetricFacts
from themis.execution.candidates import (
    Candidate,
    Parsed,
    own_copy,
    parsed_for,
    scores_trajectory,
    trajectory_of,
)
from themis.execution.case_run import CaseRun
from themis.execution.failures import ExplainedError
from themis.execution.stages.parse import as_empty_text, as_refusal
from themis.execution.step import Payload, Step
from themis.execution.undecided import UNDECIDED, Undecided, decide, plainest
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import score_key, trajectory_digest


class FallbackScore:
    """A score that no metric gave: the engine's own, which user code cannot return by chance."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload


class ScoringStep(Step):
    """A step that gives a score."""

    category = "scoring"

    def to_payload(self, value: Any) -> Payload:
        """Check the metric's answer, and return it as it is stored."""
        if isinstance(value, FallbackScore):
            return value.payload
        if isinstance(value, ScoreError):
            raise ExplainedError(value.reason, category="scoring", outage=value.retryable)
        if not isinstance(value, Score):
            raise InvalidResultError(
                f"score() returned {type(value).__name__}, not a Score or ScoreError"
            )
        payload: Payload = {"value": checked_number(value.value, self.bound.facts)}
        if self.bound.facts.corpus:
            _check_statistics(value.details.get("statistics"))
        if value.details:
            payload["details"] = value.details
        return payload


class ScoreStep(ScoringStep):
    """The step of one subject and one metric.

    Args:
        case: the case.
        metric: the metric.
        subject: the sample or the reduced candidate that is scored.
        parsed: it, as the metric's parser read it.
    """

    def __init__(
        self, case: CaseRun, metric: BoundComponent, subject: Candidate, parsed: Parsed
    ) -> None:
        if subject.refused is not None and scores_refusals(metric):
            parsed = as_refusal(subject)
        elif _is_empty(subject, parsed) and metric.capabilities.scores_empty:
            parsed = as_empty_text()
        content = parsed.content
        self._is_of_trajectory = scores_trajectory(metric)
        if self._is_of_trajectory:
            content = trajectory_digest(subject.content, content)
        read = case.digests.read_by(metric.reads)
        super().__init__(
            case,
            address_of(Stage.SCORE, subject.sample, metric.name),
            score_key(metric.digest, content, read, case.dataset_digest),
            metric,
            subject.candidate_id,
        )
        self.subject = subject
        self.parsed = parsed

    def call(self) -> Any:
        """Call the metric; what could not be read is scored by rule."""
        case, metric, parsed = self.case, self.bound, self.parsed
        if parsed.output is None:
            if parsed.outage:
                raise ExplainedError(parsed.message or "", category=parsed.category or "parse")
            category, message = parsed.category or "parse_failure", parsed.message or ""
            return FallbackScore(fallback_score(metric.facts, category, message))
        view = case.view_for(metric)
        context = ScoreContext(
            **case.common(metric),
            case=view,
            parsed_output=parsed.output,
            dataset_metadata=own_copy(metric, case.dataset_metadata),
            candidate_id=CandidateId(self.subject.candidate_id),
            **(trajectory_of(metric, self.subject) if self._is_of_trajectory else {}),
        )
        output = parsed.output
        return decide(
            case.session.method(metric, "score", answer=output.value),
            (parsed_for(metric, output), view, context),
            lambda: _of_plainest(output, view, context),
        )

    def to_payload(self, value: Any) -> Payload:
        """Check the metric's answer; of a 0 that its kinds of answer and gold explain, tell why."""
        if isinstance(value, Undecided):
            self.case.session.undecided[self.bound.name] += 1
            return fallback_score(self.bound.facts, UNDECIDED, value.message)
        payload = super().to_payload(value)
        output, explain = self.parsed.output, self.bound.capabilities.why_unequal
        if explain is None or output is None or payload["value"] != 0:
            return payload
        if not self.bound.capabilities.is_long(output.value):
            case, answer = self.case.view_for(self.bound), output.value
            if (why := explain(answer, case.expected_output)) is not None:
                self.case.session.count_unequal(
                    self.bound.name, why, case.case_id, answer, case.expected_output
                )
        return payload


def _of_plainest(
    output: ParsedOutput, view: Case, context: ScoreContext
) -> tuple[ParsedOutput, Case, ScoreContext]:
    """Return what a metric is given of the plainest answer: no steps or messages either."""
    plain = output.model_copy(update={"value": plainest(output.value)})
    shown: dict[str, Any] = {"parsed_output": plain}
    if context.trace is not None:
        shown["trace"] = context.trace.model_copy(update={"steps": []})
    if context.conversation is not None:
        shown["conversation"] = context.conversation.model_copy(update={"messages": []})
    return plain, view, replace(context, **shown)


def _is_empty(subject: Candidate, parsed: Parsed) -> bool:
    """Return whether a parser read nothing because there was nothing."""
    if parsed.output is not None or parsed.outage or subject.refused is not None:
        return False
    output = subject.shown.final_output
    return output is None or (isinstance(output, str) and not output.strip())


def scores_refusals(metric: BoundComponent) -> bool:
    """Return whether a metric is given what the model refused.

    It asks for it, or it scores the way there, which is the same whatever came of it.
    """
    return metric.facts.scores_refusals or scores_trajectory(metric)


def fallback_score(facts: MetricFacts, category: str, message: str) -> Payload:
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
