"""Agreement of judges beyond chance: Cohen's and Fleiss' κ, Krippendorff's α.

If all verdicts are the same, agreement by chance is certain and the coefficients are undefined:
they are given as None, not as 0 or 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from themis.core.errors import DefinitionError

Level = Literal["nominal", "ordinal", "interval"]
_H = TypeVar("_H", bound=Hashable)


def cohen_kappa(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    categories: Sequence[Any] | None = None,
    times: Sequence[int] | None = None,
) -> float | None:
    """Return Cohen's κ of two judges: 1 - observed over expected disagreement.

    Sources: J. Cohen, "A coefficient of agreement for nominal scales", Educational and
    Psychological Measurement 20 (1960), 37-46; weighted: Psychological Bulletin 70 (1968), 213-220.

    Args:
        first: one judge's verdicts, one for each unit.
        second: the other judge's, on the same units in the same order.
        weights: distance of two categories: of their ranks, its square, or equal for all (None).
        categories: all possible verdicts, in rank order; by default those given, sorted. They
            matter only with weights.
        times: how many units each pair of verdicts stands for; one by default.

    Returns:
        κ, at most 1; None without units, or if both judges always give the same one verdict.

    Raises:
        DefinitionError: the lengths differ, or a verdict is not among the categories.
    """
    if len(first) != len(second):
        raise DefinitionError(
            f"{len(first)} verdicts and {len(second)}: two judges' verdicts on the same units are "
            "as many",
            field="second",
        )
    if weights not in (None, "linear", "quadratic"):
        raise DefinitionError(
            f'weights = {weights!r}: must be None, "linear" or "quadratic"',
            field="weights",
            value=weights,
        )
    # Verdicts that cannot be sorted, such as labels and numbers, need no order here.
    ordered = weights is not None or categories is not None
    rank = _ranks(categories, [*first, *second]) if ordered else {}
    power = 1 if weights == "linear" else 2

    def apart(one: Any, other: Any) -> int:
        return int(one != other) if weights is None else abs(rank[one] - rank[other]) ** power

    times = [1] * len(first) if times is None else times
    observed = n = 0
    mine, theirs = Counter[Any](), Counter[Any]()
    for one, other, count in zip(first, second, times, strict=True):
        n += count
        mine[one] += count
        theirs[other] += count
        observed += count * apart(one, other)
    expected = sum(
        mine[one] * theirs[other] * apart(one, other) for one in mine for other in theirs
    )
    return None if not expected else 1.0 - observed * n / expected


def fleiss_kappa(
    units: Sequence[Mapping[_H, int]], *, times: Sequence[int] | None = None
) -> float | None:
    """Return Fleiss' κ of several judges: agreement of pairs of verdicts beyond chance.

    Source: J. L. Fleiss, "Measuring nominal scale agreement among many raters", Psychological
    Bulletin 76 (1971), 378-382.

    Args:
        units: for each unit, how many judges gave each verdict; the same number of judges for every
            unit, at least two.
        times: how many units each entry stands for; one by default.

    Returns:
        κ, at most 1; None without units, or if all verdicts are the same.

    Raises:
        DefinitionError: units have different numbers of verdicts, or fewer than two.
    """
    if not units:
        return None
    sizes = {sum(unit.values()) for unit in units}
    if len(sizes) > 1 or min(sizes) < 2:
        raise DefinitionError(
            f"units with {', '.join(map(str, sorted(sizes)))} verdicts: Fleiss' kappa needs as "
            "many for each, two at least; Krippendorff's alpha takes what is missing",
            field="units",
        )
    (m,) = sizes
    times = [1] * len(units) if times is None else times
    totals: Counter[_H] = Counter()
    n = agreeing = 0
    for unit, alike in zip(units, times, strict=True):
        n += alike
        for verdict, count in unit.items():
            totals[verdict] += count * alike
            agreeing += count * (count - 1) * alike
    observed = agreeing / (n * m * (m - 1))
    squares = sum(count * count for count in totals.values())
    if squares == (n * m) ** 2:
        return None
    expected = squares / (n * m) ** 2
    return (observed - expected) / (1.0 - expected)


def krippendorff_alpha(
    units: Sequence[Sequence[Any]],
    *,
    level: Level = "nominal",
    categories: Sequence[Any] | None = None,
    times: Sequence[int] | None = None,
) -> float | None:
    """Return Krippendorff's α: 1 - observed over expected disagreement, verdicts may be missing.

    Source: K. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011),
    https://repository.upenn.edu/asc_papers/43.

    Args:
        units: each unit's verdicts, of any judges and any number. Units with fewer than two are
            left out.
        level: how verdicts are compared: as labels, ranks or numbers.
        categories: all verdicts in rank order, for ordinal ones; sorted by default.
        times: how many units each entry stands for; one by default.

    Returns:
        α, at most 1; None if no unit has two verdicts, or if all verdicts are the same.

    Raises:
        DefinitionError: the level is unknown, or a verdict does not fit it.
    """
    times = [1] * len(units) if times is None else times
    paired = [
        (Counter(unit), len(unit), alike)
        for unit, alike in zip(units, times, strict=True)
        if len(unit) > 1
    ]
    totals = Counter[Any]()
    for counts, _, alike in paired:
        for verdict, count in counts.items():
            totals[verdict] += count * alike
    n = sum(totals.values())
    distance = _distance(level, totals, categories)
    observed = math.fsum(
        alike * count * other_count * distance(one, other) / (size - 1)
        for counts, size, alike in paired
        for one, count in counts.items()
        for other, other_count in counts.items()
    )
    expected = math.fsum(
        totals[one] * totals[other] * distance(one, other) for one in totals for other in totals
    )
    return None if not expected else 1.0 - (n - 1) * observed / expected


def _distance(
    level: str, totals: Mapping[Any, int], categories: Sequence[Any] | None
) -> Callable[[Any, Any], float]:
    if level == "nominal":
        return lambda one, other: float(one != other)
    if level == "interval":
        for verdict in totals:
            if not isinstance(verdict, (int, float)) or not math.isfinite(verdict):
                raise DefinitionError(
                    f'verdict {verdict!r} is no finite number, as the level "interval" wants',
                    field="level",
                    value=level,
                )
        # Scaled to at most 1, which does not change α: squares of large numbers would overflow.
        _, exponent = math.frexp(max(map(abs, totals), default=0.0))
        scaled = {verdict: math.ldexp(verdict, -exponent) for verdict in totals}
        return lambda one, other: (scaled[one] - scaled[other]) ** 2
    if level != "ordinal":
        raise DefinitionError(
            f'level = {level!r}: must be "nominal", "ordinal" or "interval"',
            field="level",
            value=level,
        )
    # Twice the number of verdicts up to each rank, those of the rank itself counted half.
    place: dict[Any, int] = {}
    below = 0
    for verdict in _ranks(categories, totals):
        count = totals.get(verdict, 0)
        place[verdict] = 2 * below + count
        below += count
    return lambda one, other: ((place[one] - place[other]) / 2.0) ** 2


def _ranks(categories: Sequence[Any] | None, given: Any) -> dict[Any, int]:
    ordered = sorted(set(given)) if categories is None else list(categories)
    rank = {category: index for index, category in enumerate(ordered)}
    for verdict in given:
        if verdict not in rank:
            raise DefinitionError(
                f"verdict {verdict!r} is none of the categories {ordered!r}", field="categories"
            )
    return rank
