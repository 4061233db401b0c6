r"""The headline as a LaTeX table, for a paper: ``\input`` it; it needs the booktabs package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from themis.core.shown_text import shown_line
from themis.reporting.contents import contents
from themis.reporting.facts import ReportFacts
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
    "`": r"\textasciigrave{}",
    "↓": r"$\downarrow$",
}
_TO_ESCAPE = re.compile("|".join(map(re.escape, _SPECIAL)))


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the tables of the headline, and in one caption all that is said beside them."""
    headline = [section for section in contents(facts) if section.is_headline]
    blocks = [block for section in headline for block in section.blocks]
    yield "% Needs \\usepackage{booktabs}.\n"
    yield "\\begin{table}\n\\centering\n"
    for block in blocks:
        if isinstance(block, Table):
            yield from _table(block)
    said = [f"{facts.title}.", *(text for text in map(_caption, blocks) if text)]
    yield f"\\caption{{{escape(' '.join(said))}}}\n\\end{{table}}\n"


def escape(text: str) -> str:
    """Return text that LaTeX sets as it stands."""
    line = shown_line(" ".join(text.split()))
    return _TO_ESCAPE.sub(lambda found: _SPECIAL[found[0]], line)


def _table(table: Table) -> Iterator[str]:
    columns = "l" * table.text_columns + "r" * (len(table.headings) - table.text_columns)
    yield f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
    yield _line(table.headings) + "\\midrule\n"
    yield from map(_line, table.rows)
    yield "\\bottomrule\n\\end{tabular}\n"


def _line(cells: Sequence[str]) -> str:
    line = " & ".join(map(escape, cells)) + " \\\\\n"
    # After the end of a row, a bracket or a star would be that command's argument.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _caption(block: Block) -> str:
    match block:
        case Status():
            label = f" {block.label}" if block.label else ""
            return f"Run{label}: {block.run} ({'; '.join((block.status, *block.remarks))})."
        case Paragraph():
            return block.text
        case Points():
            return _sentence(f"{name}: {text}" for name, text in block.rows)
        case Bullets():
            return _sentence(block.texts)
        case Table() | Plot() | CaseList():
            return ""
        case _:
            assert_never(block)


def _sentence(texts: Iterable[str]) -> str:
    return f"{'; '.join(texts)}."
