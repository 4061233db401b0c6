"""What a report is made of: sections of blocks, in the order in which every format tells them.

``contents`` fills the sections; a format only says how each type of block is written. A format
handles every type (the type checker sees to it), so that no format leaves out what another tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from themis.reporting.facts import RunFacts
from themis.reporting.plot import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a run stands."""

    label: str
    """The run's label; empty where a report is about one run."""
    run: str
    """The run's id; ``RUN@n`` of an earlier attempt."""
    status: str
    remarks: Sequence[str] = ()
    """For example why the run stopped early."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or more."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """Facts by name, one a line."""

    rows: Sequence[tuple[str, str]]
    short: bool = False
    """Whether every text is a figure or little more, so that several fit beside each other."""


@dataclass(frozen=True, slots=True)
class Bullets:
    """Texts, one a line."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int
    """The leading columns that are names; the others are figures."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of figures that a table before it tells: a format of text alone leaves it out."""

    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class CaseList:
    """The cases of a run, which a format may list or leave to the CSV report."""

    run: RunFacts


Block = Status | Paragraph | Points | Bullets | Table | Plot | CaseList


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a report under a title of its own."""

    title: str
    blocks: Sequence[Block] = ()
    parts: Sequence[Section] = ()
    """Sections within this one; these have no parts."""
    values: dict[str, Any] = field(default_factory=dict)
    """The same facts for programs, by name: numbers in full, secrets hidden."""
    is_headline: bool = False
    """Whether it tells the scores, which is all that a paper needs."""
    is_folded: bool = False
    """Whether it is long and seldom read, so that a page shows it on demand."""
