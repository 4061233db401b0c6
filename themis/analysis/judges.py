"""The judges of a metric: their agreement, consistency and position bias.

Agreement among judges does not prove that they are right. But without agreement, a mean over judges
mixes answers to different questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from themis.analysis.agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from themis.analysis.ratings import Comparison
from themis.views.judge_tallies import JudgedTally, JudgeTally
from themis.views.judged_verdicts import JudgedPair, Told

_Counted = tuple[dict[str, Told], int]
"""Each judge's first verdict on a unit, and the number of units with these verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """How the order of a pair influences a judge."""

    pairs: int
    """Number of pairs compared in both orders."""
    ties: int
    flips: int
    """Ties in which the judge preferred another answer when the order changed."""
    bias: float
    """Share of verdicts for the answer shown first, minus the share for the second: 1 if the judge
    always prefers the first, 0 if the order has no influence, -1 if it always prefers the
    second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFacts:
    """One judge's figures over a run."""

    judge: str
    n_calls: int
    n_failures: int
    """Calls without a verdict: outages, and answers without a readable verdict."""
    failures: dict[str, int] = field(default_factory=dict)
    """Calls without a verdict, by category."""
    consistency: float | None = None
    """Over the units that the judge judged more than once: the share of its verdicts that equal its
    most frequent one on the unit. None without such units."""
    position: PositionFacts | None = None
    """Position bias, for a judge of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairKappa:
    """The agreement of two judges."""

    judges: tuple[str, str]
    n_units: int
    """Units that both judged."""
    agreement: float | None
    """Share of these on which they give the same verdict."""
    kappa: float | None
    """Cohen's κ; None if both judges always give the same one verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelAgreement:
    """A judged metric's judges over a run, by each judge's first verdict on each unit."""

    metric_id: str
    judges: list[JudgeFacts]
    n_units: int
    """Candidates, criteria of candidates, or pairs that have a verdict."""
    n_shared: int
    """Units that two judges or more gave a verdict on."""
    level: Level
    """Level of α: "interval" for numbers, "nominal" for labels."""
    alpha: float | None
    """Krippendorff's α over the shared units."""
    n_complete: int
    """Units that every judge gave a verdict on."""
    fleiss: float | None
    """Fleiss' κ over the complete units, numbers taken as labels."""
    pairs: list[PairKappa]


def panel_agreement(tally: JudgedTally) -> PanelAgreement | None:
    """Return the agreement and figures of a metric's judges; None without ``tally.patterns``.

    Args:
        tally: the counts of the metric.
    """
    if tally.patterns is None:
        return None
    judges = [judge_facts(one) for one in tally.judges]
    shared = [(one.verdicts, one.units) for one in tally.patterns]
    complete = [(verdicts, units) for verdicts, units in shared if len(verdicts) == len(judges)]
    level = _level([verdicts for verdicts, _ in shared])
    return PanelAgreement(
        metric_id=tally.metric_id,
        judges=judges,
        n_units=tally.n_units,
        n_shared=_units(shared),
        level=level,
        alpha=krippendorff_alpha(
            [list(verdicts.values()) for verdicts, _ in shared],
            level=level,
            times=[units for _, units in shared],
        ),
        n_complete=_units(complete),
        fleiss=fleiss_kappa(
            [Counter(verdicts.values()) for verdicts, _ in complete],
            times=[units for _, units in complete],
        ),
        pairs=[_kappa(pair, shared) for pair in combinations([one.judge for one in judges], 2)],
    )


def judge_facts(tally: JudgeTally) -> JudgeFacts:
    """Return a judge's figures from its counts."""
    position = None
    if tally.pairs:
        position = PositionFacts(
            pairs=tally.pairs,
            ties=tally.ties,
            flips=tally.flips,
            bias=(tally.picked_first - tally.picked_second) / (2 * tally.pairs),
        )
    return JudgeFacts(
        judge=tally.judge,
        n_calls=tally.calls,
        n_failures=sum(tally.failures.values()),
        failures=tally.failures,
        consistency=tally.alike / tally.repeated if tally.repeated else None,
        position=position,
    )


def comparisons(pairs: Sequence[JudgedPair]) -> list[Comparison]:
    """Return a metric's comparisons, one for each pair, judge and repeat, for ``bradley_terry``.

    Players are the samples 0, 1, ... and "reference". Comparisons of one case are a cluster.
    """
    return [
        Comparison(one.pair.first, one.pair.second, one.outcome.score, one.case_index)
        for one in pairs
    ]


def _level(units: Sequence[dict[str, Any]]) -> Level:
    numbers = bool(units) and all(
        isinstance(verdict, (int, float)) and not isinstance(verdict, bool)
        for unit in units
        for verdict in unit.values()
    )
    return "interval" if numbers else "nominal"


def _kappa(pair: tuple[str, str], shared: Sequence[_Counted]) -> PairKappa:
    one, other = pair
    both = [(said, units) for said, units in shared if one in said and other in said]
    n_units = _units(both)
    same = sum(units for said, units in both if said[one] == said[other])
    return PairKappa(
        judges=pair,
        n_units=n_units,
        agreement=same / n_units if both else None,
        kappa=cohen_kappa(
            [said[one] for said, _ in both],
            [said[other] for said, _ in both],
            times=[units for _, units in both],
        ),
    )


def _units(counted: Sequence[_Counted]) -> int:
    return sum(units for _, units in counted)
