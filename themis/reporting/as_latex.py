r"""The headline as a LaTeX table, for a paper: ``\input`` it; it needs the booktabs package."""

from __future__ import annotations

import re
from collections.abc import Iterator

from themis.analysis.tables import HEADINGS, bootstrap_text, corpus_text, headings, headline_rows
from themis.reporting.facts import ReportFacts

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "↓": r"$\downarrow$",
}
_TO_ESCAPE = re.compile("|".join(map(re.escape, _SPECIAL)))


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the table."""
    several = not facts.is_one_run
    summaries = [summary for run in facts.runs for summary in run.summaries]
    head = (*(("run",) if several else ()), *headings(summaries))
    columns = "l" * (2 if several else 1) + "r" * (len(HEADINGS) - 1)
    yield "% Needs \\usepackage{booktabs}.\n"
    yield "\\begin{table}\n\\centering\n"
    yield f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
    yield _line(head) + "\\midrule\n"
    for run in facts.runs:
        for summary in run.summaries:
            for row in headline_rows(summary):
                yield _line((*((run.label,) if several else ()), *row))
    yield "\\bottomrule\n\\end{tabular}\n"
    yield f"\\caption{{{_caption(facts)}}}\n\\end{{table}}\n"


def escape(text: str) -> str:
    """Return text that LaTeX sets as it stands."""
    return _TO_ESCAPE.sub(lambda found: _SPECIAL[found[0]], " ".join(text.split()))


def _line(cells: tuple[str, ...]) -> str:
    return " & ".join(escape(cell) for cell in cells) + " \\\\\n"


def _caption(facts: ReportFacts) -> str:
    runs = ", ".join(f"{run.name} ({run.state.status})" for run in facts.runs)
    many = not facts.is_one_run
    endings = "".join(
        f" Answers{f' of {run.label}' if many else ''}: {run.endings}."
        for run in facts.runs
        if run.endings
    )
    endings += "".join(
        f" Models{f' of {run.label}' if many else ''}: {run.reported}."
        for run in facts.runs
        if run.reported
    )
    summaries = [summary for run in facts.runs for summary in run.summaries]
    if resampled := bootstrap_text(summaries):
        endings += f" Intervals of values over the corpus: {resampled}."
    if told := corpus_text(summaries):
        endings += f" {told}."
    missing = "" if facts.is_whole else " or case not scored yet"
    return (
        f"{escape(facts.title)}. Means over cases with 95\\% intervals; bounds: the mean if every "
        f"error{missing} had been worst or best. Run: {escape(runs)}."
        f"{' ' + escape(endings) if endings else ''}"
    )
