"""A report for programs: the headline, the work and the origin of each run as one JSON object.

Numbers are given in full. The rows of the score table are the CSV report's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from themis.core.redaction import redact
from themis.reporting.facts import ReportFacts, RunFacts

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
        "timeline": [attempt.model_dump(mode="json") for attempt in run.timeline],
        "seconds": run.seconds,
        "cost": run.cost,
        "steps_done": run.n_done,
        "steps_reused": run.n_reused,
        "identity": redact(run.snapshot.identity.asked()),
        "provenance": run.provenance,
    }
