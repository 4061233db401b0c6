"""Tell which modules and functions of the package are long, and fail where one is too long.

A file past 400 lines, or a function past 60, may be two things in one place: the question is asked,
and one thing may be as long as it is. Past 600 lines, or 100, it fails.
Comments count, a function's docstring does not: many documented arguments are no second thing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import NamedTuple

from source_tree import Function, Module, SourceTree

MODULE_LINES = (400, 600)
"""Past the first it is told, past the second it fails."""
FUNCTION_LINES = (60, 100)


class Sized(NamedTuple):
    """A module or a function, and how long it may be."""

    where: str
    lines: int
    room: tuple[int, int]

    @property
    def is_long(self) -> bool:
        """Whether it is told."""
        return self.lines > self.room[0]

    @property
    def is_too_long(self) -> bool:
        """Whether it fails."""
        return self.lines > self.room[1]

    def __str__(self) -> str:
        most = f"at most {self.room[1]}: split it" if self.is_too_long else "is it one thing?"
        return f"{self.where}: {self.lines} lines, {most}"


def sized(module: Module) -> Iterator[Sized]:
    """Yield a module and every function in it."""
    yield Sized(module.at(module.tree), len(module.text.splitlines()), MODULE_LINES)
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _told(node)
            yield Sized(f"{module.at(node)}: {node.name}()", lines, FUNCTION_LINES)


def _told(function: Function) -> int:
    """Return how many lines a function's docstring takes."""
    if ast.get_docstring(function) is None:
        return 0
    text = function.body[0]
    return (text.end_lineno or text.lineno) - text.lineno + 1


def main() -> int:
    """Print what is long; return 1 where anything is too long."""
    found = [one for module in SourceTree.named().modules for one in sized(module) if one.is_long]
    print("\n".join(map(str, found)) or "sizes: nothing is long")
    return int(any(one.is_too_long for one in found))


if __name__ == "__main__":
    sys.exit(main())
