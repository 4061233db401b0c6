"""The digest of a component's code: what changes it, and what does not.

Covers: themis.catalog.metrics.match, themis.planning.code, themis.planning.code.constants,
themis.planning.code.digest, themis.planning.code.nondeterministic
"""

from __future__ import annotations

import gc
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from themis.catalog.metrics.match import ExactMatch
from themis.planning.code import digest
from themis.planning.code.digest import code_digest
from themis.testing.crash import CrashHarness

SOURCE = '''
"""A module."""
import re
from functools import cached_property, lru_cache, partial, wraps

LIMIT = 3
WORDS = ["a", "b"]
PATTERN = re.compile("x+")

def logged(function):
    @wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@logged
def helper(value):
    """Helps."""
    return deeper(value) + LIMIT

def deeper(value):
    return value * 2

def unrelated(value):
    return value - 1

class Tool:
    def use(self):
        return 5

TOOL = Tool()

class Base:
    factor = 10

    def shared(self):
        return self.factor

class Mine(Base):
    """Docs."""
    component_id = "mine"
    version = "1"
    kinds = {"x", "y", "z"}

    def __init__(self):
        self.tool = Tool()
        self.function = partial(deeper, 1)

    def fingerprint(self):
        return "fixed"

    @property
    def known(self):
        return WORDS

    @cached_property
    def slow(self):
        return PATTERN

    @staticmethod
    def plain(value):
        return value

    async def generate(self, case, ctx):
        """Generates."""
        found = [helper(word) for word in WORDS]
        return lambda: (found, TOOL.use(), self.shared())
'''


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


