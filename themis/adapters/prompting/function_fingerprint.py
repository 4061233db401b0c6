"""Fingerprinting a function that the user hands in, so that a changed one gives new keys.

Source, defaults, closure values and partial arguments are covered, and so are the constants and
functions of its own module that it names; of a decorated function the decorator's code and what it
wraps. A default, a closure value or an argument that is no JSON value is refused: the user then
names the behaviour with ``fingerprint=``. So are bound methods and callable objects, whose state no
source tells. Constants of the module count with their tuples, sets and keys of any kind; where one
is an object of some library's, its name in the source is all that is known of it.

Values count as they are when the fingerprint is made: what a function changes in its own default or
closure later is its memory, and not seen. Nor is what it reads from elsewhere (files, the
environment, other packages).
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from themis.core.errors import DefinitionError
from themis.core.hashing import canonical, check_json, digest_value, text


def fingerprint_function(fn: Callable[..., Any], fingerprint: str | None = None) -> str:
    """Return a digest text that differs wherever the function would behave differently.

    Args:
        fn: a function, a lambda, or a ``functools.partial`` of one.
        fingerprint: the user's own text for its behaviour, taken in place of all else.

    Raises:
        DefinitionError: its behaviour cannot be seen; the message says why and asks for
            ``fingerprint=``.
    """
    if fingerprint is not None:
        return text(digest_value("function", {"declared": fingerprint}))
    return text(digest_value("function", _describe(fn, set())))


def _describe(fn: Any, seen: set[int]) -> dict[str, Any]:
    if isinstance(fn, functools.partial):
        return {
            "partial": _describe(fn.func, seen),
            "args": _json(fn, "an argument", list(fn.args)),
            "keywords": _json(fn, "an argument", fn.keywords),
        }
    if isinstance(fn, MethodType):
        raise _refusal(fn, f"is bound to a {type(fn.__self__).__name__}, whose state is not seen")
    if not isinstance(fn, FunctionType):
        raise _refusal(fn, f"is a {type(fn).__name__}, whose behaviour cannot be seen")
    seen.add(id(fn))
    return {
        "source": _source(fn),
        "defaults": _json(fn, "a default", list(fn.__defaults__ or ())),
        "keyword_defaults": _json(fn, "a default", fn.__kwdefaults__ or {}),
        "closure": {
            name: _closed_over(fn, name, cell, seen)
            for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        },
        "names": dict(_globals(fn, seen)),
    }


def _closed_over(fn: FunctionType, name: str, cell: CellType, seen: set[int]) -> Any:
    """Return a closure's value: a function's description, or the value itself."""
    try:
        value = cell.cell_contents
    except ValueError:  # bound later, or not at all
        return {"unbound": name}
    if isinstance(value, FunctionType):
        return {"function": name} if id(value) in seen else _describe(value, seen)
    return _json(fn, f"'{name}', which it closes over,", value)


def _globals(fn: FunctionType, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield the constants and functions of the function's own module that it names."""
    for name in sorted(set(_names(fn.__code__))):
        value = fn.__globals__.get(name)
        if isinstance(value, FunctionType):
            if value.__module__ == fn.__module__ and id(value) not in seen:
                yield name, _describe(value, seen)
        elif value is not None and not inspect.ismodule(value) and not callable(value):
            try:
                yield name, _plain(value)
            except (DefinitionError, RecursionError):
                continue  # an object of some library's: named in the source, and no more is known


def _plain(value: Any) -> Any:
    """Return a constant as JSON; what JSON has no form for is told by its kind."""
    if isinstance(value, (tuple, set, frozenset)):
        items = [_plain(item) for item in value]
        ordered = items if isinstance(value, tuple) else sorted(items, key=canonical)
        return {f"a {type(value).__name__}": ordered}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if type(value) is dict and not all(type(key) is str for key in value):
        pairs = [[_plain(key), _plain(item)] for key, item in value.items()]
        return {"a dict": sorted(pairs, key=canonical)}
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return check_json(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _source(fn: FunctionType) -> str:
    try:
        if fn.__code__.co_filename == "<string>":  # exec's; what is filed there is other code
            raise OSError("<string>")
        if fn.__name__ == "<lambda>":
            return _lambda_source(fn)
        # Of the code, not of the function: a decorated one's would be what it wraps.
        return textwrap.dedent(inspect.getsource(fn.__code__))
    except (OSError, SyntaxError):
        raise _refusal(fn, "has no source that can be read") from None


def _lambda_source(fn: FunctionType) -> str:
    """Return a lambda's own text, whatever stands around it."""
    code = fn.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, fn.__globals__)
    if not lines:
        raise OSError(code.co_filename)
    source = "".join(lines)
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
    ]
    if len(found) != 1:
        raise _refusal(fn, f"is one of {len(found)} lambdas on its line")
    return ast.get_source_segment(source, found[0]) or ast.unparse(found[0])


def _json(fn: Any, what: str, value: Any) -> Any:
    if isinstance(value, tuple):
        value = list(value)
    try:
        return check_json(value)
    except DefinitionError as error:
        raise _refusal(fn, f"has {what} that is no JSON value ({error})") from None


def _refusal(fn: Any, why: str) -> DefinitionError:
    name = getattr(fn, "__qualname__", None) or type(fn).__name__
    return DefinitionError(
        f"the function {name} {why}: give fingerprint='...', a text that you change whenever its "
        "behaviour changes",
        field="fingerprint",
    )
