"""Reducers: one candidate out of several, by a rule that can be stated in one sentence.

They choose among what was generated and never write an answer of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from themis.catalog.shipped import ShippedComponent
from themis.core.contexts import ReduceContext
from themis.core.hashing import canonical
from themis.core.models import GenerationResult, ReducedCandidate


@dataclass
class _Option:
    """One answer that candidates voted for."""

    value: Any
    first: int
    votes: int = 0


class MajorityVote(ShippedComponent):
    """Keeps the first sample that gave the most frequent answer (self-consistency).

    Samples vote with their parsed values, where the run has a parser, and else with their final
    outputs; equal as JSON values is equal (4 and 4.0). A sample that could not be parsed does not
    vote. Between answers with as many votes the one that came first wins. The metadata tell
    ``votes``, ``n_voting``, ``n_unparsed``, ``tie`` and ``kept``.

    Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language
    Models", https://arxiv.org/abs/2203.11171.
    """

    component_id = "builtin/majority_vote"
    reads_parsed = True
    reads: frozenset[str] = frozenset()

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
