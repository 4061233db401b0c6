"""Whether a user's class still does what it did: a digest of its code.

A fingerprint is what the author says of a component; this is what the interpreter holds of it. The
digest covers the code objects and constants of its methods and of what these name in their own
package, not the source text: a comment, or another part of the script, changes nothing. It never
enters a key. Where it changed under an unchanged fingerprint, the step is done again and the run
says so.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from themis.core.hashing import digest

_DEEPEST = 20
_PLAIN = (str, int, float, bool, bytes, complex, type(None), Decimal, PurePath, date)


def is_shipped(obj: object) -> bool:
    """Return whether the component's class is Themis's own: its version says all there is."""
    module = type(obj).__module__
    return module.partition(".")[0] == "themis" and not module.startswith("themis.testing")


def code_digest(obj: object) -> str | None:
    """Return a digest of the code behind a component; None for shipped ones.

    The interpreter's version is part of it: code objects of two versions cannot be compared.
    """
    if is_shipped(obj):
        return None
    walk = _Walk(type(obj))
    walk.visit(type(obj))
    for _, value in sorted(vars(obj).items()) if hasattr(obj, "__dict__") else ():
        walk.visit_part(value)
    data = "\n".join([sys.implementation.cache_tag or "", *walk.said])
    return digest("code", data.encode("utf-8", "surrogatepass")).hex()[:16]


class _Walk:
    """Collects, in a fixed order, what a class's code consists of."""

    def __init__(self, origin: type) -> None:
        self.said: list[str] = []
        self._seen: set[int] = set()
        self._package = _package_of(origin.__module__)
        self._folder = _folder_of(sys.modules.get(origin.__module__))

    def visit(self, value: Any) -> None:
        """Take in a function, a class, or what stands for one."""
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        inner = getattr(value, "__wrapped__", None)
        if callable(inner):  # what a decorator wraps, and below the decorator's own code
            self.visit(inner)
        if isinstance(value, functools.partial):
            self.visit(value.func)
            self._constant("partial", [*value.args, *sorted(value.keywords.items())])
        elif isinstance(value, MethodType):
            self.visit(value.__func__)
        elif isinstance(value, FunctionType):
            if self._is_own(value.__globals__.get("__name__", "")):
                self._function(value)
        elif isinstance(value, type):
            self._class(value)

    def visit_part(self, value: Any) -> None:
        """Take in the code of what a component holds: a function, or an object of its package."""
        if isinstance(value, (FunctionType, functools.partial, MethodType)):
            self.visit(value)
        elif not isinstance(value, type) and self._is_own(type(value).__module__):
            self.visit(type(value))

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not self._is_own(base.__module__):
                continue
            self.said.append(f"class {base.__qualname__}")
            assigned = _assigned(base)
            for name, member in sorted(vars(base).items()):
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__
                if isinstance(member, property):
                    for part in (member.fget, member.fset):
                        if part is not None:
                            self.visit(part)
                elif isinstance(member, functools.cached_property):
                    self.visit(member.func)
                elif isinstance(member, FunctionType) or hasattr(member, "__wrapped__"):
                    self.visit(member)
                elif not name.startswith("__"):
                    state = name in assigned or isinstance(member, (list, dict, set))
                    shown = _first(base, name, member) if state else _shown(member)
                    self.said.append(f"{name} = {shown}")

    def _function(self, function: FunctionType) -> None:
        self.said.append(f"def {function.__qualname__}")
        self._code(function.__code__, function.__doc__)
        self._constant("defaults", [function.__defaults__, function.__kwdefaults__])
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=False
        ):
            with suppress(ValueError):  # not filled yet
                self._named(name, cell.cell_contents, held_by=cell)
        names = set(_names(function.__code__))
        for name in sorted(names - set(_stored(function.__code__, "STORE_GLOBAL"))):
            if name in function.__globals__:
                self._named(name, function.__globals__[name], names)

    def _named(
        self,
        name: str,
        value: Any,
        attributes: set[str] | None = None,
        *,
        held_by: object = None,
    ) -> None:
        """Follow a name that code refers to, as far as its own package goes."""
        if isinstance(value, ModuleType):
            if self._is_own(value.__name__):
                for attribute in sorted(attributes or ()):
                    if attribute in vars(value):
                        self._named(f"{name}.{attribute}", vars(value)[attribute])
        elif isinstance(value, (FunctionType, type, functools.partial, MethodType)):
            if self._is_own(getattr(inspect.unwrap(value), "__module__", None) or ""):
                self.visit(value)
        elif not isinstance(value, BuiltinFunctionType):
            self.visit_part(value)
            if held_by is None and isinstance(value, (list, dict, set)):
                held_by = value
            shown = _shown(value) if held_by is None else _first(held_by, name, value)
            self.said.append(f"{name} = {shown}")

    def _code(self, code: CodeType, doc: str | None) -> None:
        self.said.append(code.co_code.hex())
        self.said.append(repr((code.co_names, code.co_varnames, code.co_freevars)))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant, None)
            elif constant is not doc or doc is None:
                self._constant("const", constant)

    def _constant(self, name: str, value: Any) -> None:
        self.said.append(f"{name} = {_shown(value)}")

    def _is_own(self, module: str) -> bool:
        if _package_of(module) == self._package:
            return True
        folder = _folder_of(sys.modules.get(module))
        return folder is not None and folder == self._folder and "." not in module


