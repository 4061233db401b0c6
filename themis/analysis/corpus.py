"""A corpus metric's value over a whole run, and its bootstrap interval.

Such a value is no mean of scores, so that no formula gives its interval: the cases are resampled
instead, each with all of its samples. If the metric's ``aggregate`` raises, the message becomes the
reason why there is no value.
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
"""Limit on resamples times cases, for additive metrics: with very many cases, resamples are
fewer."""
_ROWS = 5_000_000
"""Approximate limit on the rows that ``aggregate`` is given in all, for other metrics."""


def corpus_value(
    aggregate: Aggregate,
    statistics: CaseStatistics,
    *,
    additive: bool,
    signature: str | None = None,
    level: float = LEVEL,
) -> CorpusValue:
    """Return a metric's value over a run and its percentile bootstrap interval over cases.

    Cases are drawn with replacement, as many as there are, each with the rows of all its samples;
    the interval lies between percentiles of the aggregate's values for the resamples. For the value
    itself, rows are given to the aggregate, or summed, in the cases' order.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for BLEU
    Koehn 2004, https://aclanthology.org/W04-3250.

    Args:
        aggregate: the metric's ``aggregate``.
        statistics: the run's statistics.
        additive: whether the aggregate gives the same value for one row with the sums of all rows.
        signature: how the metric computes the value, as text that is shown beside it.
        level: the share of such intervals that would contain the true value.

    Returns:
        The value, or the reason why there is none. It has no interval if there is only one case, if
        all resamples are equal, or if a resample has no value; the last is given as a reason.
    """
    empty = CorpusValue(
        n_rows=len(statistics.cases), n_without=statistics.n_without, signature=signature
    )
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
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the same; the value is kept
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
    """Rows of statistics, the argument of ``aggregate``; ``numpy.asarray`` of them is quick."""

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
        """Return every row or, for an additive metric, one row with their sums."""
        import numpy

        if not self.additive:
            return Rows(self._rows)
        sums = [numpy.add.accumulate(column)[-1] for column in self._rows.T]
        return Rows(numpy.array([sums]))

    @property
    def resamples(self) -> int:
        """Number of resamples, which is smaller for very many cases."""
        most = _ADDITIONS // self.n_cases if self.additive else _ROWS // len(self._rows)
        return min(RESAMPLES, max(LEAST_RESAMPLES, most))

    def drawn(self, generator: numpy.random.Generator) -> Rows:
        """Return the rows, or their sums, of one resample of the cases."""
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
    if min(found) == max(found):  # an interval of length 0 would be misleading
        return None, len(found)
    low, high = numpy.quantile(found, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return [float(low), float(high)], len(found)


def _number(value: Any) -> float:
    """Return an aggregate's value as a float.

    Raises:
        ValueError: it is no finite number.
    """
    is_number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan
    if not math.isfinite(number):
        raise ValueError(f"it gave {value!r}, which is no finite number")
    return number
