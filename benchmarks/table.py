"""The table of budgets: a row's figure, its bar, the floor's figure, the ratio, and the verdict."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

HEAD = ("what", "figure", "bar", "floor", "ratio", "")
_WIDTHS = (64, 12, 12, 10, 7, 6)


class Row(NamedTuple):
    """One budget, measured."""

    what: str
    figure: str
    bar: str = ""
    floor: str = ""
    ratio: str = ""
    is_kept: bool | None = None
    """None for a figure that no bar is set for."""

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        verdict = {None: "", True: "ok", False: "NOT OK"}[self.is_kept]
        return (self.what, self.figure, self.bar, self.floor, self.ratio, verdict)


def against_floor(
    what: str, own: float, floor: float, *, bar: float | None, unit: str, digits: int = 3
) -> Row:
    """Return a row whose bar is a multiple of the floor's figure."""
    ratio = own / floor
    return Row(
        what,
        f"{own:.{digits}f} {unit}",
        "" if bar is None else f"<= {bar:g}x",
        f"{floor:.{digits}f} {unit}",
        f"{ratio:.2f}x",
        None if bar is None else ratio <= bar,
    )


def at_most(what: str, own: float, *, bar: float, unit: str, digits: int = 2) -> Row:
    """Return a row whose bar is a figure."""
    return Row(what, f"{own:.{digits}f} {unit}", f"<= {bar:g} {unit}", is_kept=own <= bar)


def at_least(what: str, own: float, *, bar: float, digits: int = 3) -> Row:
    """Return a row whose bar is a share."""
    return Row(what, f"{own:.{digits}f}", f">= {bar:g}", is_kept=own >= bar)


def machine() -> Iterator[str]:
    """Yield what the figures were measured on, and when."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("pydantic", "orjson"))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    yield f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} cores{load}"
    yield f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"


def plain(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table's lines, each as soon as its row is there."""
    yield _line(HEAD)
    for row in rows:
        yield _line(row.cells())


def _line(cells: Iterable[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table's lines as Markdown."""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'---|' * len(HEAD)}"
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"
