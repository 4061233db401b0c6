"""Whether a user's class still does what it did: a digest of its code.

A fingerprint is what the author says of a component; this is what the interpreter holds of it. The
digest covers the code objects and constants of its methods and of what these name in their own
package, not the source text: a comment, or another part of the script, changes nothing. It never
enters a key. Where it changed under an unchanged fingerprint, the step is done again and the run
says so.

Code is followed through decorators, containers, class attributes, defaults, objects of the own
package and imports inside functions; such a module is imported for that. Values that a component
holds in its instance attributes are not covered: its fingerprint answers for those, and only the
code behind them counts here. Nor are values that each process sets anew (see ``volatile``).
"""

from __future__ import annotations

import functools
import importlib
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from pydantic import BaseModel

from themis.core.hashing import digest
from themis.planning.bytecode import imports_of, instructions_of, names_of, signature_of, stored_in
from themis.planning.constants import (
    DEEPEST,
    LISTS,
    MAPPINGS,
    PLAIN,
    SETS,
    attributes,
    is_open,
    label,
    shown,
)
from themis.planning.ownership import Ownership, is_themis
from themis.planning.volatile import Expression, set_anew

_DESCRIPTORS = (
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    functools.partialmethod,
    functools.singledispatchmethod,
)
_CALLED = (FunctionType, MethodType)
_CODE = (FunctionType, MethodType, type, functools.partial, *_DESCRIPTORS)


def is_shipped(obj: object) -> bool:
    """Return whether the component's class is Themis's own: its version says all there is."""
    return is_themis(type(obj).__module__)


def code_digest(obj: object) -> str | None:
    """Return a digest of the code behind a component; None for shipped ones.

    The interpreter's version is part of it: code objects of two versions cannot be compared. A
    shipped component that calls a function of the user's says so in ``users_function``; what stands
    behind that is covered as a user's class is.
    """
    if is_shipped(obj):
        function = getattr(obj, "users_function", None)
        if function is None:
            return None
        walk = _Walk(_module_of(function))
        walk.visit_all_in(function)
    else:
        walk = _Walk(type(obj).__module__)
        walk.visit(type(obj))
        for part in walk.held_by(obj):
            walk.visit(part)
    walk.finish()
    data = "\n".join([sys.implementation.cache_tag or "", *walk.said])
    return digest("code", data.encode("utf-8", "surrogatepass")).hex()[:16]


