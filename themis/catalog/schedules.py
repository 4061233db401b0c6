"""Which of a case's candidates are compared with which: all pairs, or a bounded round-robin."""

from __future__ import annotations

from collections.abc import Sequence

from themis.catalog.generators import unit_draw


def pairs_of(n: int, *, most: int, draw: Sequence[object]) -> list[tuple[int, int]]:
    """Return pairs of ``n`` candidates, each pair once and the smaller index first.

    All pairs where they are no more than ``most``. Otherwise the first ``most`` of a round-robin,
    round by round (the circle method: the first candidate stays, the others, in a drawn order, go
    round), in which all candidates have as many pairs, give or take one. Two rounds in a row
    connect them all, so that with ``most`` of ``n`` or more none is beyond comparison; and the
    first candidate is in the first round in any case.

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
        others.append(None)  # who meets it has none to meet in this round
    pairs: list[tuple[int, int]] = []
    for start in range(len(others)):
        ring = [*others[start:], *others[:start]]
        table: list[tuple[int | None, int | None]] = [(0, ring[0])]
        table += [(ring[place], ring[-place]) for place in range(1, len(others) // 2 + 1)]
        for first, second in table:
            if first is not None and second is not None:
                pairs.append((min(first, second), max(first, second)))
    return pairs[:most]
