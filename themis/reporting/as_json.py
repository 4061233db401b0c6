"""A report for programs: the headline, the work and the origin of each run as one JSON object.

Numbers are given in full. The rows of the score table are the CSV report's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from themis.core.shown_text import shown_json
from themis.reporting.contents import contents
from themis.reporting.facts import ReportFacts
from themis.reporting.sections import Section

VERSION = 1
"""Of this layout; a change that breaks readers counts it up."""


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the report."""
    report = {
        "themis_report": VERSION,
        "title": facts.title,
        "runs": [_values(section) for section in contents(facts) if section.values],
    }
    yield shown_json(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _values(section: Section) -> dict[str, Any]:
    values = dict(section.values)
    for part in section.parts:
        values |= part.values
    return values