SAME = {
    "nothing": ("", ""),
    "a comment": ("    return deeper(value)", "    # why\n    return deeper(value)"),
    "blank lines": ("def deeper", "\n\n\ndef deeper"),
    "a docstring": ('"""Helps."""', '"""Helps a lot."""'),
    "the method's docstring": ('"""Generates."""', '"""Makes."""'),
    "the class's docstring": ('"""Docs."""', '"""Other docs."""'),
    "the module's docstring": ('"""A module."""', '"""Another."""'),
    "a function that is not used": ("return value - 1", "return value - 2"),
}
OTHER = {
    "the method": ("lambda: (found", "lambda: (found, 1"),
    "a helper": ("+ LIMIT", "- LIMIT"),
    "a helper's helper": ("value * 2", "value * 3"),
    "a constant": ("LIMIT = 3", "LIMIT = 4"),
    "a table": ('WORDS = ["a", "b"]', 'WORDS = ["a", "c"]'),
    "a pattern": ('compile("x+")', 'compile("x*")'),
    "a decorator": ("return function(*args)", "return function(*args) or 1"),
    "a base class's method": ("return self.factor", "return -self.factor"),
    "a base class's attribute": ("factor = 10", "factor = 11"),
    "a set on the class": ('{"x", "y", "z"}', '{"x", "y"}'),
    "a property": ("return WORDS", "return WORDS[:1]"),
    "a cached property": ("return PATTERN", "return PATTERN, 1"),
    "a static method": (
        "    def plain(value):\n        return value",
        "    def plain(value):\n        return -value",
    ),
    "a default": (
        "async def generate(self, case, ctx)",
        "async def generate(self, case, ctx, n=1)",
    ),
    "what it holds": ("partial(deeper, 1)", "partial(deeper, 2)"),
    "the class of what it holds": ("return 5", "return 6"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_change_behaviour_does_not_change_the_digest(what: str) -> None:
    assert digest_of(SOURCE.replace(*SAME[what])) == digest_of(SOURCE)


@pytest.mark.parametrize("what", OTHER)
def test_what_changes_behaviour_changes_the_digest(what: str) -> None:
    changed = SOURCE.replace(*OTHER[what])
    assert changed != SOURCE
    assert digest_of(changed) != digest_of(SOURCE)


def test_shipped_components_need_no_digest() -> None:
    assert code_digest(ExactMatch()) is None


CALLS: list[str] = []
COUNT = 0


class Counting:
    total = 0
    seen: list[int] = []  # noqa: RUF012 - state on the class is what this is about

    def __init__(self) -> None:
        self.mine = 0

    def generate(self) -> None:
        global COUNT
        COUNT += 1
        CALLS.append("called")
        Counting.total += 1
        self.seen.append(1)
        self.mine += 1


def test_what_a_run_counts_or_caches_is_no_change_of_code() -> None:
    one = Counting()
    before = code_digest(one)
    one.generate()
    one.generate()
    assert (COUNT, len(CALLS), Counting.total) == (2, 2, 2)
    assert code_digest(one) == code_digest(Counting()) == before


def test_functions_made_by_functions_differ_by_what_they_hold() -> None:
    def make(limit: int) -> Any:
        class Made:
            def generate(self) -> int:
                return limit

        return Made()

    assert code_digest(make(1)) == code_digest(make(1))
    assert code_digest(make(1)) != code_digest(make(2))


SCRIPT = """
import json, sys
from pathlib import Path
from themis.planning.code import digest
from themis.planning.code.digest import code_digest
{imports}
Path(sys.argv[1]).write_text(json.dumps(code_digest(Mine())))
"""
PARTS = {
    "package": {
        "pkg/__init__.py": "",
        "pkg/inner/__init__.py": "",
        "pkg/inner/helper.py": "def help(value):\n    return value + 1\n",
        "pkg/mine.py": (
            "from pkg.inner import helper\n\nclass Mine:\n    def generate(self, case):\n"
            "        return helper.help(case)\n"
        ),
        "script.py": SCRIPT.format(imports="from pkg.mine import Mine"),
    },
    "sibling": {
        "helper.py": "def help(value):\n    return value + 1\n",
        "script.py": SCRIPT.format(
            imports="import helper\n\nclass Mine:\n    def generate(self, case):\n"
            "        return helper.help(case)\n"
        ),
    },
}
EDITED = {"package": "pkg/inner/helper.py", "sibling": "helper.py"}


@pytest.mark.parametrize("kind", PARTS)
def test_helpers_in_other_modules_of_the_users_own_code_count(
    harness: CrashHarness, tmp_path: Path, kind: str
) -> None:
    for name, source in PARTS[kind].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)

    def digest() -> str:
        out = tmp_path / "out.json"
        outcome = harness.run(tmp_path / "script.py", [str(out)], log=tmp_path / "log")
        assert outcome.status == 0, outcome.error
        found: str = json.loads(out.read_text())
        return found

    first = digest()
    assert digest() == first
    helper = tmp_path / EDITED[kind]
    helper.write_text("# a comment\n" + helper.read_text())
    assert digest() == first
    helper.write_text(helper.read_text().replace("+ 1", "+ 2"))
    assert digest() != first


def test_a_class_attribute_that_is_set_anew_is_another_behaviour() -> None:
    class Mine:
        prompt = "Be brief."

        def generate(self) -> str:
            return self.prompt

    before = code_digest(Mine())
    Mine.prompt = "Be long."
    assert code_digest(Mine()) != before


class Value:
    pass


def test_values_that_come_while_the_others_are_looked_through_do_no_harm() -> None:
    values = [Value() for _ in range(4000)]
    for n in range(len(values)):
        digest._first(values[n], "", lambda: ("", []))

    def another(*_: object) -> None:
        values.append(Value())
        digest._first(values[-1], "", lambda: ("", []))

    before = gc.get_threshold()
    gc.callbacks.append(another)
    gc.set_threshold(1)
    try:
        digest._forget_unused()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(another)
    assert len(values) > 4000
    ids = set(map(id, values))
    assert ids <= set(digest._FIRST)
    values.clear()
    assert not ids & set(digest._FIRST)
