"""The report's section on a run's judges: their calls and errors, and how far they agree.

It reads the tallies that are kept with the run's headline and no single verdict, so that it costs
the same for a run of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from themis.analysis.judges import JudgeFacts, PanelAgreement, judge_facts, panel_agreement
from themis.analysis.tables import NONE, cost_text
from themis.core.judging import UNREADABLE
from themis.reporting.facts import RunFacts
from themis.reporting.sections import Block, Paragraph, Points, Section, Table
from themis.views.judge_tallies import JudgedTally

_HEADINGS = (
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

_LEGEND = (
    "Calls are those of the judgments that stand. Errors: the judge gave no answer; not "
    "understood: its answer holds no verdict on the scale. Consistency: how much of what it was "
    "asked repeatedly it answered alike. Ties count flips: pairs of which it preferred another "
    "when the places changed. Position bias: share of verdicts for the place shown first less "
    "that for the second."
)


def judge_section(run: RunFacts) -> Section:
    """Return a row for each judge of each judged metric, and what the judges agreed on and cost."""
    rows = [
        (tally.metric_id, *_cells(judge_facts(judge)))
        for tally in run.judged
        for judge in tally.judges
    ]
    blocks: list[Block] = [
        Table(headings=_HEADINGS, rows=rows, text_columns=2),
        Points([(tally.metric_id, "; ".join(_told(tally))) for tally in run.judged]),
        Paragraph(_LEGEND),
    ]
    return Section(
        title="Judges",
        blocks=blocks if rows else [],
        values={"judged": [_values(tally) for tally in run.judged]},
    )


def _values(tally: JudgedTally) -> dict[str, Any]:
    agreement = panel_agreement(tally)
    return {
        "metric_id": tally.metric_id,
        "n_judged": tally.n_judged,
        "n_failed": tally.n_failed,
        "cost_usd": tally.cost_usd,
        "unpriced_calls": tally.unpriced_calls,
        "judges": [asdict(judge_facts(one)) for one in tally.judges],
        "agreement": None if agreement is None else _agreement_values(agreement),
    }


def _agreement_values(agreement: PanelAgreement) -> dict[str, Any]:
    values = asdict(agreement)
    return {name: values[name] for name in values if name not in ("metric_id", "judges")}


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
        agreement = panel_agreement(tally)
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
