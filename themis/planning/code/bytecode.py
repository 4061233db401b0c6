"""What a code object does, without where it stands: no lines, docstrings or tables' positions."""

from __future__ import annotations

import dis
import importlib.util
import inspect
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

_FLAGS = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
_OF_THE_TEXT = ("__doc__", "__firstlineno__", "__static_attributes__")
"""What a class body stores of its source's text, some of it by line number."""
_LOADS_CONSTANT = frozenset(dis.opname[number] for number in dis.hasconst)
_END = ("", None)


def instructions_of(code: CodeType) -> Iterator[tuple[str, Any]]:
    """Yield the instructions with what they refer to.

    A constant is given by value and not by its place among the constants, so that a docstring,
    which no instruction loads, counts for nothing.
    """
    steps = _steps(code)
    for (name, argument), (_, following) in zip(steps, [*steps[1:], _END], strict=True):
        if not (name in _LOADS_CONSTANT and following in _OF_THE_TEXT):
            yield name, argument


def signature_of(code: CodeType) -> str:
    """Return a text for how a code object is called."""
    count = code.co_argcount + code.co_kwonlyargcount
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return repr((code.co_name, counts, code.co_flags & _FLAGS, code.co_varnames[:count]))


def names_of(code: CodeType) -> Iterator[str]:
    """Yield the names that code, and code within it, refers to."""
    for inner in _nested(code):
        yield from inner.co_names


def stored_in(code: CodeType, how: str) -> Iterator[str]:
    """Yield names that code assigns to: state, such as a counter, and no constants."""
    for inner in _nested(code):
        for name, argument in _steps(inner):
            if name == how:
                yield str(argument)


def imports_of(code: CodeType, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the modules that code imports when it runs, each with the names it takes from it."""
    for inner in _nested(code):
        last: list[Any] = [None, None]
        for name, argument in _steps(inner):
            if name == "IMPORT_NAME":
                level, wanted = last
                module = "." * level + argument if isinstance(level, int) else argument
                try:
                    yield importlib.util.resolve_name(module, package or None), tuple(wanted or ())
                except ImportError:
                    continue
            last = [last[1], argument]


@lru_cache(maxsize=1024)
def _steps(code: CodeType) -> tuple[tuple[str, Any], ...]:
    """Return the instructions of code: of a program they are asked for at each of its runs.

    Code that compares equal does the same: constants of different types do not compare equal.
    """
    steps = dis.get_instructions(code)
    return tuple((step.opname, step.argval) for step in steps if step.opname != "EXTENDED_ARG")


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
