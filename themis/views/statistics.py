"""The statistics that a metric's scores carry, gathered over a run for its corpus-level value.

The numbers are kept in arrays: eight bytes each, and eight more a row. They are in the order in
which cases were folded; to sum them, sort the rows by case first, since sums of floats depend on
the order. What the numbers mean is known to the metric alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Any

KEY = "statistics"
"""The key of the statistics in a score's details."""


@dataclass(slots=True, kw_only=True)
class CaseStatistics:
    """The statistics of a metric's scored rows.

    Attributes:
        cases: the position of each row's case in the run.
        values: the rows, one after another.
        width: numbers a row.
        n_without: rows without statistics: errors, and values set for a failure of the model's.
        problem: why the statistics cannot be used, such as rows of different lengths; else None.
    """

    cases: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    width: int = 0
    n_without: int = 0
    problem: str | None = None

    def add(self, index: int, details: Mapping[str, Any]) -> None:
        """Add a row. The rows of one case must come together, in the order of its candidates.

        Args:
            index: position of the case in the run.
            details: the score's details; empty for a row without a score.
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
        """Return a digest of the rows in the cases' order, and of how many have none."""
        found = sha256(f"{self.width} {self.n_without} {self.problem}".encode())
        row = Struct(f"<q{self.width}d")
        for place in sorted(range(len(self.cases)), key=self.cases.__getitem__):
            first = place * self.width
            found.update(row.pack(self.cases[place], *self.values[first : first + self.width]))
        return found.hexdigest()


def _numbers(found: Any) -> list[float]:
    """Return the value if it is a list of numbers that floats can hold, else None."""
    if not isinstance(found, list):
        return []
    try:
        return [float(one) for one in found if type(one) in (int, float)]
    except OverflowError:
        return []
