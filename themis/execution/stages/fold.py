"""Folding: one score of a case made of those that a metric gave its samples.

It is a pure step over the samples' own score steps. A sample without a score is never left out:
then there is no score of the set either, for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from themis.core.contexts import SetScoreContext
from themis.core.events import Stage, StepAddress
from themis.core.models import SampleScore
from themis.execution.failures import ExplainedError
from themis.execution.flight import CaseRun, Parsed, own_copy, parsed_for
from themis.execution.stage import take
from themis.execution.stages.score import seal
from themis.execution.step import Step, Taken
from themis.planning.keys import NOTHING, failure_digest, scored_digest, set_score_key
from themis.planning.work import Bound


class Scored(NamedTuple):
    """One sample as a metric scored it."""

    sample: int
    parsed: Parsed
    taken: Taken

    @property
    def category(self) -> str | None:
        """The model's failure for which the value was given by rule."""
        failure = self.taken.payload.get("failure")
        return None if failure is None else str(failure["category"])

    @property
    def content(self) -> bytes:
        """Digest of the score, or of why there is none."""
        failure, payload = self.taken.failure, self.taken.payload
        if failure is not None:
            return failure_digest(failure.category, failure.message)
        return scored_digest(payload["value"], payload.get("details"), self.category)


async def fold(case: CaseRun, metric: Bound, scored: Sequence[Scored]) -> None:
    """Take the score step of a candidate-set metric.

    Args:
        case: the case.
        metric: the set metric.
        scored: every sample of the case, in order, as the metric scored it that is folded.
    """
    facts = metric.facts
    reads_parsed = bool(getattr(metric.component, "reads_parsed", False))
    method = case.engine.method(metric, "score_set")

    def call() -> Any:
        _check_whole(scored)
        view = case.view_for(metric)
        context = SetScoreContext(
            **case.common(metric),
            case=view,
            dataset_metadata=own_copy(metric, case.dataset_metadata),
            higher_is_better=facts.higher_is_better,
        )
        shown = [_shown(metric, one, reads_parsed=reads_parsed) for one in scored]
        return method(shown, view, context)

    await take(
        case,
        Step(
            address=StepAddress(Stage.SCORE, None, metric.name),
            key=set_score_key(
                metric.digest,
                [one.content for one in scored],
                [one.parsed.content if reads_parsed else NOTHING for one in scored],
                case.digests.read_by(metric.reads),
                case.dataset_digest,
            ),
            bound=metric,
            call=call,
            seal=lambda value: seal(value, facts),
            category="scoring",
        ),
    )


def _check_whole(scored: Sequence[Scored]) -> None:
    """Refuse a set of which a sample has no score; an outage, which may heal, is told first."""
    without = [one for one in scored if one.taken.failure is not None]
    for one in sorted(without, key=lambda one: one.taken.settled):
        assert one.taken.failure is not None
        raise ExplainedError(
            f"sample {one.sample} has no score: {one.taken.failure.message}",
            category=one.taken.failure.category,
            outage=not one.taken.settled,
        )


def _shown(metric: Bound, one: Scored, *, reads_parsed: bool) -> SampleScore:
    """Return a sample's score as a set metric is shown it."""
    payload, output = one.taken.payload, one.parsed.output
    return SampleScore(
        sample=one.sample,
        value=float(payload["value"]),
        details=own_copy(metric, payload.get("details") or {}),
        failure=one.category,
        parsed=parsed_for(metric, output) if reads_parsed and output is not None else None,
    )
