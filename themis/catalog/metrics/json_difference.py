"""Where two JSON values differ first: equality with options, and a path that says what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from fractions import Fraction

from themis.core.base import JSONValue


def difference(
    given: JSONValue,
    expected: JSONValue,
    *,
    ignore_order: bool = False,
    ignore_extra: bool = False,
    tol: float = 0.0,
) -> str | None:
    """Return the path of the first difference, or None where the two are equal.

    Numbers are equal by value (4 and 4.0), and never to true or false.

    Args:
        given: the value.
        expected: what it should be.
        ignore_order: whether lists are equal in any order.
        ignore_extra: whether objects may have keys that the expected ones lack.
        tol: greatest difference between two numbers.
    """
    return _Comparison(ignore_order, ignore_extra, Fraction(tol)).where(given, expected, "$")


class _Comparison:
    def __init__(self, ignore_order: bool, ignore_extra: bool, tol: Fraction) -> None:
        self._ignore_order = ignore_order
        self._ignore_extra = ignore_extra
        self._tol = tol

    def where(self, given: JSONValue, expected: JSONValue, path: str) -> str | None:
        if isinstance(expected, dict):
            return self._objects(given, expected, path) if isinstance(given, dict) else path
        if isinstance(expected, list):
            return self._lists(given, expected, path) if isinstance(given, list) else path
        if _is_number(expected) and _is_number(given):
            apart = abs(Fraction(given) - Fraction(expected))
            return path if apart > self._tol else None
        return None if type(given) is type(expected) and given == expected else path

    def _objects(
        self, given: dict[str, JSONValue], expected: dict[str, JSONValue], path: str
    ) -> str | None:
        for key, value in expected.items():
            place = _below(path, key)
            if key not in given:
                return place
            if (found := self.where(given[key], value, place)) is not None:
                return found
        extra = next((key for key in given if key not in expected), None)
        return None if extra is None or self._ignore_extra else _below(path, extra)

    def _lists(self, given: list[JSONValue], expected: list[JSONValue], path: str) -> str | None:
        if self._ignore_order:
            return None if self._paired(given, expected) else path
        for index, (one, other) in enumerate(zip(given, expected, strict=False)):
            if (found := self.where(one, other, f"{path}[{index}]")) is not None:
                return found
        same = len(given) == len(expected)
        return None if same else f"{path}[{min(len(given), len(expected))}]"

    def _paired(self, given: list[JSONValue], expected: list[JSONValue]) -> bool:
        """Return whether the two lists can be paired off, item by item.

        With a tolerance an item may equal several, so that pairs are sought by augmenting paths
        (Kuhn 1955, "The Hungarian method for the assignment problem").
        """
        if len(given) != len(expected):
            return False
        if not self._ignore_extra and not self._tol:  # equal is equal: no need to try each pair
            return Counter(map(_unordered, given)) == Counter(map(_unordered, expected))
        equal = [
            [at for at, other in enumerate(expected) if self.where(one, other, "") is None]
            for one in given
        ]
        taken: dict[int, int] = {}
        return all(_augment(index, equal, taken) for index in range(len(given)))


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]"


def _unordered(value: JSONValue) -> Hashable:
    """Return what is the same for values that are equal where the order of lists is ignored."""
    if isinstance(value, dict):
        return "object", frozenset((key, _unordered(one)) for key, one in value.items())
    if isinstance(value, list):
        return "list", frozenset(Counter(map(_unordered, value)).items())
    return _is_number(value), value


def _augment(start: int, equal: list[list[int]], taken: dict[int, int]) -> bool:
    """Pair one more item off, moving others where need be; without recursion, for long lists."""
    came_from: dict[int, int] = {}
    ends = [start]
    while ends:
        index = ends.pop()
        for at in equal[index]:
            if at in came_from:
                continue
            came_from[at] = index
            if at in taken:
                ends.append(taken[at])
                continue
            while True:
                owner = came_from[at]
                previous = next((place for place, who in taken.items() if who == owner), None)
                taken[at] = owner
                if owner == start or previous is None:
                    return True
                at = previous
    return False


def _is_number(value: JSONValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
