"""A metric's value over a whole run, made of every case's statistics, and how sure it is.

Such a value is no mean of scores, so that no formula gives its spread: the cases are drawn again
instead, each with all of its samples. It calls the metric's aggregate and nothing else of it; what
that raises becomes the reason why there is no value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from themis.analysis.intervals import LEVEL
from themis.core.results import CorpusValue
from themis.views.statistics import CaseStatistics

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.float64]
    Places = NDArray[numpy.int64]

Aggregate = Callable[[Sequence[Sequence[float]]], float]
RESAMPLES = 1000
LEAST_RESAMPLES = 200
SEED = 12345
_ADDITIONS = 20_000_000
"""Cases drawn in all, at most, where sums suffice; fewer resamples of very many cases."""
_ROWS = 5_000_000
"""Rows that an aggregate goes through in all, about, where they do not."""


def corpus_value(
    aggregate: Aggregate, statistics: CaseStatistics, *, additive: bool, level: float = LEVEL
) -> CorpusValue:
    """Return a metric's value over a run and its percentile bootstrap interval over cases.

    Cases are drawn with replacement, as many as there are, each with the rows of all its samples;
    the interval is between the percentiles of what the aggregate gives of them. Rows go to the
    aggregate in the cases' order, and sums are made in it, so that the value is what one pass over
    the data would give.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for BLEU
    Koehn 2004, https://aclanthology.org/W04-3250.

    Args:
        aggregate: the metric's.
        statistics: of the run.
        additive: whether it gives the same of their sums as the only row.
        level: the share of such intervals that would cover the true value.

    Returns:
        The value, without an interval where there is one case only, no resample differs, or one
        has no value, which is then said; or the reason why there is no value.
    """
    empty = CorpusValue(n_rows=len(statistics.cases), n_without=statistics.n_without)
    if statistics.problem is not None:
        return empty.model_copy(update={"failure": f"its scores have {statistics.problem}"})
    if not statistics.cases:
        return empty.model_copy(update={"failure": "no score has statistics"})
    table = _Table(statistics, additive=additive)
    empty = empty.model_copy(update={"n_cases": table.n_cases})
    try:
        value = _number(aggregate(table.all()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to user code
        return empty.model_copy(update={"failure": _said(error)})
    found = empty.model_copy(update={"value": value})
    try:
        interval, resamples = _interval(aggregate, table, level)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the same; the value stands
        return found.model_copy(update={"interval_failure": _said(error)})
    return found.model_copy(
        update={
            "interval": interval,
            "interval_method": None if interval is None else "bootstrap",
            "resamples": resamples,
            "seed": SEED if resamples else None,
        }
    )


def _said(error: BaseException) -> str:
    words = " ".join(str(error).split()) or "it says no more"
    return f"aggregate(): {type(error).__name__}: {words}"


class Rows(Sequence[Sequence[float]]):
    """Rows of statistics, as an aggregate is given them; ``numpy.asarray`` of them is quick."""

    def __init__(self, table: Numbers, places: Places | None = None) -> None:
        self._table = table
        self._places = places

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._table if self._places is None else self._places)

    @overload
    def __getitem__(self, index: int) -> Sequence[float]: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Sequence[float] | Rows:
        """Return a row, or the rows of a slice."""
        if isinstance(index, slice):
            return Rows(self.__array__()[index])
        place = range(len(self))[index]
        row = self._table[place if self._places is None else self._places[place]]
        return tuple(row.tolist())

    def __iter__(self) -> Iterator[Sequence[float]]:
        """Yield the rows."""
        return map(tuple, self.__array__().tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return the rows as an array of rows and columns."""
        found = self._table if self._places is None else self._table[self._places]
        return found.astype(dtype or found.dtype, copy=bool(copy))


class _Table:
    """The statistics of a run by case, in the cases' order."""

    def __init__(self, statistics: CaseStatistics, *, additive: bool) -> None:
        import numpy

        cases = numpy.frombuffer(statistics.cases, dtype=numpy.int64)
        values = numpy.frombuffer(statistics.values, dtype=numpy.float64)
        rows: Numbers = values.reshape(-1, statistics.width)
        if (numpy.diff(cases) < 0).any():
            order = numpy.argsort(cases, kind="stable")  # samples of a case stay in their order
            cases, rows = cases[order], rows[order]
        self._rows = rows
        _, self._starts, self._counts = numpy.unique(cases, return_index=True, return_counts=True)
        self.n_cases = len(self._starts)
        self.additive = additive
        self._by_case = numpy.add.reduceat(rows, self._starts, axis=0) if additive else None

    def all(self) -> Rows:
        """Return every row or, where it suffices, the sums over them, added one after another."""
        import numpy

        if not self.additive:
            return Rows(self._rows)
        sums = [numpy.add.accumulate(column)[-1] for column in self._rows.T]
        return Rows(numpy.array([sums]))

    @property
    def resamples(self) -> int:
        """How often cases are drawn: less often where there are very many of them."""
        most = _ADDITIONS // self.n_cases if self.additive else _ROWS // len(self._rows)
        return min(RESAMPLES, max(LEAST_RESAMPLES, most))

    def drawn(self, generator: numpy.random.Generator) -> Rows:
        """Return the rows of as many cases as there are, or their sums, drawn with replacement."""
        import numpy

        chosen = generator.integers(self.n_cases, size=self.n_cases)
        if self._by_case is not None:
            times = numpy.bincount(chosen, minlength=self.n_cases).astype(numpy.float64)
            return Rows((times @ self._by_case)[None])
        counts = self._counts[chosen]
        # Where each case's rows begin, and how far each row is from the first of its case.
        begins = numpy.repeat(self._starts[chosen], counts)
        within = numpy.arange(len(begins)) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
        return Rows(self._rows, begins + within)


def _interval(
    aggregate: Aggregate, table: _Table, level: float
) -> tuple[list[float] | None, int | None]:
    import numpy

    if table.n_cases < 2:
        return None, None
    generator = numpy.random.default_rng(SEED)
    found = [_number(aggregate(table.drawn(generator))) for _ in range(table.resamples)]
    if min(found) == max(found):  # a single point would claim a certainty that nothing gives
        return None, len(found)
    low, high = numpy.quantile(found, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return [float(low), float(high)], len(found)


def _number(value: Any) -> float:
    """Return what an aggregate gave as a float.

    Raises:
        ValueError: it is no finite number.
    """
    is_number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan
    if not math.isfinite(number):
        raise ValueError(f"it gave {value!r}, which is no finite number")
    return number
