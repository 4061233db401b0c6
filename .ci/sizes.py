"""Fail where a module or a function of the package has outgrown its room.

A file past 400 lines, or a function past 60, is a sign that two things live in one place.
Comments count, a function's docstring does not: many documented arguments are no second thing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 60


def offenders(root: Path) -> Iterator[str]:
    """Name every module and function under `root` that is too long."""
    for path in sorted(root.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if lines > MODULE_LINES:
            yield f"{path}:1: {lines} lines, at most {MODULE_LINES}"
        for node in ast.walk(ast.parse(source, filename=str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1 - _told(node)
                if length > FUNCTION_LINES:
                    where = f"{path}:{node.lineno}: {node.name}()"
                    yield f"{where} has {length} lines, at most {FUNCTION_LINES}"


def _told(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function's docstring takes."""
    if ast.get_docstring(function) is None:
        return 0
    text = function.body[0]
    return (text.end_lineno or text.lineno) - text.lineno + 1


def main() -> int:
    """Print the offenders of the folders named on the command line."""
    found = [line for root in sys.argv[1:] or ["themis"] for line in offenders(Path(root))]
    print("\n".join(found) if found else "sizes: every module and function fits its room")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
