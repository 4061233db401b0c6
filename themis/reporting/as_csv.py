"""The score table as CSV (RFC 4180), one line a row, streamed: it fits any run into little memory.

Values are as they were scored; nothing is averaged and no error is left out. Every cell is exact,
for programs read this: text that begins with ``=``, ``+``, ``-`` or ``@`` stands as it is, and what
a model said is no friend, so a spreadsheet must import the columns as text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

from themis.core.hashing import encode
from themis.core.results import ScoreRow
from themis.reporting.facts import ReportFacts

COLUMNS = tuple(ScoreRow.model_fields)
_LINES = 256


def render(facts: ReportFacts) -> Iterator[str]:
    """Yield the lines, header first; of several runs each line begins with run id and label."""
    several = not facts.is_one_run
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([*(("run_id", "label") if several else ()), *COLUMNS])
    for run in facts.runs:
        lead = (run.run_id, run.label) if several else ()
        for number, row in enumerate(run.score_rows()):
            writer.writerow([*lead, *_cells(row)])
            if number % _LINES == _LINES - 1:
                yield _emptied(buffer)
    yield _emptied(buffer)


def _cells(row: ScoreRow) -> list[Any]:
    cells = [getattr(row, column) for column in COLUMNS[:-1]]
    return [*cells, encode(row.details).decode().strip() if row.details else ""]


def _emptied(buffer: StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
