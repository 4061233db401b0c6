"""Digests of code keep nothing of the user's alive: neither constants, nor classes, nor data.

Covers: themis.planning.code.digest
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest

from themis.planning.code import digest
from themis.planning.code.digest import code_digest
from themis.testing.scripted import ScriptedGenerator

SOURCE = """
class Big:
    pass

BIG = Big()
TABLE = {"big": [Big()]}

def shout(text):
    return TABLE, BIG, text

class Base:
    def run(self):
        return None

class Mine(Base):
    known = {"shout": [Big()]}
    big = Big()

    def __init__(self):
        self.held = [Big()]
        self.method = self.run

    def run(self, default=[Big()]):
        type(self).big = None
        return super().run(), shout(self), BIG, Mine
"""


def made() -> ModuleType:
    module = ModuleType("mine")
    exec(compile(SOURCE, "mine.py", "exec"), vars(module))
    return module


def in_a_module() -> tuple[Any, list[Any]]:
    module = made()
    big = vars(module)
    return big["Mine"](), [big["BIG"], big["TABLE"]["big"][0], big["Big"], big["shout"]]


def in_a_closure() -> tuple[Any, list[Any]]:
    class Data:
        pass

    data, count = Data(), [Data()]

    class Counting(ScriptedGenerator):
        table: ClassVar[Any] = {"data": [Data()]}

        async def generate(self, case: Any, ctx: Any) -> Any:
            count.append(data)
            return await super().generate(case, ctx)

    return Counting(), [data, count[0], Data, Counting]


@pytest.mark.parametrize("make", [in_a_module, in_a_closure])
def test_what_a_component_named_dies_with_it(
    make: Callable[[], tuple[Any, list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "_FIRST", {})
    component, named = make()
    assert code_digest(component) == code_digest(component)
    alive = [weakref.ref(one) for one in (component, *named)]
    del component, named
    gc.collect()
    code_digest(made().Base())  # the next digest lets go of what cannot be referred to weakly
    gc.collect()
    assert [one() for one in alive] == [None] * len(alive)


def test_a_constant_that_is_bound_anew_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_FIRST", {})
    module = made()
    component = module.Mine()
    before = code_digest(component)
    big = weakref.ref(module.TABLE["big"][0])
    module.TABLE = {"big": ["small"]}  # type: ignore[attr-defined]
    assert code_digest(component) != before
    gc.collect()
    assert big() is None
