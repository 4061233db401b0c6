"""The workflow of the rubric metrics: each criterion is put to each judge; verdicts make a score.

Each criterion is a question of its own. So one verdict does not colour the next; when a criterion
is added, only the new one is asked; and when a weight changes, no judge is asked again. A judge
that gives no verdict is left out where that is allowed, and never counted as a zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from themis.catalog.judged.judge_prompts import Quote, fenced, judge_prompt
from themis.catalog.judged.scales import Scale
from themis.core.base import JSONValue
from themis.core.contexts import EvalScoreContext
from themis.core.errors import MissingJudgmentsError
from themis.core.judging import (
    AggregationResult,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Score

CRITERION = "criterion"
"""Where a call's details name its criterion."""


class Criterion(NamedTuple):
    """One thing that is asked about an answer."""

    name: str | None
    """None for the one rubric of a metric without criteria."""
    rubric: str
    weight: float = 1.0


class Folded(NamedTuple):
    """What the judgments of one criterion come to."""

    value: float
    details: dict[str, Any]


Fold = Callable[[Scale, Mapping[str, Sequence[ParsedJudgment]]], Folded]
"""Makes one value of the judgments of a criterion, given by judge."""


def rubric_calls(
    judges: Sequence[str], criteria: Sequence[Criterion], repeats: int
) -> list[JudgeCall]:
    """Return the questions: each criterion, to each judge, as often as is asked for."""
    calls = []
    for judge in judges:
        for repeat in range(repeats):
            for criterion in criteria:
                name = judge if criterion.name is None else f"{judge}/{criterion.name}"
                calls.append(
                    JudgeCall(
                        call_id=name if repeat == 0 else f"{name}#{repeat + 1}",
                        judge=judge,
                        repeat=repeat,
                        details={} if criterion.name is None else {CRITERION: criterion.name},
                    )
                )
    return calls


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricWorkflow:
    """One candidate, one or several criteria, any number of judges."""

    metric_id: str
    criteria: Sequence[Criterion]
    scale: Scale
    calls: Sequence[JudgeCall]
    fold: Fold
    min_judgments: int | None
    """How many judgments suffice for each criterion; None for all."""
    count_judges: bool
    """Whether ``min_judgments`` counts judges: the repeats of one judge count once."""
    shown: Callable[[Any], JSONValue]
    """Returns what of a subject the judges are shown: the answer, or its trajectory as a text."""
    quote: Quote = fenced

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return the questions."""
        return self.calls

    def render_prompt(
        self, call: JudgeCall, subject: Any, ctx: EvalScoreContext
    ) -> RenderedJudgePrompt:
        """Return the prompt, the same for every judge that answers in the same form."""
        name = call.details.get(CRITERION)
        (rubric,) = (one.rubric for one in self.criteria if one.name == name)
        return judge_prompt(
            rubric=rubric,
            scale=self.scale,
            candidate=self.shown(subject),
            ctx=ctx,
            judge=call.judge,
            quote=self.quote,
        )

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext
    ) -> ParsedJudgment:
        """Return the verdict; raise ``ParseError`` where the answer is none."""
        del ctx
        verdict = self.scale.read(response.text)
        return ParsedJudgment(
            call_id=call.call_id,
            judge=call.judge,
            verdict=verdict.value,
            reason=verdict.reason,
            details=call.details,
        )

    def score_judgment(
        self, call: JudgeCall, judgment: ParsedJudgment, ctx: EvalScoreContext
    ) -> Score:
        """Return what the verdict is worth."""
        del call, ctx
        return Score(metric_id=self.metric_id, value=self.scale.score(judgment.verdict))

    def aggregate(
        self,
        judgments: Sequence[ParsedJudgment],
        scores: Sequence[Score],
        ctx: EvalScoreContext,
    ) -> AggregationResult:
        """Return the weighted mean over the criteria, with each verdict and reason in the details.

        Raises:
            MissingJudgmentsError: a criterion has too few judgments.
        """
        del scores, ctx
        found = [(one, self._fold_criterion(one, judgments)) for one in self.criteria]
        total = sum(criterion.weight for criterion, _ in found)
        value = sum(criterion.weight * folded.value for criterion, folded in found) / total
        details: dict[str, Any] = {
            "n_judges": len({judgment.judge for judgment in judgments}),
            "verdicts": {one.call_id: one.verdict for one in judgments},
            "reasons": {one.call_id: one.reason for one in judgments if one.reason},
        }
        if self.criteria[0].name is None:
            details.update(found[0][1].details)
        else:
            details["criteria"] = {
                str(one.name): {"value": folded.value, "weight": one.weight, **folded.details}
                for one, folded in found
            }
        if any(call.repeat for call in self.calls):
            details["consistency"] = self_consistency(judgments)
        return AggregationResult(value=value, details=details)

    def _fold_criterion(self, criterion: Criterion, judgments: Sequence[ParsedJudgment]) -> Folded:
        by_judge: dict[str, list[ParsedJudgment]] = {}
        for one in judgments:
            if one.details.get(CRITERION) == criterion.name:
                by_judge.setdefault(one.judge, []).append(one)
        heard = len(by_judge) if self.count_judges else sum(map(len, by_judge.values()))
        if heard < (self.min_judgments or 1):
            what = "judges" if self.count_judges else "judgments"
            which = "" if criterion.name is None else f" of the criterion '{criterion.name}'"
            raise MissingJudgmentsError(f"{heard} {what}{which}, {self.min_judgments or 1} needed")
        return self.fold(self.scale, by_judge)


def mean_verdict(scale: Scale, by_judge: Mapping[str, Sequence[ParsedJudgment]]) -> Folded:
    """Return the mean over the judges of the mean of what each one's verdicts are worth."""
    each = [
        sum(scale.score(one.verdict) for one in judgments) / len(judgments)
        for judgments in by_judge.values()
    ]
    return Folded(sum(each) / len(each), {})


