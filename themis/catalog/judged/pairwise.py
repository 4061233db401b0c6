"""Pairwise judging: which of two answers is better, always asked in both orders.

A judge that prefers a place rather than an answer contradicts itself when the places change. That
is a tie, and the details report the judge's position bias. No pair is decided by one order alone.

Source: Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", section 3.4
(a win only where an answer is preferred in both orders), https://arxiv.org/abs/2306.05685.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Literal

from themis.catalog.component import Count, CountFromZero, Names
from themis.catalog.judged.judge_prompts import pair_prompt
from themis.catalog.judged.round_robin import pairs_of
from themis.catalog.judged.rubrics import JudgedMetric, Rubric
from themis.catalog.judged.scales import Scale
from themis.core.base import JSONValue
from themis.core.contexts import EvalScoreContext
from themis.core.errors import ComponentError, DefinitionError, MissingJudgmentsError
from themis.core.judging import (
    AggregationResult,
    CandidateSetSubject,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import Score
from themis.core.pairs import REFERENCE, Pair, PairOutcome, pair_outcomes

_SCALE = Scale.of({"A": 1.0, "B": 0.0, "tie": 0.5})
Player = int | str
"""Place of a candidate among the case's, or the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseWorkflow:
    """One case's pairs, each put to each judge in both orders."""

    metric_id: str
    rubric: str
    judges: Sequence[str]
    pairs: Sequence[tuple[Player, Player]]
    n_candidates: int
    repeats: int
    min_judges: int | None
    min_judgments: int | None

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return two questions for each pair, judge and repeat."""
        calls = []
        for judge in self.judges:
            for repeat in range(self.repeats):
                for pair in self.pairs:
                    for first, second in (pair, pair[::-1]):
                        name = f"{judge}/{first} or {second}"
                        calls.append(
                            JudgeCall(
                                call_id=name if repeat == 0 else f"{name}#{repeat + 1}",
                                judge=judge,
                                repeat=repeat,
                                details={"first": first, "second": second},
                            )
                        )
        return calls

    def render_prompt(
        self, call: JudgeCall, subject: CandidateSetSubject, ctx: EvalScoreContext
    ) -> RenderedJudgePrompt:
        """Return the prompt with the pair in the call's order."""

        def shown(player: JSONValue) -> JSONValue:
            if isinstance(player, int):
                return subject.candidates[player].final_output
            return ctx.case.expected_output

        players = [call.details["first"], call.details["second"]]
        return pair_prompt(
            rubric=self.rubric,
            scale=_SCALE,
            candidates=[shown(player) for player in players],
            ctx=ctx,
            judge=call.judge,
            with_reference=REFERENCE not in players,
        )

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext
    ) -> ParsedJudgment:
        """Return the verdict; raise ``ParseError`` where the answer is none."""
        del ctx
        verdict = _SCALE.read(response.text)
        return ParsedJudgment(
            call_id=call.call_id,
            judge=call.judge,
            verdict=verdict.value,
            reason=verdict.reason,
            details={**call.details, "repeat": call.repeat},
        )

    def score_judgment(
        self, call: JudgeCall, judgment: ParsedJudgment, ctx: EvalScoreContext
    ) -> Score:
        """Return 1 where the answer shown first is better, 0 where the second is, else 0.5."""
        del call, ctx
        return Score(metric_id=self.metric_id, value=_SCALE.score(judgment.verdict))

    def aggregate(
        self,
        judgments: Sequence[ParsedJudgment],
        scores: Sequence[Score],
        ctx: EvalScoreContext,
    ) -> AggregationResult:
        """Return the win share, with every pair's outcome by judge in the details.

        Raises:
            MissingJudgmentsError: too few judges compared every pair in both orders.
        """
        del scores, ctx
        known = pair_outcomes(judgments)
        outcomes = {
            judge: found
            for judge in self.judges
            if (found := self._outcomes(judge, known)) is not None
        }
        needed = self.min_judges or len(self.judges)
        if len(outcomes) < needed:
            raise MissingJudgmentsError(
                f"{len(outcomes)} of {len(self.judges)} judges compared every pair in both orders, "
                f"{needed} needed"
            )
        pairs = [
            {
                "first": first,
                "second": second,
                "score": fmean(one.score for found in outcomes.values() for one in found[place]),
                "by_judge": {
                    judge: fmean(one.score for one in found[place])
                    for judge, found in outcomes.items()
                },
            }
            for place, (first, second) in enumerate(self.pairs)
        ]
        shares = self._shares(pairs)
        value = shares[0] if REFERENCE not in shares else 1.0 - shares[REFERENCE]
        return AggregationResult(
            value=value,
            details={
                "n_judges": len(outcomes),
                "schedule": self._schedule(),
                "pairs": pairs,
                "shares": {str(player): share for player, share in shares.items()},
                "judges": {judge: self._judge_details(found) for judge, found in outcomes.items()},
                "verdicts": {one.call_id: one.verdict for one in judgments},
                "reasons": {one.call_id: one.reason for one in judgments if one.reason},
            },
        )

    def _outcomes(
        self, judge: str, known: Mapping[Pair, PairOutcome]
    ) -> list[list[PairOutcome]] | None:
        """Return a judge's outcomes by pair, one a repeat; None where one is missing."""
        found = [
            [known.get(Pair(judge, *pair, repeat)) for repeat in range(self.repeats)]
            for pair in self.pairs
        ]
        complete = [[one for one in own if one is not None] for own in found]
        return complete if all(len(own) == self.repeats for own in complete) else None

    def _shares(self, pairs: Sequence[dict[str, Any]]) -> dict[Player, float]:
        """Return each player's mean score over its pairs; a player without pairs is left out."""
        scores: dict[Player, list[float]] = {}
        for pair in pairs:
            scores.setdefault(pair["first"], []).append(pair["score"])
            scores.setdefault(pair["second"], []).append(1.0 - pair["score"])
        return {player: fmean(own) for player, own in scores.items()}

    def _judge_details(self, found: list[list[PairOutcome]]) -> dict[str, Any]:
        """Return what one judge's verdicts say about that judge."""
        every = [one for own in found for one in own]
        details: dict[str, Any] = {
            "pairs": len(every),
            "ties": sum(one.score == 0.5 for one in every),
            "flips": sum(one.is_flip for one in every),
            "picked_first": sum(one.picked_first for one in every),
            "picked_second": sum(one.picked_second for one in every),
        }
        details["position_bias"] = (details["picked_first"] - details["picked_second"]) / (
            2 * len(every)
        )
        if self.repeats > 1:
            same = sum(Counter(one.score for one in own).most_common(1)[0][1] for own in found)
            details["consistency"] = same / len(every)
        return details

    def _schedule(self) -> str:
        if self.pairs[0][1] == REFERENCE:
            return "each candidate against the reference"
        n = self.n_candidates
        total = n * (n - 1) // 2
        if len(self.pairs) == total:
            return "all pairs"
        return f"round-robin: {len(self.pairs)} of {total} pairs"


