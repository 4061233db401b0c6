"""Ratings from comparisons of two: the Bradley-Terry model, with intervals over cases.

If chains of wins do not connect the players in both directions, there are no finite ratings, and an
error is raised.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from themis.analysis.intervals import LEVEL
from themis.core.errors import DefinitionError

_STEPS = 100
_TOLERANCE = 1e-10
_ENOUGH = 0.5


class Comparison(NamedTuple):
    """The result of comparing two players once."""

    first: Hashable
    second: Hashable
    score: float
    """1 if the first won, 0 if the second did; 0.5 for a tie, half a win for each."""
    case: Hashable = None
    """Comparisons of one case are a cluster and are resampled together; None is a cluster of its
    own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A player's strength, in units of log odds: mean 0 over the players."""

    player: Any
    rating: float
    interval: tuple[float, float] | None
    """Interval of the rating; None if fewer than half of the resamples had ratings for all
    players."""
    wins: float
    """Number of wins; a tie counts a half."""
    comparisons: int


def bradley_terry(
    comparisons: Sequence[Comparison],
    *,
    level: float = LEVEL,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Rating]:
    """Return maximum-likelihood ratings, the best first: P(i beats j) = 1 / (1 + exp(rj - ri)).

    Computed by Newton's method on the concave log-likelihood; ties are half a win for each (as in
    Chatbot Arena: Chiang et al. 2024, https://arxiv.org/abs/2403.04132). Intervals are percentiles
    of the ratings of ``resamples`` bootstrap samples of cases. Resamples in which a player lost or
    won every comparison have no ratings and are left out, so that with few cases intervals are too
    narrow; if they are more than half, there are no intervals.

    Sources: R. A. Bradley and M. E. Terry, "Rank analysis of incomplete block designs", Biometrika
    39 (1952), 324-345; existence: L. R. Ford, American Mathematical Monthly 64 (1957), 28-33; D. R.
    Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 32 (2004).

    Args:
        comparisons: two players and a score from 0 to 1 each.
        level: confidence level of the intervals, between 0 and 1.
        resamples: bootstrap samples; 0 for no intervals.
        seed: seed of the resampling.

    Raises:
        DefinitionError: a score or a level is out of range, a player meets itself, or the ratings
            are not finite: there are two groups of players of which one never scored against the
            other.
    """
    import numpy as np

    players = _checked(comparisons, level)
    if not players:
        return []
    place = {player: index for index, player in enumerate(players)}
    clusters = _clusters(comparisons, place)
    wins = sum(clusters[1:], start=clusters[0].copy())
    apart = _apart(wins)
    if apart is not None:
        names = ", ".join(str(players[index]) for index in apart)
        raise DefinitionError(
            f"no finite ratings: {names} never took a point off the others; compare more cases, "
            "or leave out who wins or loses always",
            field="comparisons",
        )
    ratings = _fit(wins)
    spread: list[Any] = []
    generator = np.random.default_rng(seed)
    stacked = np.stack(clusters)
    for _ in range(resamples):
        times = np.bincount(
            generator.integers(len(clusters), size=len(clusters)), minlength=len(clusters)
        )
        drawn = np.tensordot(times, stacked, axes=1)
        if _apart(drawn) is None:
            spread.append(_fit(drawn))
    bounds = None
    if spread and len(spread) >= resamples * _ENOUGH:
        tail = (1.0 - level) / 2.0
        bounds = np.quantile(np.stack(spread), [tail, 1.0 - tail], axis=0)
    met = wins + wins.T
    found = [
        Rating(
            player=player,
            rating=float(ratings[index]),
            interval=None if bounds is None else (float(bounds[0, index]), float(bounds[1, index])),
            wins=float(wins[index].sum()),
            comparisons=round(met[index].sum()),
        )
        for player, index in place.items()
    ]
    return sorted(found, key=lambda one: -one.rating)


def _checked(comparisons: Sequence[Comparison], level: float) -> list[Hashable]:
    """Return the players, in order of their first comparison."""
    if not 0.0 < level < 1.0:
        raise DefinitionError(f"level = {level!r}: must lie between 0 and 1", field="level")
    players: dict[Hashable, None] = {}
    for one in comparisons:
        if not (math.isfinite(one.score) and 0.0 <= one.score <= 1.0) or one.first == one.second:
            raise DefinitionError(
                f"{one!r}: a comparison is of two players, with a score from 0 to 1",
                field="comparisons",
            )
        players.setdefault(one.first)
        players.setdefault(one.second)
    return list(players)


def _clusters(comparisons: Sequence[Comparison], place: dict[Hashable, int]) -> list[Any]:
    """Return for each case its matrix of wins: row beats column."""
    import numpy as np

    n = len(place)
    found: dict[Hashable, Any] = {}
    for number, one in enumerate(comparisons):
        name = ("alone", number) if one.case is None else ("case", one.case)
        wins = found.setdefault(name, np.zeros((n, n)))
        first, second = place[one.first], place[one.second]
        wins[first, second] += one.score
        wins[second, first] += 1.0 - one.score
    return list(found.values())


def _apart(wins: Any) -> list[int] | None:
    """Return players that never scored against the others; None if there are none.

    Ford's condition: ratings are finite if and only if a chain of wins or ties leads from each
    player to every other.
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    n, group = connected_components(wins > 0, directed=True, connection="strong")
    if n == 1:
        return None
    for one in range(n):
        inside = group == one
        if not (wins[np.ix_(inside, ~inside)] > 0).any():
            return [int(index) for index in np.flatnonzero(inside)]
    raise AssertionError("a finite graph of groups has one without a way out")


def _fit(wins: Any) -> Any:
    """Return the ratings of a connected matrix of wins, by Newton's method with halved steps."""
    import numpy as np

    n = len(wins)
    met = wins + wins.T
    points = wins.sum(axis=1)
    ratings = np.zeros(n)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(ratings[None, :] - ratings[:, None]))
        slope = points - (met * chance).sum(axis=1)
        if np.abs(slope).max() < _TOLERANCE * max(1.0, met.sum()):
            break
        curve = met * chance * chance.T
        hessian = np.diag(curve.sum(axis=1)) - curve
        # Ratings are determined up to a constant: the one direction without curvature is filled in.
        step = np.linalg.solve(hessian + np.full((n, n), hessian.trace() / n**2), slope)
        size = 1.0
        while _likelihood(wins, ratings + size * step) < _likelihood(wins, ratings):
            size /= 2.0
            if size < _TOLERANCE:
                return ratings - ratings.mean()
        ratings = ratings + size * step
    return ratings - ratings.mean()


def _likelihood(wins: Any, ratings: Any) -> float:
    import numpy as np

    return -float((wins * np.logaddexp(0.0, ratings[None, :] - ratings[:, None])).sum())
