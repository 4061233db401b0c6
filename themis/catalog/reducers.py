"""Reducers: one candidate out of several, by a rule that can be stated in one sentence.

They choose among what was generated and never write an answer of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

from themis.catalog.component import ShippedPart, needs_extra
from themis.core.contexts import ReduceContext
from themis.core.hashing import canonical
from themis.core.models import GenerationResult, ReducedCandidate
from themis.core.prompts import as_text


@dataclass
class _Option:
    """One answer that candidates voted for."""

    value: Any
    first: int
    votes: int = 0


class MajorityVote(ShippedPart):
    """Keeps the first sample that gave the most frequent answer (self-consistency).

    Samples vote with their parsed values, where the run has a parser, and else with their final
    outputs; equal as JSON values is equal (4 and 4.0). A sample that could not be parsed does not
    vote. Of answers with equally many votes the one that came first wins. The metadata hold
    ``votes``, ``n_voting``, ``n_unparsed``, ``tie`` and ``kept``.

    Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language
    Models", https://arxiv.org/abs/2203.11171.
    """

    component_id = "builtin/majority_vote"
    reads_parsed: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()

    async def reduce(
        self, candidates: Sequence[GenerationResult], ctx: ReduceContext
    ) -> ReducedCandidate:
        """Return the winning candidate; the first one, where none could vote."""
        names = [str(name) for name in ctx.candidate_ids]
        names = names or [candidate.candidate_id for candidate in candidates]
        options: dict[bytes, _Option] = {}
        n_voting = 0
        for index, (name, candidate) in enumerate(zip(names, candidates, strict=True)):
            ballot = _ballot(name, candidate, ctx)
            if ballot is None:
                continue
            n_voting += 1
            option = options.setdefault(canonical(ballot[0]), _Option(value=ballot[0], first=index))
            option.votes += 1
        ranked = sorted(options.values(), key=lambda option: (-option.votes, option.first))
        kept = ranked[0].first if ranked else 0
        metadata: dict[str, Any] = {
            "votes": [{"value": option.value, "count": option.votes} for option in ranked],
            "n_voting": n_voting,
            "n_unparsed": len(names) - n_voting,
            "tie": len(ranked) > 1 and ranked[0].votes == ranked[1].votes,
            "kept": kept,
        }
        if not ranked:
            metadata["note"] = "no sample could vote; the first is kept"
        return ReducedCandidate(
            candidate_id=f"{ctx.case_id}-majority",
            source_candidate_ids=names,
            final_output=candidates[kept].final_output,
            metadata=metadata,
        )


def _ballot(name: str, candidate: GenerationResult, ctx: ReduceContext) -> tuple[Any] | None:
    """Return what a candidate votes for, in a tuple, or None where it has no vote."""
    if not ctx.parsed:
        return (candidate.final_output,)
    parsed = ctx.parsed.get(name)
    return None if parsed is None or parsed.value is None else (parsed.value,)


class _Chooser(ShippedPart):
    """Base of reducers that keep one of the samples as it is, chosen by the outputs alone."""

    reads: ClassVar[frozenset[str]] = frozenset()

    async def reduce(
        self, candidates: Sequence[GenerationResult], ctx: ReduceContext
    ) -> ReducedCandidate:
        """Return the sample that is kept, its index as ``kept`` in the metadata."""
        names = [str(name) for name in ctx.candidate_ids]
        names = names or [candidate.candidate_id for candidate in candidates]
        outputs = [one.final_output for one in candidates]
        kept, metadata = self._choose(["" if one is None else as_text(one) for one in outputs])
        return ReducedCandidate(
            candidate_id=f"{ctx.case_id}-{self.component_id.rpartition('/')[2]}",
            source_candidate_ids=[names[kept]],
            final_output=candidates[kept].final_output,
            metadata={"kept": kept, **metadata},
        )

    def _choose(self, texts: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return which sample is kept, and the metadata about the choice."""
        raise NotImplementedError


class First(_Chooser):
    """Keeps the first sample: what a run with ``num_samples`` of 1 would have had."""

    component_id = "builtin/first"

    def _choose(self, texts: Sequence[str]) -> tuple[int, dict[str, Any]]:
        del texts
        return 0, {}


class Longest(_Chooser):
    """Keeps the longest sample, in code points; of equally long ones the first.

    An output that is no text counts as its JSON text, and no output as an empty text. The metadata
    hold ``length`` and ``tie``.
    """

    component_id = "builtin/longest"

    def _choose(self, texts: Sequence[str]) -> tuple[int, dict[str, Any]]:
        lengths = [len(text) for text in texts]
        most = max(lengths)
        return lengths.index(most), {"length": most, "tie": lengths.count(most) > 1}


class Medoid(_Chooser):
    """Keeps the sample whose summed distance to the others is least; of several the first.

    It takes the place of a vote where no two answers are equal: each sample is judged by all
    others. The metadata hold ``distance``, the mean to the others, and ``tie``. An output
    that is no text counts as its JSON text, and no output as an empty text.

    Source: Kaufman and Rousseeuw, "Clustering by means of medoids", 1987; as minimum Bayes risk
    decoding over samples Eikema and Aziz 2020, https://arxiv.org/abs/2005.10283.
    """

    component_id = "builtin/medoid"

    distance: Literal["tokens", "levenshtein"] = "tokens"
    """"tokens": 1 - F1 of the tokens between white space that two outputs share, as often as both
    have them (1 less the Sørensen-Dice coefficient of multisets; 0 between two without tokens).
    "levenshtein": edits over the longer length, of code points, by RapidFuzz (extra ``text``)."""

    def model_post_init(self, context: object, /) -> None:
        """Check that what the distance needs is installed."""
        del context
        if self.distance == "levenshtein":
            needs_extra("rapidfuzz", extra="text", needed_for='builtin/medoid, "levenshtein"')

    def _choose(self, texts: Sequence[str]) -> tuple[int, dict[str, Any]]:
        between = self._between()
        sums = [0.0] * len(texts)
        for place, text in enumerate(texts):
            for other in range(place + 1, len(texts)):
                apart = between(text, texts[other])
                sums[place] += apart
                sums[other] += apart
        least = min(sums)
        mean = least / (len(texts) - 1) if len(texts) > 1 else 0.0
        return sums.index(least), {"distance": mean, "tie": sums.count(least) > 1}

    def _between(self) -> Callable[[str, str], float]:
        if self.distance == "tokens":
            return token_distance
        found: Callable[[str, str], float] = import_module(
            "rapidfuzz.distance"
        ).Levenshtein.normalized_distance
        return found


def token_distance(one: str, other: str) -> float:
    """Return 1 less the Sørensen-Dice coefficient of two texts' multisets of tokens, 0 to 1."""
    tokens, others = Counter(one.split()), Counter(other.split())
    size = tokens.total() + others.total()
    return 1.0 - 2.0 * (tokens & others).total() / size if size else 0.0