def majority_verdict(scale: Scale, by_judge: Mapping[str, Sequence[ParsedJudgment]]) -> Folded:
    """Return what the verdict with the most votes is worth.

    Each judge has one vote: its own most frequent verdict, shared out evenly where several are. Of
    verdicts with equally many votes the one that is worth least counts, since no majority gave a
    better one; the details name them all.
    """
    votes: dict[Any, Fraction] = {}
    for judgments in by_judge.values():
        own = most_frequent(one.verdict for one in judgments)
        for verdict in own:
            votes[verdict] = votes.get(verdict, Fraction()) + Fraction(1, len(own))
    most = max(votes.values())
    tied = sorted((one for one in votes if votes[one] == most), key=scale.score)
    details: dict[str, Any] = {
        "label": tied[0],
        "votes": {
            str(verdict): float(share)
            for verdict, share in sorted(votes.items(), key=lambda item: -item[1])
        },
    }
    if len(tied) > 1:
        details["tied"] = tied
    return Folded(scale.score(tied[0]), details)


def most_frequent(verdicts: Iterable[Any]) -> list[Any]:
    """Return the verdict that is there most often, or all that are."""
    counts = Counter(verdicts)
    most = max(counts.values())
    return [verdict for verdict, count in counts.items() if count == most]


def self_consistency(judgments: Sequence[ParsedJudgment]) -> dict[str, float]:
    """Return, by judge, the share of its judgments that are its most frequent on their criterion.

    1 is a judge that repeats itself; with two labels, chance alone gives a half or more.
    """
    given: dict[str, dict[Any, list[Any]]] = {}
    for one in judgments:
        own = given.setdefault(one.judge, {})
        own.setdefault(one.details.get(CRITERION), []).append(one.verdict)
    return {
        judge: sum(Counter(verdicts).most_common(1)[0][1] for verdicts in own.values())
        / sum(map(len, own.values()))
        for judge, own in given.items()
    }
