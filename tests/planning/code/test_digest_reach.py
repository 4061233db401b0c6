"""The digest of a component's code follows code by whatever way it is reached.

Covers: themis.planning.code.constants, themis.planning.code.digest,
themis.planning.code.nondeterministic, themis.planning.code.own_package
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from themis.core.errors import ProviderError
from themis.planning.code.digest import code_digest
from themis.testing.scripted import ScriptedGenerator

TRAJECTORIES = '''
import functools
from types import MappingProxyType, SimpleNamespace
from string import Template
from pydantic import BaseModel, Field

def helper():
    return "OLD"

def other():
    return "other"

class Helper:
    """Documented."""
    def go(self):
        return "OLD"

class Held:
    __slots__ = ("inner",)
    def __init__(self, inner):
        self.inner = inner

class Settings(BaseModel):
    text: str = "default"

class Plain:
    def __init__(self, text):
        self.text = text
        self.me = self
    def read(self):
        return self.text

BEFORE
class Mine:
    def fingerprint(self):
        return "fixed"
INSIDE
'''
REACHED = {
    "a cached function": ("@functools.cache\ndef f(): return 'OLD'", "g = lambda self: f()"),
    "an LRU cache": ("@functools.lru_cache(9)\ndef f(): return 'OLD'", "g = lambda self: f()"),
    "a table of functions": ("T = {'a': helper}", "g = lambda self: T['a']()"),
    "a list of functions": ("T = [[helper]]", "g = lambda self: T[0][0]()"),
    "a set of functions": ("T = {other, helper}", "g = lambda self: [f() for f in T]"),
    "a table on the class": ("", "T = {'a': helper}"),
    "a class on the class": ("", "kind = Helper"),
    "an object on the class": ("", "held = Helper()"),
    "what an object on the class holds": ("", "held = Plain('OLD')"),
    "an object in an object": ("", "def __init__(self): self.o = Held(Helper())"),
    "objects in a list": ("", "def __init__(self): self.o = [Held(Helper())]"),
    "functions in a list": ("", "def __init__(self, o=None): self.o = o or [helper]"),
    "a method of an object": ("USE = Helper().go", "g = lambda self: USE()"),
    "a method of an object that holds": ("USE = Plain('OLD').read", "g = lambda self: USE()"),
    "a builtin's method": ("USE = 'OLD'.join", "g = lambda self: USE([])"),
    "a partial method": ("", "def f(self, x): ...\n    g = functools.partialmethod(f, 'OLD')"),
    "a partial method's function": ("", "g = functools.partialmethod(helper)"),
    "a partial of a table": ("USE = functools.partial(max, [helper])", "g = lambda self: USE"),
    "single dispatch": (
        "@functools.singledispatch\ndef f(v): ...\n@f.register\ndef _(v: int): return 'OLD'",
        "g = lambda self: f(1)",
    ),
    "single dispatch of methods": (
        "",
        "@functools.singledispatchmethod\n    def f(self, v): ...\n"
        "    @f.register\n    def _(self, v: int): return 'OLD'",
    ),
    "a default": ("", "def g(self, f=helper): return f()"),
    "a default by name": ("", "def g(self, *, f=(helper,)): return f[0]()"),
    "a decorator that is an object": (
        "class Deco:\n    def __init__(self, f): functools.update_wrapper(self, f)\n"
        "    def __call__(self): return 'OLD'\n@Deco\ndef f(): ...",
        "g = lambda self: f()",
    ),
    "a library's decorator without a trace": (
        "import contextlib\nf = contextlib.contextmanager(helper)\ndel f.__wrapped__",
        "g = lambda self: f()",
    ),
    "an object of the module": ("K = Plain('OLD')", "g = lambda self: K.text"),
    "a model of the module": ("K = Settings(text='OLD')", "g = lambda self: K.text"),
    "a model's default": (
        "class K(BaseModel):\n    x: str = 'OLD'",
        "g = lambda self: K().x",
    ),
    "a model's factory": (
        "class K(BaseModel):\n    x: str = Field(default_factory=helper)",
        "g = lambda self: K().x",
    ),
    "a model's limits": (
        "class K(BaseModel):\n    x: str = Field(max_length=len('OLD' * 3))",
        "g = lambda self: K(x='').x",
    ),
    "a namespace": ("K = SimpleNamespace(text='OLD')", "g = lambda self: K.text"),
    "a template": ("K = Template('OLD')", "g = lambda self: K.substitute()"),
    "a read-only table": ("K = MappingProxyType({1: 'OLD'})", "g = lambda self: K[1]"),
    "an array": ("import numpy\nK = numpy.frombuffer(b'OLD', 'u1')", "g = lambda self: K"),
    "a span of time": (
        "import datetime\nK = datetime.timedelta(days=len('OLD'))",
        "g = lambda self: K",
    ),
    "what try covers": (
        "",
        "def g(self):\n        try:\n            print('OLD')\n        finally:\n            ...",
    ),
}


def digest_of(source: str) -> str:
    module = types.ModuleType("users_module")
    sys.modules["users_module"] = module
    try:
        exec(compile(source, "users_module.py", "exec"), vars(module))
        found = code_digest(module.Mine())
    finally:
        del sys.modules["users_module"]
    assert found is not None
    return found


def ways(before: str, inside: str) -> str:
    return TRAJECTORIES.replace("BEFORE", before).replace("INSIDE", f"    {inside}")


@pytest.mark.parametrize("way", REACHED)
def test_code_and_constants_count_by_whatever_way_they_are_reached(way: str) -> None:
    source = ways(*REACHED[way])
    assert digest_of(source) == digest_of(source)
    assert digest_of(source) == digest_of(source.replace('"""Documented."""', '"""Otherwise."""'))
    assert digest_of(source.replace("OLD", "NEWER")) != digest_of(source)


NESTED = """
class Mine:
    def generate(self):
        def inner():
            "Inner."
            return 1
        class Inside:
            "Inside."
            def method(self): return self.x
        return inner, Inside
