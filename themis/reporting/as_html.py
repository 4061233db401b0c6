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
from typing import Any

from themis.analysis.tables import (
    attempts_text,
    bootstrap_text,
    corpus_text,
    headings,
    headline_rows,
    number,
    times_text,
)
from themis.core.results import CaseResult, MetricSummary, ScoreRow
from themis.reporting import plot
from themis.reporting.facts import (
    WORK_HEADINGS,
    CaseFacts,
    ReportFacts,
    duration,
    when,
    work_rows,
)
from themis.reporting.judges import JUDGE_HEADINGS, JUDGES_LEGEND, judge_lines, judge_rows

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
    )
    loader = environment.loader
    assert loader is not None
    script = loader.get_source(environment, "page.js")[0]
    style = loader.get_source(environment, "page.css")[0]
    page = environment.get_template("page.html")
    summaries = [summary for run in facts.runs for summary in run.summaries]
    shown = max(CASES_SHOWN // len(facts.runs), 1)
    yield from page.generate(
        facts=facts,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        headline=[
            (run, row, method)
            for run in facts.runs
            for summary in run.summaries
            for row, method in zip(headline_rows(summary), _methods(summary), strict=True)
        ],
        value_heading=headings(summaries)[1],
        bootstrap=bootstrap_text(summaries),
        corpus=corpus_text(summaries),
        panels=plot.panels(facts),
        plot=plot,
        cases=lambda run: (_case_line(case) for case in run.first_cases(shown)),
        shown=shown,
        when=when,
        duration=duration,
        number=number,
        times_text=times_text,
        attempts_text=attempts_text,
        judge_headings=JUDGE_HEADINGS,
        judge_rows=judge_rows,
        judge_lines=judge_lines,
        judges_legend=JUDGES_LEGEND,
        work_headings=WORK_HEADINGS,
        work_rows=work_rows(facts),
    )


def _methods(summary: MetricSummary) -> list[str | None]:
    """Return how the interval of each of a metric's lines was made."""
    corpus = summary.corpus
    return [*([] if corpus is None else [corpus.interval_method]), summary.interval_method]


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
    if isinstance(value, list) and value and all(_is_turn(one) for one in value):
        said = "\n\n".join(f"{one['role']}: {_text(one['content'])}" for one in value)
    elif isinstance(value, str):
        said = value
    else:
        said = json.dumps(value, ensure_ascii=False, indent=1)
    if len(said) > _TEXT_CHARACTERS:
        return f"{said[:_TEXT_CHARACTERS]}… ({len(said) - _TEXT_CHARACTERS} more characters)"
    return said


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value
