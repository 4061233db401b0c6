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
from themis.execution.candidates import Parsed, own_copy, parsed_for
from themis.execution.case_run import CaseRun
from themis.execution.failures import ExplainedError
from themis.execution.stages.score import ScoringStep
from themis.execution.step import StepResult
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import NOTHING, failure_digest, scored_digest, set_score_key


class ScoredSample(NamedTuple):
    """One sample as a metric scored it."""

    sample: int
    parsed: Parsed
    result: StepResult

    @property
    def category(self) -> str | None:
        """The model's failure for which the value was given by rule."""
        failure = self.result.payload.get("failure")
        return None if failure is None else str(failure["category"])

    @property
    def content(self) -> bytes:
        """Digest of the score, or of why there is none."""
        failure, payload = self.result.failure, self.result.payload
        if failure is not None:
            return failure_digest(failure.category, failure.message)
        return scored_digest(payload["value"], payload.get("details"), self.category)


class SetScoreStep(ScoringStep):
    """The step of a metric that folds the scores of a case's samples.

    Args:
        case: the case.
        metric: the set metric.
        scored: every sample of the case, in order, as the metric scored it that is folded.
    """

    def __init__(
        self, case: CaseRun, metric: BoundComponent, scored: Sequence[ScoredSample]
    ) -> None:
        self._scored = scored
        self._reads_parsed = metric.capabilities.reads_parsed
        key = set_score_key(
            metric.digest,
            [one.content for one in scored],
            [one.parsed.content if self._reads_parsed else NOTHING for one in scored],
            case.digests.read_by(metric.reads),
            case.dataset_digest,
        )
        super().__init__(case, StepAddress(Stage.SCORE, None, metric.name), key, metric)

    def call(self) -> Any:
        """Call the metric; a set of which a sample has no score is none."""
        case, metric = self.case, self.bound
        _check_whole(self._scored)
        view = case.view_for(metric)
        context = SetScoreContext(
            **case.common(metric),
            case=view,
            dataset_metadata=own_copy(metric, case.dataset_metadata),
            higher_is_better=metric.facts.higher_is_better,
        )
        shown = [_shown(metric, one, reads_parsed=self._reads_parsed) for one in self._scored]
        return case.session.method(metric, "score_set")(shown, view, context)


def _check_whole(scored: Sequence[ScoredSample]) -> None:
    """Refuse a set of which a sample has no score; an outage, which may heal, is told first."""
    without = [one for one in scored if one.result.failure is not None]
    for one in sorted(without, key=lambda one: one.result.settled):
        assert one.result.failure is not None
        raise ExplainedError(
            f"sample {one.sample} has no score: {one.result.failure.message}",
            category=one.result.failure.category,
            outage=not one.result.settled,
        )


def _shown(metric: BoundComponent, one: ScoredSample, *, reads_parsed: bool) -> SampleScore:
    """Return a sample's score as a set metric is shown it."""
    payload, output = one.result.payload, one.parsed.output
    return SampleScore(
        sample=one.sample,
        value=float(payload["value"]),
        details=own_copy(metric, payload.get("details") or {}),
        failure=one.category,
        parsed=parsed_for(metric, output) if reads_parsed and output is not None else None,
    )
