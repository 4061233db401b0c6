"""Which pairs of a case's candidates are compared: all, or those of a bounded round-robin."""

from __future__ import annotations

from collections.abc import Sequence

from themis.catalog.draws import unit_draw


def pairs_of(n: int, *, most: int, draw: Sequence[object]) -> list[tuple[int, int]]:
    """Return pairs of ``n`` candidates, each pair once and the smaller index first.

    These are all pairs where there are no more than ``most``. Otherwise they are the first ``most``
    pairs of a round-robin, round by round, by the circle method: the first candidate stays in its
    place, and the others go round in a drawn order. All candidates then have equally many pairs,
    give or take one. Two rounds in a row connect all candidates, so that with a ``most`` of ``n``
    or more every two can be compared, if only through others. The first candidate is always in the
    first round.

    Source of the method: E. Lucas, Récréations mathématiques 2 (1883), "les promenades du
    pensionnat".

    Args:
        n: candidates.
        most: pairs at most.
        draw: JSON values on which the drawn order depends.
    """
    everyone = [(first, second) for first in range(n) for second in range(first + 1, n)]
    if len(everyone) <= most:
        return everyone
    others: list[int | None] = [
        *sorted(range(1, n), key=lambda index: unit_draw("round_robin", [*draw, index]))
    ]
    if n % 2:
        others.append(None)  # the candidate that meets it sits this round out
    pairs: list[tuple[int, int]] = []
    for start in range(len(others)):
        ring = [*others[start:], *others[:start]]
        table: list[tuple[int | None, int | None]] = [(0, ring[0])]
        table += [(ring[place], ring[-place]) for place in range(1, len(others) // 2 + 1)]
        for first, second in table:
            if first is not None and second is not None:
                pairs.append((min(first, second), max(first, second)))
    return pairs[:most]