"""


@pytest.mark.parametrize(
    "edit",
    [('"Inner."', '"Other."'), ('"Inside."', '"Other."'), ("        class", "\n        class")],
    ids=["docstring of a function", "docstring of a class", "a line further down"],
)
def test_the_text_of_what_is_nested_counts_for_nothing(edit: tuple[str, str]) -> None:
    assert digest_of(NESTED.replace(*edit)) == digest_of(NESTED)
    assert digest_of(NESTED.replace("return 1", "return 2")) != digest_of(NESTED)


def test_a_long_chain_of_calls_is_followed_to_its_end() -> None:
    chain = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(2000))
    source = f"{chain}\ndef f2000(): return 1\nclass Mine:\n    g = lambda self: f0()\n"
    assert digest_of(source.replace("return 1", "return 2")) != digest_of(source)


def test_parameters_count() -> None:
    sources = [
        f"class Mine:\n    def f(self{more}): return a, b\n"
        for more in (", a, b", ", b, a", ", a, *, b", ", a, b, /", ", a, *b")
    ]
    assert len({digest_of(source) for source in sources}) == len(sources)


CACHE: dict[str, Any] = {}


class Entry:
    def __init__(self) -> None:
        self.calls = 0

    def go(self) -> int:
        return self.calls


KEPT = Entry()


class Filling:
    def __init__(self) -> None:
        self.steps: list[Any] = []

    def generate(self, memo: dict[str, Any] = {}) -> None:  # noqa: B006 - this is about it
        CACHE["a"] = globals()["Unnamed"]()
        memo["a"] = CACHE["a"]
        self.steps.append(CACHE["a"])
        KEPT.calls += 1


class Unnamed:
    def go(self) -> int:
        return 1


def test_objects_that_a_run_caches_are_no_change_of_code() -> None:
    one = Filling()
    before = code_digest(one)
    one.generate()
    assert (len(CACHE), KEPT.calls, len(one.steps)) == (1, 1, 1)
    assert code_digest(one) == before


def test_what_is_bound_anew_on_an_object_is_seen() -> None:
    one = Filling()
    before = code_digest(one)
    one.steps = [Unnamed()]
    assert code_digest(one) != before


def test_values_that_a_component_holds_are_left_to_its_fingerprint() -> None:
    one, two = Filling(), Filling()
    vars(one)["temperature"] = 0.5
    assert code_digest(one) == code_digest(two)


def test_what_themis_ships_is_not_the_components_code() -> None:
    generator = ScriptedGenerator(failures={"c": ProviderError("no")})
    before = code_digest(generator)
    generator.failures = {}
    assert code_digest(generator) == before


# ── In processes of their own ─────────────────────────────────────────────────────────────────────

FILES = {
    "text.txt": "one two three",
    "helper.py": "LIMIT = 0\n\ndef text():\n    from other import last\n    return last()\n",
    "other.py": "def last():\n    return 'last'\n",
    "pkg/__init__.py": "",
    "pkg/deep.py": "DEEP = 'deep'\n",
    "pkg/mine.py": (
        "class Mine:\n    def generate(self):\n        from .deep import DEEP\n"
        "        from . import near\n        import pkg.far as far\n"
        "        return DEEP, near.NEAR, far.FAR\n"
    ),
    "pkg/near.py": "NEAR = 'near'\n",
    "pkg/far.py": "FAR = 'far'\n",
    "script.py": """
