"""Parts of a dataset that is read lazily: the first cases, those that fit, a sample of them.

Each is a source like any other: read anew at each pass, holding no cases. Which function or seed
chose is no part of identity; the cases that were chosen are.
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


class First(Iterable[T]):
    """The first so many; no more are read than these."""

    def __init__(self, source: Iterable[T], n: int) -> None:
        self._source = source
        self._n = n

    def __iter__(self) -> Iterator[T]:
        """Yield them."""
        if self._n:
            yield from islice(self._source, self._n)


class Those(Iterable[T]):
    """Those for which a function is true."""

    def __init__(self, source: Iterable[T], fits: Callable[[T], bool]) -> None:
        self._source = source
        self._fits = fits

    def __iter__(self) -> Iterator[T]:
        """Yield them."""
        return (one for one in self._source if self._fits(one))


class Sample(Iterable[T]):
    """So many, drawn without replacement, in their own order.

    Each name gets a rank, the digest of seed and name; the lowest ranks are chosen. So a sample
    does not depend on the order of the data, a larger one holds each smaller one of its seed, and
    data that grows changes few of its members. One pass finds the rank to stop at, in 8 bytes of
    memory a case; each reading is one pass more.

    Args:
        source: what is drawn from.
        n: how many.
        seed: the draw.
        name: names an item; names differ.
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
            DefinitionError: there are fewer.
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
        """Return the highest rank that is chosen, and how many of those that have it are."""
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
