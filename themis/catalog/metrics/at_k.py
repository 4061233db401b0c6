"""What k samples drawn from n would give, on average over all sets of k: the estimators.

Each estimates from n samples what a run with k would have shown, without the luck of one draw of k.
All are exact: they count sets in whole numbers and round once. Only the vote of very many samples
is drawn at random instead, with a seed, and reports its standard error. They know no runs and no
components.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from random import Random
from typing import NamedTuple

from themis.core.errors import DefinitionError

DRAWS = 4000
"""Sets drawn at random where there are too many to be counted."""
_COUNTABLE = 1_000_000
"""Additions up to which sets are counted, about."""


def pass_at_k(n: int, c: int, k: int) -> float:
    r"""Return the chance that at least one of k samples is correct, given c correct ones of n.

    $1 - \binom{n-c}{k} / \binom{n}{k}$, the unbiased estimator, rounded once. The product
    $1 - \prod_{i=n-c+1}^{n} (1 - k/i)$, which the paper computes, rounds at every factor.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code",
    https://arxiv.org/abs/2107.03374, section 2.1.

    Args:
        n: samples, at least ``k``.
        c: how many of them are correct, from 0 to ``n``.
        k: samples drawn without replacement, at least 1.

    Raises:
        DefinitionError: they are no such numbers.
    """
    _check(n, k)
    if type(c) is not int or not 0 <= c <= n:
        raise DefinitionError(f"c = {c!r}: must be an integer from 0 to n = {n}", field="c")
    sets = math.comb(n, k)
    return (sets - math.comb(n - c, k)) / sets


def best_at_k(scores: Sequence[float], k: int, *, higher_is_better: bool = True) -> float:
    r"""Return the mean of the best of k scores, over all sets of k of the given ones.

    With the scores in order from worst to best, the i-th is the best of $\binom{i-1}{k-1}$ of the
    $\binom{n}{k}$ sets. Of zeros and ones it is ``pass_at_k``.

    Source: order statistics of a finite population (David and Nagaraja, "Order Statistics", 3rd
    edition 2003, section 2.6); for scores of models Dodge et al. 2019, "Show Your Work",
    https://arxiv.org/abs/1909.03004, who draw with replacement.

    Args:
        scores: one a sample, finite.
        k: samples drawn without replacement, at least 1 and at most as many as there are scores.
        higher_is_better: whether the best is the greatest, or the least.

    Raises:
        DefinitionError: ``k`` is no such number.
    """
    n = len(scores)
    _check(n, k)
    ordered = sorted(scores, reverse=not higher_is_better)
    total = sum(
        Fraction(score) * math.comb(place, k - 1)
        for place, score in enumerate(ordered)
        if place >= k - 1
    )
    return float(Fraction(total, math.comb(n, k)))


class Vote(NamedTuple):
    """The score of a majority answer, on average."""

    value: float
    draws: int | None = None
    """Sets that were drawn at random; None where all were counted."""
    standard_error: float | None = None
    """Of the mean over those draws."""


def majority_at_k(
    answers: Sequence[Hashable | None], scores: Sequence[float], k: int, *, seed: int = 0
) -> Vote:
    """Return the mean score of the majority answer of k samples, over all sets of k.

    In each set the most frequent answer wins, and its score is the mean of the scores of the
    samples that gave it, since samples of one answer need not have one score. Answers with equally
    many votes share the set equally: that is "the first of them wins" (``builtin/majority_vote``)
    on average over the orders in which k samples may come. Of a set without any answer the score is
    the mean of its samples' scores.

    Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language
    Models", https://arxiv.org/abs/2203.11171, whose vote it is; the mean over sets is counted here
    by a generating function: for each number of votes of the winner the sets in which no answer has
    more, answer by answer.

    Args:
        answers: one a sample; None for a sample that has none, and no vote.
        scores: one a sample.
        k: samples drawn without replacement.
        seed: of the draws, where the sets are too many to be counted.

    Raises:
        DefinitionError: ``k`` is no such number.
    """
    n = len(answers)
    _check(n, k)
    work = 2 * n * k * sum(k // votes for votes in range(1, k + 1))
    return _counted(answers, scores, k) if work <= _COUNTABLE else _drawn(answers, scores, k, seed)


class _Option(NamedTuple):
    """One answer: how many samples gave it, and their mean score as a whole number of units."""

    given: int
    units: int


def _counted(answers: Sequence[Hashable | None], scores: Sequence[float], k: int) -> Vote:
    by_answer: dict[Hashable, list[Fraction]] = {}
    silent: list[Fraction] = []
    for answer, score in zip(answers, scores, strict=True):
        (silent if answer is None else by_answer.setdefault(answer, [])).append(Fraction(score))
    means = [_mean(found) for found in by_answer.values()]
    unit = math.lcm(*(mean.denominator for mean in means))
    options = [
        _Option(len(found), int(mean * unit))
        for found, mean in zip(by_answer.values(), means, strict=True)
    ]
    total = sum(
        (Fraction(units, ties * unit) for ties, units in _won(options, len(silent), k)),
        start=Fraction(0),
    )
    if silent:
        total += math.comb(len(silent), k) * _mean(silent)
    return Vote(float(total / math.comb(len(answers), k)))


def _mean(numbers: Sequence[Fraction]) -> Fraction:
    return sum(numbers, start=Fraction(0)) / len(numbers)


def _won(options: Sequence[_Option], n_silent: int, k: int) -> list[tuple[int, int]]:
    """Return, for each number of winners, the sum of their scores over all sets with so many."""
    found = []
    for votes in range(1, k + 1):
        # By (samples drawn, answers that have all of ``votes``): how many sets, and the scores of
        # those answers summed over them.
        ways: dict[tuple[int, int], tuple[int, int]] = {(0, 0): (1, 0)}
        for option in options:
            ways = _joined(ways, option, votes, k)
        for (drawn, ties), (_, units) in ways.items():
            if ties and n_silent >= k - drawn:
                found.append((ties, units * math.comb(n_silent, k - drawn)))
    return found


def _joined(
    ways: dict[tuple[int, int], tuple[int, int]], option: _Option, votes: int, k: int
) -> dict[tuple[int, int], tuple[int, int]]:
    joined: dict[tuple[int, int], tuple[int, int]] = {}
    choices = [math.comb(option.given, drawn) for drawn in range(min(option.given, votes) + 1)]
    for (before, ties), (sets, units) in ways.items():
        for more, ways_of_it in enumerate(choices[: k - before + 1]):
            wins = more == votes
            place = (before + more, ties + wins)
            known_sets, known_units = joined.get(place, (0, 0))
            gained = units + sets * option.units if wins else units
            joined[place] = (known_sets + sets * ways_of_it, known_units + gained * ways_of_it)
    return joined


def _drawn(answers: Sequence[Hashable | None], scores: Sequence[float], k: int, seed: int) -> Vote:
    """Draw sets: with ``random()`` alone, whose numbers Python promises not to change."""
    generator = Random(seed)
    places = list(range(len(answers)))
    values = []
    for _ in range(DRAWS):
        for place in range(k):  # the first k of a shuffle
            other = place + int(generator.random() * (len(places) - place))
            places[place], places[other] = places[other], places[place]
        values.append(_vote([answers[one] for one in places[:k]], [scores[one] for one in places]))
    mean = math.fsum(values) / DRAWS
    variance = math.fsum((value - mean) ** 2 for value in values) / (DRAWS - 1)
    return Vote(mean, DRAWS, math.sqrt(variance / DRAWS))


def _vote(answers: Sequence[Hashable | None], scores: Sequence[float]) -> float:
    """Return the score of the first sample that gave the answer which most gave, or came first."""
    votes: dict[Hashable, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer is not None:
            votes.setdefault(answer, []).append(place)
    if not votes:
        return scores[0]
    return scores[max(votes.values(), key=len)[0]]


def _check(n: int, k: int) -> None:
    if type(k) is not int or type(n) is not int or not 1 <= k <= n:
        raise DefinitionError(f"k = {k!r}: must be an integer from 1 to n = {n!r}", field="k")