import json, random, sys, time, uuid, datetime, os
from pathlib import Path
from time import time as clock
from themis.planning.code.digest import code_digest

DELAY = 60
STARTED = clock()
LATER = STARTED + DELAY
PID = f"{os.getpid():d}"
RUN = {"id": uuid.uuid4().hex, "kind": "kind"}
TODAY = datetime.datetime.now().isoformat()
TEXT = Path("text.txt").read_text()
DRAWN = random.Random(7).sample(TEXT.split(), 3)

class Clock:
    def __init__(self, step):
        self.at = time.perf_counter()
        self.step = step

CLOCK = Clock("step")

def first(): return {"x", "y", "z"}
def second(): return 2
TABLE = {first, second}

class Mine:
    made = time.time_ns()

    def generate(self):
        from helper import LIMIT, text
        return STARTED, PID, RUN, LATER, TODAY, DRAWN, CLOCK.step, TABLE, text(), LIMIT

if sys.argv[2:] == ["pkg"]:
    from pkg.mine import Mine
Path(sys.argv[1]).write_text(json.dumps(code_digest(Mine())))
""",
}
EDITS = {
    "a file that is read": ("text.txt", "three", "four"),
    "a function imported inside": ("other.py", "'last'", "'other'"),
    "a constant imported inside": ("helper.py", "LIMIT = 0", "LIMIT = 1"),
    "what a moment is made of": ("script.py", "DELAY = 60", "DELAY = 61"),
    "how a moment is made": ("script.py", "STARTED + DELAY", "STARTED - DELAY"),
    "a constant beside a random one": ("script.py", '"kind": "kind"', '"kind": "other"'),
    "a constant beside a moment": ("script.py", 'Clock("step")', 'Clock("steps")'),
    "a function in a set": ("script.py", "return 2", "return 3"),
}
PKG_EDITS = {
    "from a module nearby": ("pkg/deep.py", "'deep'", "'deeper'"),
    "a module nearby": ("pkg/near.py", "'near'", "'nearer'"),
    "a module by its whole name": ("pkg/far.py", "'far'", "'farther'"),
}


def digest_in(folder: Path, kind: str, seed: int) -> str:
    env = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "script.py", "out.json", kind]
    subprocess.run(command, cwd=folder, env=env, check=True)
    found: str = json.loads((folder / "out.json").read_text())
    return found


@pytest.mark.parametrize("kind", ["script", "pkg"])
def test_a_process_of_its_own_gives_the_same_digest_until_code_changes(
    tmp_path: Path, kind: str
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    first = digest_in(tmp_path, kind, seed=1)
    assert [digest_in(tmp_path, kind, seed) for seed in (2, 3)] == [first, first]
    for what, (name, old, new) in (PKG_EDITS if kind == "pkg" else EDITS).items():
        (tmp_path / name).write_text(FILES[name].replace(old, new))
        assert (tmp_path / name).read_text() != FILES[name]
        assert digest_in(tmp_path, kind, seed=1) != first, what
        (tmp_path / name).write_text(FILES[name])
    assert digest_in(tmp_path, kind, seed=1) == first
