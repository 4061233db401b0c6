"""What a run's verdicts say of its judges: how they agree, repeat themselves, and prefer a place.

Agreement among judges is no proof that they are right; without it, though, a mean over them is a
mean over different questions.
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
from themis.views.judging import JudgedFold, JudgedPair, JudgedUnit, Told

_Counted = tuple[dict[str, Told], int]
"""What each judge said first, and of how many units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """How a judge of pairs heeds the order in which they are shown."""

    pairs: int
    """Comparisons made in both orders."""
    ties: int
    flips: int
    """Of the ties, those where another answer was preferred when the places changed."""
    bias: float
    """Share of verdicts for the place shown first less that for the second: 1 is a judge that
    always prefers the first, 0 one that prefers neither place, -1 one that prefers the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFacts:
    """One judge over a run."""

    judge: str
    n_calls: int
    n_failures: int
    """Calls without a verdict: outages, and answers that hold none."""
    failures: dict[str, int] = field(default_factory=dict)
    """By category."""
    consistency: float | None = None
    """Share of its verdicts that are its most frequent on their unit, over the units judged more
    than once; None where there are none."""
    position: PositionFacts | None = None
    """For a judge of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairKappa:
    """How far two judges agree."""

    judges: tuple[str, str]
    n_units: int
    """Units that both judged."""
    agreement: float | None
    """Share of these on which they say the same."""
    kappa: float | None
    """Cohen's; None where there is no variation to agree on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelAgreement:
    """A judged metric's judges over a run, by each judge's first verdict on each unit."""

    metric_id: str
    judges: list[JudgeFacts]
    n_units: int
    """Candidates, criteria of them or pairs that have a verdict."""
    n_shared: int
    """Units that two judges or more gave a verdict on."""
    level: Level
    """Of α: "interval" for numbers, "nominal" for labels."""
    alpha: float | None
    """Krippendorff's, over the shared units."""
    n_complete: int
    """Units that every judge gave a verdict on."""
    fleiss: float | None
    """Fleiss' κ over the complete units, numbers taken as labels."""
    pairs: list[PairKappa]


def panel_agreement(judged: JudgedFold) -> PanelAgreement:
    """Return how a metric's judges agree and behave.

    Args:
        judged: all of the metric's verdicts.
    """
    first = [{name: own[0] for name, own in unit.verdicts.items()} for unit in judged.units]
    patterns = Counter(tuple(sorted(unit.items())) for unit in first if len(unit) > 1)
    return _agreement(
        judged.metric_id,
        [_facts(judge, judged) for judge in sorted(judged.asked)],
        len(first),
        [(dict(pattern), units) for pattern, units in patterns.items()],
    )


def kept_agreement(tally: JudgedTally) -> PanelAgreement | None:
    """Return the same of what a run has kept of its judges; None where that is too little.

    Args:
        tally: what was kept of one metric.
    """
    if tally.patterns is None:
        return None
    return _agreement(
        tally.metric_id,
        [kept_facts(one) for one in tally.judges],
        tally.n_units,
        [(one.verdicts, one.units) for one in tally.patterns],
    )


def _agreement(
    metric_id: str,
    judges: list[JudgeFacts],
    n_units: int,
    shared: list[_Counted],
) -> PanelAgreement:
    """Return how judges agree on the units that two of them or more gave a verdict on."""
    complete = [(verdicts, units) for verdicts, units in shared if len(verdicts) == len(judges)]
    level = _level([verdicts for verdicts, _ in shared])
    return PanelAgreement(
        metric_id=metric_id,
        judges=judges,
        n_units=n_units,
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


def kept_facts(tally: JudgeTally) -> JudgeFacts:
    """Return how a judge behaves, of what a run has kept of it."""
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


def comparisons(judged: JudgedFold) -> list[Comparison]:
    """Return a metric's comparisons, one a pair, judge and repeat, for ``bradley_terry``.

    Players go by their sample: 0, 1, ... and "reference". Those of one case are a cluster.
    """
    return [
        Comparison(one.pair.first, one.pair.second, one.outcome.score, one.case_index)
        for one in judged.pairs
    ]


def _level(units: Sequence[dict[str, Any]]) -> Level:
    numbers = bool(units) and all(
        isinstance(verdict, (int, float)) and not isinstance(verdict, bool)
        for unit in units
        for verdict in unit.values()
    )
    return "interval" if numbers else "nominal"


def _facts(judge: str, judged: JudgedFold) -> JudgeFacts:
    failures = judged.failures.get(judge, Counter())
    return JudgeFacts(
        judge=judge,
        n_calls=judged.asked[judge],
        n_failures=sum(failures.values()),
        failures=dict(sorted(failures.items())),
        consistency=_consistency(judge, judged.units),
        position=_position([one for one in judged.pairs if one.pair.judge == judge]),
    )


def _consistency(judge: str, units: Sequence[JudgedUnit]) -> float | None:
    repeated = [own for unit in units if len(own := unit.verdicts.get(judge, [])) > 1]
    if not repeated:
        return None
    same = sum(Counter(own).most_common(1)[0][1] for own in repeated)
    return same / sum(map(len, repeated))


def _position(pairs: Sequence[JudgedPair]) -> PositionFacts | None:
    if not pairs:
        return None
    outcomes = [one.outcome for one in pairs]
    leaning = sum(one.picked_first - one.picked_second for one in outcomes)
    return PositionFacts(
        pairs=len(outcomes),
        ties=sum(one.score == 0.5 for one in outcomes),
        flips=sum(one.is_flip for one in outcomes),
        bias=leaning / (2 * len(outcomes)),
    )


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
