"""Whether a user's class still does what it did: a digest of its code.

A fingerprint is what the author says of a component; this is what the interpreter holds of it. The
digest covers the code objects and constants of its methods and of what these name in their own
package, not the source text: a comment, or another part of the script, changes nothing. It never
enters a key. Where it changed under an unchanged fingerprint, the step is done again and the run
says so.

Code is followed through decorators, containers, class attributes, defaults, objects of the own
package and imports inside functions; such a module is imported for that. Values that a component
holds in its instance attributes are not covered: its fingerprint answers for those, and only the
code behind them counts here. Nor are values that differ from process to process (see
``nondeterministic``).
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
from themis.planning.code.bytecode import (
    imports_of,
    instructions_of,
    names_of,
    signature_of,
    stored_in,
)
from themis.planning.code.constants import (
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
from themis.planning.code.nondeterministic import NondeterministicExpression, nondeterministic_names
from themis.planning.code.own_package import Ownership, is_themis

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


def code_digest(obj: object, users_function: object = None) -> str | None:
    """Return a digest of the code behind a component; None for shipped ones.

    The interpreter's version is part of it: code objects of two versions cannot be compared. A
    function of the user's that a shipped component calls is covered as a user's class is.

    Args:
        obj: the component.
        users_function: the function of the user's that it calls, if it declares one.
    """
    if is_shipped(obj):
        if users_function is None:
            return None
        walk = _Walk(_module_of(users_function))
        walk.visit_all_in(users_function)
    else:
        walk = _Walk(type(obj).__module__)
        walk.visit(type(obj))
        for part in walk.held_by(obj):
            walk.visit(part)
    walk.finish()
    _forget_unused()
    data = "\n".join([sys.implementation.cache_tag or "", *walk.lines])
    return digest("code", data.encode("utf-8", "surrogatepass")).hex()[:16]


class _Walk:
    """Collects, in a fixed order, what a class's code consists of."""

    def __init__(self, origin: str) -> None:
        self.lines: list[str] = []
        self._seen: dict[int, Any] = {}  # kept, so that no address is given out twice
        self._waiting: deque[Any] = deque()
        self._own = Ownership(origin)

    def visit(self, value: Any) -> None:
        """Include a function, a class, or what stands for one, when its turn comes."""
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._waiting.append(value)

    def visit_all_in(self, value: Any) -> None:
        """Include the code that a value is or holds."""
        for part in list(self._parts(value, 0, set())):
            self.visit(part)

    def finish(self) -> None:
        """Include everything that waits; a long chain of calls does not make a deep recursion."""
        while self._waiting:
            self._include(self._waiting.popleft())

    def _include(self, value: Any) -> None:
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
                parts = list(self._parts(value, 0, {id(obj)}))
                kept[name] = (id(value), [_weakly(part) for part in parts])
            found += _alive(kept[name][1])
        return found

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not self._own.has(base):
                continue
            self.lines.append(f"class {base.__qualname__}")
            assigned = _assigned(base)
            for name, member in sorted(vars(base).items()):
                if isinstance(member, (FunctionType, *_DESCRIPTORS)) or _wrapped(member):
                    self.lines.append(f"{name} is {label(member)}")
                    self.visit(member)
                elif not name.startswith("__") and not isinstance(member, MemberDescriptorType):
                    nondeterministic = nondeterministic_names(sys.modules.get(base.__module__))
                    expression = nondeterministic.get(f"{base.__qualname__}.{name}")
                    held_by = base if name in assigned else None
                    self._constant(name, member, held_by, expression)
            if issubclass(base, BaseModel):
                for name, field in sorted(base.model_fields.items()):
                    made = [field.default, field.default_factory, field.metadata]
                    self._constant(f"field {name}", made, base)

    def _function(self, function: FunctionType) -> None:
        registry = vars(function).get("registry")
        if isinstance(registry, Mapping) and hasattr(function, "dispatch"):  # singledispatch
            for cls, handler in sorted(registry.items(), key=lambda pair: label(pair[0])):
                self.lines.append(f"for {label(cls)}")
                self.visit(handler)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        if not self._own.has_module(function.__globals__.get("__name__", "")):
            for _, cell in cells:  # a decorator of some library's
                if not _is_empty(cell) and isinstance(cell.cell_contents, _CALLED):
                    self.visit(cell.cell_contents)
            return
        self.lines.append(f"def {function.__qualname__} {signature_of(function.__code__)}")
        self._code(function.__code__)
        defaults = [function.__defaults__, function.__kwdefaults__]
        if any(defaults):
            self._constant("defaults", defaults, function)
        for name, cell in cells:
            if not _is_empty(cell):
                self._named(name, cell.cell_contents, held_by=function)
        names = set(names_of(function.__code__))
        nondeterministic = nondeterministic_names(
            sys.modules.get(function.__globals__.get("__name__", ""))
        )
        constants = names - set(stored_in(function.__code__, "STORE_GLOBAL"))
        self._globals(function, constants, nondeterministic)
        self._imports(function, names)

    def _globals(
        self,
        function: FunctionType,
        names: set[str],
        nondeterministic: Mapping[str, NondeterministicExpression],
    ) -> None:
        made_of = {
            part
            for name in names & nondeterministic.keys()
            for part in nondeterministic[name].names
        }
        for name in sorted(names | (made_of - nondeterministic.keys())):
            if name in function.__globals__:
                value = function.__globals__[name]
                self._named(name, value, names, expression=nondeterministic.get(name))

    def _imports(self, function: FunctionType, names: set[str]) -> None:
        """Follow imports that are made when the function runs."""
        package = function.__globals__.get("__package__") or ""
        for name, wanted in imports_of(function.__code__, package):
            if not self._own.has_module(name):
                continue
            module = _imported(name)
            if module is None:
                self.lines.append(f"import {name}: not found")
            elif not wanted:
                self._named(name, module, names)
            for one in wanted if module is not None else ():
                held = vars(module)
                value = held[one] if one in held else _imported(f"{name}.{one}")
                self._named(
                    f"{name}.{one}",
                    value,
                    names,
                    expression=nondeterministic_names(module).get(one),
                )

    def _named(
        self,
        name: str,
        value: Any,
        names: set[str] | None = None,
        *,
        held_by: object = None,
        expression: NondeterministicExpression | None = None,
        through: frozenset[str] = frozenset(),
    ) -> None:
        """Follow a name that code refers to, as far as its own package goes."""
        if not isinstance(value, ModuleType):
            self._constant(name, value, held_by, expression)
        elif self._own.has_module(value.__name__) and value.__name__ not in through:
            through |= {value.__name__}
            nondeterministic = nondeterministic_names(value)
            for one in sorted((names or set()) & vars(value).keys()):
                inner = vars(value)[one]
                self._named(
                    f"{name}.{one}",
                    inner,
                    names,
                    expression=nondeterministic.get(one),
                    through=through,
                )

    def _constant(
        self,
        name: str,
        value: Any,
        held_by: object,
        expression: NondeterministicExpression | None = None,
    ) -> None:
        """Include a value that code names, and the code behind it.

        Args:
            name: what the code calls it.
            value: as it is now.
            held_by: what holds it where a run may set another; otherwise it counts as it was when
                this very object was first seen.
            expression: how it is made, where its value is another in each process.
        """
        if isinstance(value, _CODE) or _wrapped(value) is not None:
            self.lines.append(f"{name} is {label(value)}")
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
        self.lines.append(f"{name} = {text}")
        for part in parts:
            self.visit(part)

    def _held(self, name: str, value: Any) -> None:
        self.lines.append(f"{name} = {self._text(value)}")
        for part in self._parts(value, 0, set()):
            self.visit(part)

    def _code(self, code: CodeType) -> None:
        for name, argument in instructions_of(code):
            if isinstance(argument, CodeType):
                self.lines.append(f"{name} {signature_of(argument)}")
                self._code(argument)
            else:
                self.lines.append(f"{name} {self._text(argument)}")
        self.lines.append(code.co_exceptiontable.hex())

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
        return shown(value, self._own.has, self._expression_of)

    def _expression_of(self, cls: type, attribute: str) -> str | None:
        for base in cls.__mro__:
            if self._own.has(base):
                nondeterministic = nondeterministic_names(sys.modules.get(base.__module__))
                found = nondeterministic.get(f"{base.__qualname__}.{attribute}")
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
    methods = [member for member in list(vars(cls).values()) if isinstance(member, FunctionType)]
    return {name for one in methods for name in stored_in(one.__code__, "STORE_ATTR")}


