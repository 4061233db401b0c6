"""What a code object does, without where it stands: no lines, docstrings or tables' positions."""

from __future__ import annotations

import dis
import importlib.util
import inspect
from collections.abc import Iterator
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


def instructions_of(code: CodeType) -> Iterator[tuple[str, Any]]:
    """Yield the instructions with what they refer to.

    A constant is given by value and not by its place among the constants, so that a docstring,
    which no instruction loads, counts for nothing.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        text = following is not None and following.argval in _OF_THE_TEXT
        if not (text and step.opcode in dis.hasconst):
            yield step.opname, step.argval


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
        for step in dis.get_instructions(inner):
            if step.opname == how:
                yield str(step.argval)


def imports_of(code: CodeType, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the modules that code imports when it runs, each with the names it takes from it."""
    for inner in _nested(code):
        last: list[Any] = [None, None]
        for step in dis.get_instructions(inner):
            if step.opname == "EXTENDED_ARG":
                continue
            if step.opname == "IMPORT_NAME":
                level, wanted = last
                name = "." * level + step.argval if isinstance(level, int) else step.argval
                try:
                    yield importlib.util.resolve_name(name, package or None), tuple(wanted or ())
                except ImportError:
                    continue
            last = [last[1], step.argval]


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
