"""The score table as CSV (RFC 4180), one line a row, streamed: it fits any run into little memory.

Values are as they were scored; nothing is averaged and no error is left out. Numbers are exact.
What a model or a data set said is no friend, and the file is opened in spreadsheets, which take
text for formulas: text that begins with ``=``, ``+``, ``-`` or ``@`` has an apostrophe before it
(so has text that begins with one: a program takes off the first), unless it is a number, and
control characters are spelled out. ``RunResult.score_rows()`` has every text as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

from themis.core.hashing import encode
from themis.core.results import ScoreRow
from themis.core.shown_text import shown, shown_json
from themis.reporting.facts import ReportFacts

COLUMNS = tuple(ScoreRow.model_fields)
_LINES = 256
_FORMULA = ("=", "+", "-", "@", "'", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet computes, full-width forms included."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the lines, header first; of several runs each line begins with run id and label."""
    several = not facts.is_one_run
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([*(("run_id", "label") if several else ()), *COLUMNS])
    for run in facts.runs:
        lead = (run.run_id, _safe(run.label)) if several else ()
        for number, row in enumerate(run.score_rows()):
            writer.writerow([*lead, *_cells(row)])
            if number % _LINES == _LINES - 1:
                yield _emptied(buffer)
    yield _emptied(buffer)


def _cells(row: ScoreRow) -> list[Any]:
    cells = [_safe(getattr(row, column)) for column in COLUMNS[:-1]]
    return [*cells, shown_json(encode(row.details).decode().strip()) if row.details else ""]


def _safe(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula and no terminal for a command."""
    if not isinstance(value, str):
        return value
    begins = value.lstrip("\0\t\r\n \ufeff").startswith(_FORMULA)
    said = shown(value)
    return f"'{said}" if begins and not _NUMBER.fullmatch(value) else said


def _emptied(buffer: StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
