"""Names whose value is another in each process: a source sets them by clock, process or chance.

``STARTED = time.time()`` holds another value in each process while the code is the same. By value
it cannot be told from a constant, so the source that sets it is read. Of such a name the
expression counts and its value does not. All other values count, however they are made: a prompt
read from a file, or a model's name from the environment, is behaviour. So does every value of a
module without a source to read, such as a notebook.
"""

from __future__ import annotations

import ast
import datetime
import inspect
import os
import random
import secrets
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_NONDETERMINISTIC = frozenset(
    [
        *(getattr(one, name) for one in (secrets, tempfile) for name in one.__all__),
        *(getattr(time, name) for name in ("time", "monotonic", "perf_counter", "process_time")),
        *(getattr(time, name) for name in ("time_ns", "monotonic_ns", "perf_counter_ns")),
        *(time.ctime, time.gmtime, time.localtime, time.strftime),
        *(datetime.datetime.now, datetime.datetime.utcnow, datetime.datetime.today),
        *(datetime.date.today, uuid.uuid1, uuid.uuid4, os.getpid, os.getppid, os.urandom),
        *(threading.get_ident, threading.get_native_id, id, hash),
    ]
)
_RANDOM = frozenset(getattr(random, name) for name in random.__all__ if name != "Random")
_SEED = frozenset([random.seed])
_FUNCTIONS = (BuiltinFunctionType, FunctionType, MethodType, type)


@dataclass(frozen=True)
class NondeterministicExpression:
    """How a source makes a value that no other process will see."""

    text: str
    names: frozenset[str]
    """Names in it, of what the value is made of."""


def nondeterministic_names(module: ModuleType | None) -> Mapping[str, NondeterministicExpression]:
    """Return what a module sets to another value in each process, by qualified name.

    An attribute that a class's methods set on their object goes by the class's name.
    """
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return {}
    try:
        return _read(module, os.stat(file).st_mtime_ns)
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or none that can be read
        return {}


@lru_cache(maxsize=256)
def _read(module: ModuleType, _: int) -> Mapping[str, NondeterministicExpression]:
    tree = ast.parse(inspect.getsource(module))
    dotted = [node for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute))]
    seeded = any(_is_one(_resolved(node, module), _SEED) for node in dotted)
    # What is drawn after a seed is the same each time.
    functions = _NONDETERMINISTIC if seeded else _NONDETERMINISTIC | _RANDOM
    found: dict[str, NondeterministicExpression] = {}
    for name, value in _Assignments().of(tree):
        nodes = [node for node in ast.walk(value) if isinstance(node, (ast.Name, ast.Attribute))]
        names = frozenset(node.id for node in nodes if isinstance(node, ast.Name))
        if (
            any(_is_one(_resolved(node, module), functions) for node in nodes)
            or names & found.keys()
        ):
            found[name] = NondeterministicExpression(ast.unparse(value), names)
    return found


def _resolved(node: ast.expr, module: ModuleType) -> Any:
    """What a dotted name stands for, as far as it goes through modules and classes."""
    if isinstance(node, ast.Name):
        return vars(module).get(node.id, getattr(sys.modules["builtins"], node.id, None))
    if isinstance(node, ast.Attribute):
        holder = _resolved(node.value, module)
        if isinstance(holder, (ModuleType, type)):
            return getattr(holder, node.attr, None)
    return None


def _is_one(value: Any, functions: frozenset[Any]) -> bool:
    try:
        return isinstance(value, _FUNCTIONS) and value in functions
    except TypeError:  # a method of an object without a hash
        return False


@dataclass
class _Assignments:
    """Finds what a source sets, by qualified name, in the order in which it does."""

    scope: str = ""
    cls: str = ""
    in_function: bool = False

    def of(self, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                scope = f"{self.scope}{child.name}."
                yield from _Assignments(scope, cls=scope).of(child)
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                scope = f"{self.scope}{child.name}.<locals>."
                yield from _Assignments(scope, cls=self.cls, in_function=True).of(child)
            elif isinstance(child, ast.Assign):
                for target in child.targets:
                    yield from self._set(target, child.value)
            elif isinstance(child, (ast.AnnAssign, ast.AugAssign)):
                if child.value is not None:
                    yield from self._set(child.target, child.value)
            elif not isinstance(child, ast.expr):
                yield from self.of(child)

    def _set(self, target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
        if isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                yield from self._set(one, value)
        elif isinstance(target, ast.Name) and not self.in_function:
            yield self.scope + target.id, value
        elif isinstance(target, ast.Attribute) and self.cls:
            yield self.cls + target.attr, value