class PairwiseJudge(JudgedMetric):
    """Has judges say which of two answers is better, in both orders.

    A judge's outcome of a pair is a win only where it prefers the same answer in both orders; a
    flip, and a tie in either order, is a tie. A pair's score is the mean over the judges of 1 for
    a win, 0.5 for a tie and 0 for a loss. The value of a case is the win share of its first
    candidate against the others; with ``against="reference"``, that of its candidates against the
    expected output. The details hold every pair, each candidate's share, and for each judge how
    often it picked the first and the second place.
    """

    component_id = "builtin/pairwise_judge"
    subject: ClassVar[str] = "candidates"
    kind: ClassVar[str] = "value"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    rubric: Rubric
    """What a good answer is, in words."""
    judges: Names | None = None
    """Names of the judges; all of the run's by default."""
    against: Literal["samples", "reference"] = "samples"
    """"samples": the case's samples are compared with each other, of which there must be two;
    "reference": each is compared with the expected output."""
    max_pairs: Count = 28
    """The most pairs of a case: all pairs up to there, else so many of a round-robin."""
    seed: CountFromZero = 0
    """Seed of the round-robin's order."""
    repeats: Count = 1
    """How often each pair is put to each judge, in both orders each time."""
    min_judges: Count | None = None
    """How many judges must have compared every pair; all by default."""

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges.

        Raises:
            DefinitionError: there is none, one that is named is not there, or they are fewer than
                ``min_judges``.
        """
        return self.panel(self.judges, self.min_judges, judge_names)

    def check_samples(self, num_samples: int) -> None:
        """Refuse to compare the samples of a case where it has one only.

        Raises:
            DefinitionError: naming what to do.
        """
        if self.against != REFERENCE and num_samples < 2:
            raise DefinitionError(
                f"{self.component_id} compares a case's samples, and num_samples = {num_samples}: "
                'set candidate_policy={"num_samples": 2} or more, or against="reference"',
                field="num_samples",
                value=num_samples,
            )

    def build_workflow(
        self, subject: CandidateSetSubject, ctx: EvalScoreContext
    ) -> PairwiseWorkflow:
        """Return the workflow: the pairs of the case.

        Raises:
            ComponentError: the case has no expected output to compare with.
        """
        judges = self.judges_needed(ctx.judge_model_refs)
        pairs = self._pairs(len(subject.candidates), ctx)
        n_each = 2 * self.repeats * len(pairs)
        return PairwiseWorkflow(
            metric_id=self.component_id,
            rubric=self.rubric,
            judges=judges,
            pairs=pairs,
            n_candidates=len(subject.candidates),
            repeats=self.repeats,
            min_judges=self.min_judges,
            min_judgments=None if self.min_judges is None else n_each * self.min_judges,
        )

    def _pairs(self, n: int, ctx: EvalScoreContext) -> Sequence[tuple[Player, Player]]:
        if self.against == REFERENCE:
            if ctx.case.expected_output is None:
                raise ComponentError(
                    f"{self.component_id}: the case has no expected output to compare with; "
                    'leave against="reference" out to compare the samples'
                )
            return [(index, REFERENCE) for index in range(n)]
        return pairs_of(n, most=self.max_pairs, draw=[self.seed, ctx.case_id])
