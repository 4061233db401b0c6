"""A report for programs: the headline, the work and the origin of each run as one JSON object.

Numbers are given in full. The rows of the score table are the CSV report's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from themis.analysis.judges import PanelAgreement, kept_agreement, kept_facts
from themis.core.redaction import redact
from themis.reporting.facts import ReportFacts, RunFacts
from themis.views.judge_tallies import JudgedTally

VERSION = 1
"""Of this layout; a change that breaks readers counts it up."""


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the report."""
    told = {
        "themis_report": VERSION,
        "title": facts.title,
        "runs": [_run(run) for run in facts.runs],
    }
    yield json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(run: RunFacts) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "label": run.label,
        "title": run.title,
        "state": redact(run.state.model_dump(mode="json", exclude={"run_id"})),
        "metrics": [summary.model_dump(mode="json") for summary in run.summaries],
        "judged": [_judged(tally) for tally in run.judged],
        "timeline": [attempt.model_dump(mode="json") for attempt in run.timeline],
        "seconds": run.seconds,
        "cost": run.cost,
        "steps_done": run.n_done,
        "steps_reused": run.n_reused,
        "identity": redact(run.snapshot.identity.asked()),
        "provenance": run.provenance,
    }


def _judged(tally: JudgedTally) -> dict[str, Any]:
    agreement = kept_agreement(tally)
    return {
        "metric_id": tally.metric_id,
        "n_judged": tally.n_judged,
        "n_failed": tally.n_failed,
        "cost_usd": tally.cost_usd,
        "unpriced_calls": tally.unpriced_calls,
        "judges": [asdict(kept_facts(one)) for one in tally.judges],
        "agreement": None if agreement is None else _agreement(agreement),
    }


def _agreement(found: PanelAgreement) -> dict[str, Any]:
    told = asdict(found)
    return {name: told[name] for name in told if name not in ("metric_id", "judges")}
