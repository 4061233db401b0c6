"""The statistics that a metric's scores carry, gathered over a run for its corpus-level value.

Numbers only, in arrays: eight bytes each, and eight more a row. They are in the order in which
cases were folded; whoever sums them puts the cases in their own order first, since sums of floats
depend on it. What the numbers mean is their metric's to know.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Any

KEY = "statistics"
"""Where they stand in a score's details."""


@dataclass(slots=True, kw_only=True)
class CaseStatistics:
    """The statistics of a metric's scored rows.

    Attributes:
        cases: the position of each row's case in the run.
        values: the rows, one after another.
        width: numbers a row.
        n_without: rows that have none: errors, and values that were given by rule.
        problem: why there are no statistics of one form, where there are not.
    """

    cases: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    width: int = 0
    n_without: int = 0
    problem: str | None = None

    def add(self, index: int, details: Mapping[str, Any]) -> None:
        """Take a row; those of one case come one after another, in the order of its candidates.

        Args:
            index: position of the case in the run.
            details: of the row's score; empty where it has none.
        """
        found = _numbers(details.get(KEY))
        if not found:
            self.n_without += 1
        elif self.width and self.width != len(found):
            self.problem = f"statistics of {self.width} and of {len(found)} numbers"
        else:
            self.width = len(found)
            self.cases.append(index)
            self.values.extend(found)

    def digest(self) -> str:
        """Return a digest of the rows in the cases' order, and of what has none."""
        found = sha256(f"{self.width} {self.n_without} {self.problem}".encode())
        row = Struct(f"<q{self.width}d")
        for place in sorted(range(len(self.cases)), key=self.cases.__getitem__):
            first = place * self.width
            found.update(row.pack(self.cases[place], *self.values[first : first + self.width]))
        return found.hexdigest()


def _numbers(found: Any) -> list[float]:
    """Return what a score's details hold, if it is a list of numbers that floats can hold."""
    if not isinstance(found, list):
        return []
    try:
        return [float(one) for one in found if type(one) in (int, float)]
    except OverflowError:
        return []