def _package_of(module: str) -> str:
    """Top package of a module; of a script, that of the package it is run from with ``-m``."""
    if module == "__main__":
        spec = getattr(sys.modules.get(module), "__spec__", None)
        module = getattr(spec, "name", None) or module
    return module.partition(".")[0]


def _folder_of(module: ModuleType | None) -> Path | None:
    """Folder of a top-level module outside any package: scripts and what lies beside them."""
    file = getattr(module, "__file__", None)
    if file is None or module is None or module.__package__:
        return None
    folder = Path(file).resolve().parent
    return None if "site-packages" in folder.parts else folder


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _stored(code: CodeType, how: str) -> Iterator[str]:
    """Names that code assigns to: state, such as a counter, and no constants."""
    for step in dis.get_instructions(code):
        if step.opname == how:
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _stored(constant, how)


def _assigned(cls: type) -> set[str]:
    """Attributes that a class's own methods assign to."""
    methods = [member for member in vars(cls).values() if isinstance(member, FunctionType)]
    return {name for one in methods for name in _stored(one.__code__, "STORE_ATTR")}


_FIRST: dict[tuple[int, str], tuple[object, str]] = {}


def _first(holder: object, name: str, value: Any) -> str:
    """Return how a value read when it was first seen there.

    A cache or a counter that a run fills is no change of code. What is changed in place while a
    process lives is state; what is written anew in a source, or bound anew, is seen.
    """
    kept = _FIRST.setdefault((id(holder), name), (holder, ""))
    if not kept[1]:
        kept = _FIRST[id(holder), name] = (holder, _shown(value))
    return kept[1]


def _shown(value: Any, depth: int = 0) -> str:
    """A text for a constant that does not depend on addresses or hash seeds."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_shown(item, depth + 1) for item in value)})"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_shown(item, depth + 1) for item in value))}}}"
    if isinstance(value, dict):
        pairs = [f"{_shown(k, depth + 1)}: {_shown(v, depth + 1)}" for k, v in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name} = {_shown(value.value, depth + 1)}"
    if is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{one.name}={_shown(getattr(value, one.name, None), depth + 1)}"
            for one in fields(value)
        ]
        return f"{type(value).__qualname__}({', '.join(parts)})"
    pattern = getattr(value, "pattern", None)
    if isinstance(pattern, (str, bytes)):
        return f"pattern {pattern!r} {getattr(value, 'flags', '')}"
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