_Taken = tuple[str, list[Any]]


class _FirstSeen:
    """What was taken of a value when it was first seen; forgotten once the value is gone.

    A list or a dict cannot be referred to weakly: it is held until nobody else holds it. (One of
    functions that lead back to it, as a table of handlers in their own module, holds itself.)
    """

    __slots__ = ("_ref", "_taken", "held")

    def __init__(self, value: object) -> None:
        key = id(value)
        self.held: object = None
        self._ref: Callable[[], object]
        try:
            self._ref = weakref.ref(value, lambda _: _FIRST.pop(key, None))
        except TypeError:
            self.held = value
            self._ref = lambda: self.held
        self._taken: dict[str, tuple[str, list[Callable[[], Any]]]] = {}

    def is_of(self, value: object) -> bool:
        """Return whether it is of this very value, and not of an earlier one at its address."""
        return self._ref() is value

    def take(self, name: str, take: Callable[[], _Taken]) -> _Taken:
        """Return what was taken under a name; taken now if nothing was."""
        if name not in self._taken:
            text, parts = take()
            self._taken[name] = (text, [_weakly(part) for part in parts])
            return text, parts
        text, refs = self._taken[name]
        return text, _alive(refs)


_FIRST: dict[int, _FirstSeen] = {}
_KEPT: dict[int, tuple[weakref.ref[Any], dict[str, tuple[int, list[Callable[[], Any]]]]]] = {}
_OWN_REFERENCES = 2
"""To a value that only its ``_FirstSeen`` holds: the attribute, and the argument of a count."""


def _first(holder: object, name: str, take: Callable[[], _Taken]) -> _Taken:
    """Return what was taken of a value when it was first seen there.

    A cache or a counter that a run fills is no change of code. What is changed in place while a
    process lives is state; what is written otherwise in a source, or bound again, is seen.
    """
    seen = _FIRST.get(id(holder))
    if seen is None or not seen.is_of(holder):
        seen = _FIRST[id(holder)] = _FirstSeen(holder)
    return seen.take(name, take)


def _forget_unused() -> None:
    """Let go of the values that nobody else holds any more: a notebook rebinds constants."""
    for key in list(_FIRST):  # keys only: pairs would be objects, which the collector wakes at
        seen = _FIRST.get(key)
        if seen is None or seen.held is None:
            continue
        if sys.getrefcount(seen.held) <= _OWN_REFERENCES:
            _FIRST.pop(key, None)


def _weakly(part: Any) -> Callable[[], Any]:
    """Return a weak reference to code, which may lead back to what it was found in."""
    try:
        return weakref.ref(part)
    except TypeError:  # a property, a static method
        return lambda: part


def _alive(refs: list[Callable[[], Any]]) -> list[Any]:
    return [part for ref in refs if (part := ref()) is not None]


def _kept_of(obj: object) -> dict[str, tuple[int, list[Callable[[], Any]]]]:
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
