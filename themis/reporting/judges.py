"""What a report tells of a run's judges: whom it asked, how they fared, how far they agree.

It reads what the run's headline has kept and no verdict by itself, whatever the run's size. Which
judge is right is not for a report to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from themis.analysis.judges import JudgeFacts, PanelAgreement, kept_agreement, kept_facts
from themis.analysis.tables import NONE, cost_text
from themis.core.judging import UNREADABLE
from themis.reporting.facts import RunFacts
from themis.views.judge_tallies import JudgedTally

JUDGE_HEADINGS = (
    "metric",
    "judge",
    "calls",
    "errors",
    "not understood",
    "consistency",
    "pairs",
    "ties",
    "flips",
    "position bias",
)
"""Of ``judge_rows``; the first two are names, the others figures."""

JUDGES_LEGEND = (
    "Calls are those of the judgments that stand. Errors: the judge gave no answer; not "
    "understood: its answer holds no verdict on the scale. Consistency: how much of what it was "
    "asked repeatedly it answered alike. Ties count flips: pairs of which it preferred another "
    "when the places changed. Position bias: share of verdicts for the place shown first less "
    "that for the second."
)


def judge_rows(run: RunFacts) -> list[tuple[str, ...]]:
    """Return one line of cells for each judge of each judged metric."""
    return [
        (tally.metric_id, *_cells(kept_facts(judge)))
        for tally in run.judged
        for judge in tally.judges
    ]


def judge_lines(run: RunFacts) -> list[tuple[str, str]]:
    """Return for each judged metric its name, and in words what was judged, agreed on and paid."""
    return [(tally.metric_id, "; ".join(_told(tally))) for tally in run.judged]


def _cells(judge: JudgeFacts) -> tuple[str, ...]:
    unreadable = judge.failures.get(UNREADABLE, 0)
    position = judge.position
    return (
        judge.judge,
        f"{judge.n_calls:,}",
        f"{judge.n_failures - unreadable:,}",
        f"{unreadable:,}",
        _figure(judge.consistency),
        *(
            (NONE,) * 4
            if position is None
            else (
                f"{position.pairs:,}",
                f"{position.ties:,}",
                f"{position.flips:,}",
                _figure(position.bias),
            )
        ),
    )


def _told(tally: JudgedTally) -> Iterator[str]:
    without = f", {tally.n_failed:,} without a value" if tally.n_failed else ""
    yield f"{tally.n_judged:,} judged{without}"
    if len(tally.judges) > 1:
        agreement = kept_agreement(tally)
        if agreement is None:
            yield "the verdicts are too many to be told here: see themis inspect judges"
        else:
            yield from _agreement(agreement)
    if tally.cost_usd or tally.unpriced_calls:
        yield f"cost {cost_text(tally.cost_usd, tally.unpriced_calls)}"


def _agreement(found: PanelAgreement) -> Iterator[str]:
    yield f"{found.n_shared:,} of {found.n_units:,} units judged by two judges or more"
    if found.alpha is not None:
        yield f"Krippendorff's α {_figure(found.alpha)} ({found.level})"
    if found.fleiss is not None:
        yield f"Fleiss' κ {_figure(found.fleiss)} over {found.n_complete:,}"
    for pair in found.pairs:
        if pair.n_units:
            kappa = "" if pair.kappa is None else f", Cohen's κ {_figure(pair.kappa)}"
            alike = f"alike on {_figure(pair.agreement)} of {pair.n_units:,}"
            yield f"{pair.judges[0]} and {pair.judges[1]} {alike}{kappa}"


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