class _Walk:
    """Collects, in a fixed order, what a class's code consists of."""

    def __init__(self, origin: str) -> None:
        self.said: list[str] = []
        self._seen: dict[int, Any] = {}  # kept, so that no address is given out twice
        self._waiting: deque[Any] = deque()
        self._own = Ownership(origin)

    def visit(self, value: Any) -> None:
        """Take in a function, a class, or what stands for one, when its turn comes."""
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._waiting.append(value)

    def visit_all_in(self, value: Any) -> None:
        """Take in the code that a value is or holds."""
        for part in list(self._parts(value, 0, set())):
            self.visit(part)

    def finish(self) -> None:
        """Take in all that waits; however long a chain of calls is, it is not followed deep."""
        while self._waiting:
            self._take(self._waiting.popleft())

    def _take(self, value: Any) -> None:
        inner = _wrapped(value)
        if inner is not None:  # what a decorator wraps, and below the decorator's own code
            self.visit(inner)
        if isinstance(value, functools.partial):
            self.visit(value.func)
            self._held("partial", [*value.args, *sorted(value.keywords.items())])
        elif isinstance(value, functools.partialmethod):
            self.visit(value.func)
            self._held("partial", [value.args, *sorted(value.keywords.items())])
        elif isinstance(value, functools.singledispatchmethod):
            self.visit(value.dispatcher)
        elif isinstance(value, property):
            for part in (value.fget, value.fset, value.fdel):
                self.visit(part)
        elif isinstance(value, functools.cached_property):
            self.visit(value.func)
        elif isinstance(value, (MethodType, staticmethod, classmethod)):
            self.visit(value.__func__)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif value is not None and self._own.has(type(value)):  # a decorator that is an object
            self.visit(type(value))
            self._constant(type(value).__qualname__, attributes(value), value)

    def held_by(self, obj: object) -> list[Any]:
        """Return the code behind an object's attributes, as it was when each was first seen."""
        kept = _kept_of(obj)
        found = []
        for name, value in attributes(obj).items():
            if name not in kept or kept[name][0] != id(value):
                kept[name] = (id(value), list(self._parts(value, 0, {id(obj)})))
            found += kept[name][1]
        return found

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not self._own.has(base):
                continue
            self.said.append(f"class {base.__qualname__}")
            assigned = _assigned(base)
            for name, member in sorted(vars(base).items()):
                if isinstance(member, (FunctionType, *_DESCRIPTORS)) or _wrapped(member):
                    self.said.append(f"{name} is {label(member)}")
                    self.visit(member)
                elif not name.startswith("__") and not isinstance(member, MemberDescriptorType):
                    anew = set_anew(sys.modules.get(base.__module__))
                    expression = anew.get(f"{base.__qualname__}.{name}")
                    held_by = base if name in assigned else None
                    self._constant(name, member, held_by, expression)
            if issubclass(base, BaseModel):
                for name, field in sorted(base.model_fields.items()):
                    made = [field.default, field.default_factory, field.metadata]
                    self._constant(f"field {name}", made, field)

    def _function(self, function: FunctionType) -> None:
        registry = vars(function).get("registry")
        if isinstance(registry, Mapping) and hasattr(function, "dispatch"):  # singledispatch
            for cls, handler in sorted(registry.items(), key=lambda pair: label(pair[0])):
                self.said.append(f"for {label(cls)}")
                self.visit(handler)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        if not self._own.has_module(function.__globals__.get("__name__", "")):
            for _, cell in cells:  # a decorator of some library's
                if not _is_empty(cell) and isinstance(cell.cell_contents, _CALLED):
                    self.visit(cell.cell_contents)
            return
        self.said.append(f"def {function.__qualname__} {signature_of(function.__code__)}")
        self._code(function.__code__)
        defaults = [function.__defaults__, function.__kwdefaults__]
        if any(defaults):
            self._constant("defaults", defaults, function)
        for name, cell in cells:
            if not _is_empty(cell):
                self._named(name, cell.cell_contents, held_by=cell)
        names = set(names_of(function.__code__))
        anew = set_anew(sys.modules.get(function.__globals__.get("__name__", "")))
        self._globals(function, names - set(stored_in(function.__code__, "STORE_GLOBAL")), anew)
        self._imports(function, names)

    def _globals(
        self, function: FunctionType, names: set[str], anew: Mapping[str, Expression]
    ) -> None:
        made_of = {part for name in names & anew.keys() for part in anew[name].names}
        for name in sorted(names | (made_of - anew.keys())):
            if name in function.__globals__:
                value = function.__globals__[name]
                self._named(name, value, names, expression=anew.get(name))

    def _imports(self, function: FunctionType, names: set[str]) -> None:
        """Follow imports that are made when the function runs."""
        package = function.__globals__.get("__package__") or ""
        for name, wanted in imports_of(function.__code__, package):
            if not self._own.has_module(name):
                continue
            module = _imported(name)
            if module is None:
                self.said.append(f"import {name}: not found")
            elif not wanted:
                self._named(name, module, names)
            for one in wanted if module is not None else ():
                held = vars(module)
                value = held[one] if one in held else _imported(f"{name}.{one}")
                self._named(f"{name}.{one}", value, names, expression=set_anew(module).get(one))

    def _named(
        self,
        name: str,
        value: Any,
        names: set[str] | None = None,
        *,
        held_by: object = None,
        expression: Expression | None = None,
        through: frozenset[str] = frozenset(),
    ) -> None:
        """Follow a name that code refers to, as far as its own package goes."""
        if not isinstance(value, ModuleType):
            self._constant(name, value, held_by, expression)
        elif self._own.has_module(value.__name__) and value.__name__ not in through:
            through |= {value.__name__}
            anew = set_anew(value)
            for one in sorted((names or set()) & vars(value).keys()):
                inner = vars(value)[one]
                self._named(
                    f"{name}.{one}", inner, names, expression=anew.get(one), through=through
                )

    def _constant(
        self, name: str, value: Any, held_by: object, expression: Expression | None = None
    ) -> None:
        """Take in a value that code names, and the code behind it.

        Args:
            name: what the code calls it.
            value: as it is now.
            held_by: what holds it where a run may set it anew; otherwise it counts as it was when
                this very object was first seen.
            expression: how it is made, where each process makes it anew.
        """
        if isinstance(value, _CODE) or _wrapped(value) is not None:
            self.said.append(f"{name} is {label(value)}")
            self.visit(value)
            if not isinstance(value, MethodType):
                return
        if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType):
            return

        def take() -> tuple[str, list[Any]]:
            text = self._text(value) if expression is None else expression.text
            return text, list(self._parts(value, 0, set()))

        if held_by is None and not isinstance(value, PLAIN):
            text, parts = _first(value, f"{self._own}", take)
        elif held_by is not None:
            text, parts = _first(held_by, f"{self._own} {name}", take)
        else:
            text, parts = take()
        self.said.append(f"{name} = {text}")
        for part in parts:
            self.visit(part)

    def _held(self, name: str, value: Any) -> None:
        self.said.append(f"{name} = {self._text(value)}")
        for part in self._parts(value, 0, set()):
            self.visit(part)

    def _code(self, code: CodeType) -> None:
        for name, argument in instructions_of(code):
            if isinstance(argument, CodeType):
                self.said.append(f"{name} {signature_of(argument)}")
                self._code(argument)
            else:
                self.said.append(f"{name} {self._text(argument)}")
        self.said.append(code.co_exceptiontable.hex())

    def _parts(self, value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
        """Yield the functions and classes that a value holds, in a fixed order."""
        if isinstance(value, PLAIN) and not self._own.has(type(value)):
            return
        if depth > DEEPEST or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, _CODE) or _wrapped(value) is not None:
            yield value
            if isinstance(value, MethodType):
                yield from self._parts(value.__self__, depth + 1, seen)
            return
        inner: list[Any] = []
        if isinstance(value, MAPPINGS):
            inner = [part for pair in list(value.items()) for part in pair]
        elif isinstance(value, LISTS):
            inner = list(value)
        elif isinstance(value, SETS):
            inner = sorted((one for one in value if not isinstance(one, PLAIN)), key=_place)
        if self._own.has(type(value)):
            yield type(value)
        if is_open(value, self._own.has):
            inner += attributes(value).values()
        for part in inner:
            yield from self._parts(part, depth + 1, seen)

    def _text(self, value: Any) -> str:
        return shown(value, self._own.has, self._anew)

    def _anew(self, cls: type, attribute: str) -> str | None:
        for base in cls.__mro__:
            if self._own.has(base):
                anew = set_anew(sys.modules.get(base.__module__))
                found = anew.get(f"{base.__qualname__}.{attribute}")
                if found is not None:
                    return found.text
        return None


