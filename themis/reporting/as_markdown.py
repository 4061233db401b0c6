"""A report to read in a terminal, a pull request or a wiki: CommonMark with pipe tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
    Section,
    Status,
    Table,
)

_MARKUP = re.compile(r"([\\`*\[\]<>|~&]|^#|(?<![^\W_])_|_(?![^\W_]))")
"""An underscore within a word is no markup, and names are full of them."""


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the report, section by section."""
    yield f"# {escape(facts.title)}\n"
    for section in contents(facts):
        yield from _section(section, level=2)


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line."""
    return _MARKUP.sub(r"\\\1", shown_line(" ".join(text.split())))


def _section(section: Section, *, level: int) -> Iterator[str]:
    blocks = [text for text in map(_block, section.blocks) if text]
    if blocks:
        yield f"\n{'#' * level} {escape(section.title)}\n"
        yield from (f"\n{text}" for text in blocks)
    for part in section.parts:
        yield from _section(part, level=level + 1)


def _block(block: Block) -> str:
    match block:
        case Status():
            said = "; ".join(map(escape, (block.status, *block.remarks)))
            return f"- {_name(block.label)}{said}: `{block.run}`\n"
        case Paragraph():
            return f"{escape(block.text)}\n"
        case Points():
            return _lines(f"{_name(name)}{escape(text)}" for name, text in block.rows)
        case Bullets():
            return _lines(map(escape, block.texts))
        case Table():
            return _table(block)
        case Plot() | CaseList():
            return ""
        case _:
            assert_never(block)


def _name(name: str) -> str:
    return f"**{escape(name)}**: " if name else ""


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"- {text}\n" for text in texts)


def _table(table: Table) -> str:
    n_columns = len(table.headings)
    marks = [":--" if column < table.text_columns else "--:" for column in range(n_columns)]
    rows = (tuple(map(escape, row)) for row in table.rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (table.headings, marks, *rows))
