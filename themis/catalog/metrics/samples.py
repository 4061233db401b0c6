"""Metrics of a case's samples together: they fold the scores that another metric gave the samples.

They score no answer themselves. What the folded metric counts as wrong is wrong here, and where it
could not score a sample the case is an error: n samples of which one is missing are not n - 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from themis.catalog.component import Count, MustBe, ShippedPart
from themis.catalog.metrics.at_k import best_at_k, majority_at_k, pass_at_k
from themis.core.contexts import SetScoreContext
from themis.core.hashing import canonical
from themis.core.models import Case, SampleScore, Score

MetricName = Annotated[str, MustBe("the name of the metric whose scores it folds", str.strip)]


class _SetMetric(ShippedPart):
    """Base: the metric whose scores are folded."""

    kind: ClassVar[str] = "value"
    reads: ClassVar[frozenset[str]] = frozenset()

    of: MetricName
    """The metric whose scores are folded."""

    def _score(self, value: float, **details: Any) -> Score:
        return Score(metric_id=self.component_id, value=value, details=details)


class _AtK(_SetMetric):
    """Base: what k of the n samples would give, on average over all sets of k samples."""

    k: Count
    """Samples in a set, at most ``num_samples``."""


class PassAtK(_AtK):
    """The chance that at least one of k samples is correct: 1 - C(n - c, k) / C(n, k).

    A sample is correct where the binary metric ``of`` gave it 1.

    Source: Chen et al. 2021, https://arxiv.org/abs/2107.03374 (``themis.catalog.metrics.at_k``).
    """

    component_id = "builtin/pass_at_k"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[None] = None
    of_kind: ClassVar[str] = "binary"

    def score_set(self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        """Return the estimate, with n and c in its details."""
        del case, ctx
        correct = sum(one.value == 1.0 for one in scores)
        value = pass_at_k(len(scores), correct, self.k)
        return self._score(value, n=len(scores), c=correct)


class BestAtK(_AtK):
    """The mean of the best of k samples' scores; the least is the best of what counts errors.

    Source: order statistics (``themis.catalog.metrics.at_k.best_at_k``).
    """

    component_id = "builtin/best_at_k"

    def score_set(self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        """Return the mean of the best."""
        del case
        values = [one.value for one in scores]
        value = best_at_k(values, self.k, higher_is_better=ctx.higher_is_better)
        return self._score(value, n=len(scores))


class MeanAtK(_AtK):
    """The mean of k samples' scores.

    On average over all sets of k that is the mean of all n, whatever k is: ``k`` says what the
    figure is compared with, and that there must be as many samples.

    Source: the expectation of a sample mean; "avg@k" in reports on reasoning models.
    """

    component_id = "builtin/mean_at_k"

    def score_set(self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        """Return the mean."""
        del case, ctx
        # Sets of one: each sample is the best of its own, so that all is rounded once.
        return self._score(best_at_k([one.value for one in scores], 1), n=len(scores))


class MajorityAtK(_AtK):
    """The score of the answer that most of k samples give (self-consistency), on average.

    Samples vote with what the folded metric scored: their parsed values, or else their outputs;
    values that are equal as JSON are equal. A sample that could not be parsed has no vote. Answers
    with equally many votes share a set equally, which is what "the first wins" comes to over all
    orders. Where the sets are too many to be counted, some are drawn at random, and the details
    hold their number and the standard error.

    Source: Wang et al. 2022, https://arxiv.org/abs/2203.11171
    (``themis.catalog.metrics.at_k.majority_at_k``).
    """

    component_id = "builtin/maj_at_k"
    reads_parsed: ClassVar[bool] = True

    def score_set(self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        """Return the mean score of the majority answer."""
        del case
        values = [one.value for one in scores]
        answers = _answers(scores)
        vote = majority_at_k(answers, values, self.k, seed=ctx.seed or 0)
        drawn = {} if vote.draws is None else {"draws": vote.draws, "stderr": vote.standard_error}
        return self._score(vote.value, n=len(scores), n_voting=_voting(answers), **drawn)


class Consistency(_SetMetric):
    """The share of samples that give the most frequent answer.

    Answers are compared as ``builtin/maj_at_k`` compares them. A sample that could not be parsed
    agrees with none: it counts among the samples and in no share. 0 where no sample has an answer.

    Source: Wang et al. 2022, https://arxiv.org/abs/2203.11171, section 3.4, who find it to go with
    accuracy.
    """

    component_id = "builtin/consistency"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[None] = None
    reads_parsed: ClassVar[bool] = True

    def score_set(self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        """Return the share, with the answers' number in the details."""
        del case, ctx
        answers = _answers(scores)
        counts = Counter(answer for answer in answers if answer is not None)
        most = max(counts.values(), default=0)
        return self._score(
            most / len(scores),
            n=len(scores),
            n_voting=_voting(answers),
            n_answers=len(counts),
        )


def _answers(scores: Sequence[SampleScore]) -> list[bytes | None]:
    """Return each sample's answer so that equal ones are equal; None where it has none."""
    return [None if one.parsed is None else canonical(one.parsed.value) for one in scores]


def _voting(answers: Sequence[bytes | None]) -> int:
    return sum(answer is not None for answer in answers)