def _module_of(function: Any) -> str:
    """Module that a function, a method, a partial or a callable object is judged from."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if isinstance(function, _CALLED) else type(function)
    return named.__module__ or ""


def _is_empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _wrapped(value: Any) -> Any:
    """What a decorator says it wraps; None for all else."""
    held = getattr(value, "__dict__", None)
    inner = held.get("__wrapped__") if isinstance(held, dict) else None
    return inner if callable(inner) else None


def _place(value: Any) -> tuple[str, int]:
    """Where code stands, to bring a set's into an order."""
    code = getattr(value, "__code__", None)
    return label(value), getattr(code, "co_firstlineno", 0)


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001 - the user's module may fail in any way, and not be needed
        return None


def _assigned(cls: type) -> set[str]:
    """Attributes that a class's own methods assign to."""
    methods = [member for member in vars(cls).values() if isinstance(member, FunctionType)]
    return {name for one in methods for name in stored_in(one.__code__, "STORE_ATTR")}


_Taken = tuple[str, list[Any]]
_FIRST: dict[tuple[int, str], tuple[object, _Taken]] = {}
_KEPT: dict[int, tuple[weakref.ref[Any], dict[str, tuple[int, list[Any]]]]] = {}


def _first(holder: object, name: str, take: Callable[[], _Taken]) -> _Taken:
    """Return what was taken of a value when it was first seen there.

    A cache or a counter that a run fills is no change of code. What is changed in place while a
    process lives is state; what is written anew in a source, or bound anew, is seen.
    """
    if (id(holder), name) not in _FIRST:
        _FIRST[id(holder), name] = (holder, take())
    return _FIRST[id(holder), name][1]


def _kept_of(obj: object) -> dict[str, tuple[int, list[Any]]]:
    """Return what was found in an object's attributes before, for as long as the object lives."""
    kept = _KEPT.get(id(obj))
    if kept is None or kept[0]() is not obj:
        try:
            name = id(obj)
            kept = (weakref.ref(obj, lambda _: _KEPT.pop(name, None) and None), {})
        except TypeError:  # an object with slots only
            return {}
        _KEPT[id(obj)] = kept
    return kept[1]
