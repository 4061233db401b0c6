"""Parts of a lazy dataset: its first cases, those that pass a filter, or a sample.

Each is read again in each pass and holds no cases. The chosen cases are part of a run's identity;
the function or seed that chose them is not.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

from themis.core.errors import DefinitionError

T = TypeVar("T")
_BUCKETS = 1 << 16
_SHIFT = 48


class Head(Iterable[T]):
    """The first n items; no more are read."""

    def __init__(self, source: Iterable[T], n: int) -> None:
        self._source = source
        self._n = n

    def __iter__(self) -> Iterator[T]:
        """Yield them."""
        if self._n:
            yield from islice(self._source, self._n)


class Filtered(Iterable[T]):
    """The items for which a function is true."""

    def __init__(self, source: Iterable[T], fits: Callable[[T], bool]) -> None:
        self._source = source
        self._fits = fits

    def __iter__(self) -> Iterator[T]:
        """Yield them."""
        return (one for one in self._source if self._fits(one))


class Sample(Iterable[T]):
    """A sample of n items, drawn without replacement, in the source's order.

    Each name gets a rank, the digest of seed and name; the lowest ranks are chosen. So the sample
    does not depend on the data's order, a larger sample of the same seed contains each smaller one,
    and added data replaces few of its members. A first pass determines the highest chosen rank,
    with 8 bytes of memory a case; each reading takes one more pass.

    Args:
        source: the items.
        n: size of the sample.
        seed: seed of the draw.
        name: function that gives an item's name, which must be unique.
    """

    def __init__(self, source: Iterable[T], n: int, *, seed: int, name: Callable[[T], str]) -> None:
        self._source = source
        self._n = n
        self._name = name
        self._seed = blake2b(f"sample {seed}".encode(), digest_size=32).digest()
        self._highest: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[T]:
        """Yield them.

        Raises:
            DefinitionError: there are fewer items.
        """
        if not self._n:
            return
        if self._highest is None:
            self._highest = self._find()
        highest, last = self._highest
        for one in self._source:
            rank = self._rank(one)
            if rank == highest:
                last -= 1
            if rank < highest or (rank == highest and last >= 0):
                yield one

    def _rank(self, one: T) -> int:
        name = self._name(one).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(name, digest_size=8, key=self._seed).digest(), "big")

    def _find(self) -> tuple[int, int]:
        """Return the highest chosen rank, and how many items of that rank are chosen."""
        ranks = array("Q", (self._rank(one) for one in self._source))
        if self._n > len(ranks):
            raise DefinitionError(f"sample({self._n}) of {len(ranks)} cases", value=self._n)
        counts = [0] * _BUCKETS
        for rank in ranks:
            counts[rank >> _SHIFT] += 1
        left, bucket = self._n, 0
        while left > counts[bucket]:
            left -= counts[bucket]
            bucket += 1
        near = sorted(rank for rank in ranks if rank >> _SHIFT == bucket)
        highest = near[left - 1]
        return highest, near[:left].count(highest)
