"""A text for the value of a constant: the same in every process, another where the value is.

It depends on no address, hash seed or memory layout. Of an object that it cannot look into, such
as a lock or a client, it says the class and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property, partial
from operator import attrgetter, itemgetter
from pathlib import PurePath
from string import Template
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from themis.core.hashing import digest

DEEPEST = 20
PLAIN: tuple[type, ...] = (
    str,
    int,
    float,
    bool,
    bytes,
    complex,
    type(None),
    Decimal,
    Fraction,
    PurePath,
    date,
    time,
)
PLAIN += (timedelta, timezone, UUID, range, slice, itemgetter, attrgetter, type(...))
LISTS = (list, tuple, deque)
SETS = (set, frozenset)
MAPPINGS = (dict, MappingProxyType)
_OPEN = (BaseModel, SimpleNamespace, Template)

Own = Callable[[type], bool]
"""Whether a class is of the user's own package, so that what its instances hold is looked into."""
ExpressionOf = Callable[[type, str], str | None]
"""The expression behind an attribute whose value is another in each process; None for others."""


def is_open(value: object, own: Own) -> bool:
    """Return whether a value is what its attributes are."""
    return isinstance(value, _OPEN) or own(type(value))


def attributes(value: object) -> dict[str, Any]:
    """Return what an object holds, by name, without running any of its code.

    What a cached property keeps there is left out: it follows from the rest.
    """
    found = dict(vars(value)) if hasattr(value, "__dict__") else {}
    for cls in type(value).__mro__:
        for name, member in list(vars(cls).items()):  # another thread may add to it
            if isinstance(member, MemberDescriptorType) and not name.startswith("__"):
                with suppress(AttributeError):  # a slot that is not filled
                    found.setdefault(name, member.__get__(value))
            elif isinstance(member, cached_property):
                found.pop(name, None)
    return dict(sorted(found.items()))


def label(value: Any) -> str:
    """Return the name by which code is told apart from other code."""
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{getattr(value, '__module__', None)}.{name}"


def shown(value: Any, own: Own, expression_of: ExpressionOf) -> str:
    """Return a text for a constant that does not depend on addresses or hash seeds."""
    return _Text(own, expression_of, frozenset()).of(value, 0)


class _Text:
    """Writes one value; knows what it has written, since objects may refer to each other."""

    def __init__(self, own: Own, expression_of: ExpressionOf, written: frozenset[int]) -> None:
        self._own = own
        self._expression_of = expression_of
        self._written = set(written)

    def of(self, value: Any, depth: int) -> str:
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name} = {self.of(value.value, depth + 1)}"
        if isinstance(value, PLAIN):
            return repr(value)
        if depth > DEEPEST:
            return "..."
        if not isinstance(value, (tuple, frozenset)):  # equal ones may or may not be one object
            if id(value) in self._written:
                return f"again {type(value).__qualname__}"
            self._written.add(id(value))
        if isinstance(value, LISTS):
            return f"({', '.join(self.of(item, depth + 1) for item in value)})"
        if isinstance(value, SETS):
            return f"{{{', '.join(sorted(self._apart(item, depth + 1) for item in value))}}}"
        if isinstance(value, MAPPINGS):
            return f"{{{', '.join(self._pairs(value, depth + 1))}}}"
        return self._object(value, depth)

    def _apart(self, value: Any, depth: int) -> str:
        return _Text(self._own, self._expression_of, frozenset(self._written)).of(value, depth)

    def _pairs(self, value: Mapping[Any, Any], depth: int) -> Iterator[str]:
        for key, item in list(value.items()):  # another thread may add to it
            yield f"{self.of(key, depth)}: {self.of(item, depth)}"

    def _object(self, value: Any, depth: int) -> str:
        if isinstance(value, (type, FunctionType)):
            return f"<{label(value)}>"
        if isinstance(value, partial):
            inner = [value.func, *value.args, *sorted(value.keywords.items())]
            return f"partial {self.of(inner, depth + 1)}"
        if isinstance(value, (MethodType, BuiltinFunctionType)):
            holder = value.__self__
            of = holder.__name__ if isinstance(holder, ModuleType) else self.of(holder, depth + 1)
            return f"{value.__name__} of {of}"
        if is_dataclass(value):
            held = {one.name: getattr(value, one.name, None) for one in fields(value)}
            return self._held(value, held, depth)
        if is_open(value, self._own):
            return self._held(value, attributes(value), depth)
        if hasattr(type(value), "pattern") and isinstance(value.pattern, (str, bytes)):
            return f"pattern {value.pattern!r} {getattr(value, 'flags', '')}"
        return _bytes_of(value) or f"<{type(value).__module__}.{type(value).__qualname__}>"

    def _held(self, value: object, held: dict[str, Any], depth: int) -> str:
        parts = [
            f"{name}={self._expression_of(type(value), name) or self.of(item, depth + 1)}"
            for name, item in held.items()
        ]
        return f"{type(value).__qualname__}({', '.join(parts)})"


def _bytes_of(value: Any) -> str | None:
    """A text for an array; None for what is none."""
    with suppress(TypeError, ValueError, BufferError):
        view = memoryview(value)
        if "O" not in view.format:  # addresses of objects
            return f"array {view.format} {view.shape} {digest('array', view.tobytes()).hex()}"
    return None
