"""A report as one page that needs nothing else: no script, style, font or picture from elsewhere.

What models and data sets say is shown as text and never becomes markup; a content security policy
in the page admits its one script by digest and nothing besides, should anything slip through.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from themis.analysis.tables import number
from themis.core.prompts import is_messages
from themis.core.results import CaseResult, ScoreRow
from themis.core.shown_text import shown
from themis.reporting import plot
from themis.reporting.contents import contents
from themis.reporting.facts import CaseFacts, ReportFacts
from themis.reporting.sections import (
    Block,
    Bullets,
    CaseList,
    Paragraph,
    Plot,
    Points,
    Status,
    Table,
)

CASES_SHOWN = 500
"""Cases listed in a page, over all its runs."""
_TEXT_CHARACTERS = 1500


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("themis.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    loader = environment.loader
    assert loader is not None
    script = loader.get_source(environment, "page.js")[0]
    style = loader.get_source(environment, "page.css")[0]
    shown = max(CASES_SHOWN // len(facts.runs), 1)
    yield from environment.get_template("page.html").generate(
        title=facts.title,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        sections=contents(facts),
        template_of=_template_of,
        plot=plot,
        cases=lambda run: map(_case_line, run.first_cases(shown)),
        shown=shown,
        number=number,
    )


def _shown(value: Any) -> Any:
    """Return what a template writes: text without commands; markup is the templates' own."""
    return shown(value) if type(value) is str else value


def _template_of(block: Block) -> str:
    match block:
        case Status():
            return "blocks/status.html"
        case Paragraph():
            return "blocks/paragraph.html"
        case Points():
            return "blocks/points.html"
        case Bullets():
            return "blocks/bullets.html"
        case Table():
            return "blocks/table.html"
        case Plot():
            return "blocks/plot.html"
        case CaseList():
            return "blocks/case_list.html"
        case _:
            assert_never(block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one candidate said, and what was read out of it."""

    label: str
    text: str
    parsed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """One line of the list of cases."""

    number: int
    case_id: str
    dataset_id: str
    input: str
    expected: str
    outputs: list[Output]
    failures: list[str]
    rows: list[ScoreRow]
    outcomes: str
    """What it can be looked for by, separated by blanks."""


def _case_line(facts: CaseFacts) -> CaseLine:
    case, result = facts.case, facts.result
    return CaseLine(
        number=case.position + 1,
        case_id=case.case_id,
        dataset_id=case.dataset_id,
        input=_text(case.case.input),
        expected="" if case.case.expected_output is None else _text(case.case.expected_output),
        outputs=_outputs(result),
        failures=[f"{one.category}: {one.message}" for one in result.generation_failures],
        rows=facts.rows,
        outcomes=" ".join(sorted(facts.marks)),
    )


def _outputs(result: CaseResult) -> list[Output]:
    candidates: list[Any] = [*result.generated_candidates]
    if result.reduced_candidate is not None:
        candidates.append(result.reduced_candidate)
    several = len(candidates) > 1
    found = []
    for candidate in candidates:
        parsed = result.parsed_outputs.get(candidate.candidate_id)
        found.append(
            Output(
                label=candidate.candidate_id if several else "",
                text=_text(candidate.final_output),
                parsed=None if parsed is None else _text(parsed.value),
            )
        )
    return found


def _text(value: Any) -> str:
    """Return a JSON value as text to be read: chat messages as turns, the rest as it is."""
    if is_messages(value):
        said = "\n\n".join(f"{one['role']}: {_text(one['content'])}" for one in value)
    elif isinstance(value, str):
        said = value
    else:
        said = json.dumps(value, ensure_ascii=False, indent=1)
    if len(said) > _TEXT_CHARACTERS:
        return f"{said[:_TEXT_CHARACTERS]}… ({len(said) - _TEXT_CHARACTERS} more characters)"
    return said
