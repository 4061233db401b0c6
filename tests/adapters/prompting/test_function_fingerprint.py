"""A function's fingerprint follows its behaviour, and is refused where that cannot be seen.

Covers: themis.adapters.prompting, themis.adapters.prompting.function_fingerprint
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from themis.adapters.prompting.function_fingerprint import fingerprint_function
from themis.core.errors import DefinitionError

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a loader of modules: each text in a file of its own, under one module name."""
    count = 0

    def make(text: str) -> ModuleType:
        nonlocal count
        count += 1
        path = tmp_path / f"own_{count}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("own", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["own"] = module
        spec.loader.exec_module(module)
        return module

    return make


PLAIN = "def build(case):\n    return case.input\n"


def test_the_same_function_elsewhere_in_a_file_is_the_same(load: Load) -> None:
    moved = f"# a comment\nX = 1\n\n{PLAIN}\n\ndef other():\n    pass\n"
    assert _of(load, PLAIN) == _of(load, moved)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, PLAIN.replace("input", "metadata")),
        ("def build(case, n=1):\n    return n\n", "def build(case, n=2):\n    return n\n"),
        ("def build(case, *, n=1):\n    return n\n", "def build(case, *, n=2):\n    return n\n"),
        ("T = 'a'\ndef build(case):\n    return T\n", "T = 'b'\ndef build(case):\n    return T\n"),
        *(
            (
                f"T = {a}\ndef build(case):\n    return T\n",
                f"T = {b}\ndef build(case):\n    return T\n",
            )
            for a, b in [
                ("(1, 2)", "(1, 3)"),
                ("(1, 2)", "[1, 2]"),
                ("{1: 'a'}", "{1: 'b'}"),
                ("{1: 'a'}", "{'1': 'a'}"),
                ("{'k': ({1, 2},)}", "{'k': ({1, 3},)}"),
            ]
        ),
        (
            "def part():\n    return 1\ndef build(case):\n    return part()\n",
            "def part():\n    return 2\ndef build(case):\n    return part()\n",
        ),
        (
            "def make(n):\n  def build(case):\n    return n\n  return build\nbuild = make(1)\n",
            "def make(n):\n  def build(case):\n    return n\n  return build\nbuild = make(2)\n",
        ),
        (
            "import functools\ndef f(n, case):\n    return n\nbuild = functools.partial(f, 1)\n",
            "import functools\ndef f(n, case):\n    return n\nbuild = functools.partial(f, 2)\n",
        ),
        ("build = lambda case: case.input\n", "build = lambda case: case.metadata\n"),
    ],
)
def test_what_changes_behaviour_changes_the_fingerprint(load: Load, one: str, other: str) -> None:
    assert _of(load, one) != _of(load, other)


def test_a_set_of_the_module_is_the_same_in_any_order(load: Load) -> None:
    one, other = (
        "T = {" + items + "}\ndef build(case):\n    return T\n" for items in ("8, 0", "0, 8")
    )
    assert _of(load, one) == _of(load, other)


def test_what_is_no_data_in_a_module_is_told_by_its_name_only(load: Load) -> None:
    """It is no reason to refuse: most modules hold a logger or a client."""
    one, other = (
        f"import re\nT = (re.compile('{text}'),)\ndef build(case):\n    return T\n" for text in "ab"
    )
    assert _of(load, one) == _of(load, other)


def test_a_lambda_is_itself_whatever_stands_around_it(load: Load) -> None:
    one = "build = lambda case: case.input\n"
    other = "def call(x, n): return x\nbuild = call(lambda case: case.input, n=(1,\n 2))\n"
    assert _of(load, one) == _of(load, other)


def test_functions_that_call_each_other_have_a_fingerprint(load: Load) -> None:
    text = "def odd(n):\n    return even(n)\ndef even(n):\n    return odd(n)\nbuild = odd\n"
    assert _of(load, text) == _of(load, text)


DECORATED = """
import functools
def polite(fn):
    @functools.wraps(fn)
    def wrapper(case):
        return "please " + fn(case)
    return wrapper
@polite
def build(case):
    return case.input
"""
DEFAULT = "def build(case, words=['a']):\n    return words\n"
NESTED = """
def make():
    def build(n):
        return 0 if n == 0 else build(n - 1)
    return build
build = make()
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DECORATED, DECORATED.replace("please", "kindly")),  # the decorator's own code
        (DECORATED, DECORATED.replace("case.input", "case.case_id")),  # what it wraps
        (DEFAULT, DEFAULT.replace("'a'", "'a', 'b'")),
        (NESTED, NESTED.replace("n - 1", "n - 2")),
    ],
)
def test_what_a_function_holds_is_part_of_it(load: Load, one: str, other: str) -> None:
    assert _of(load, one) == _of(load, one)
    assert _of(load, one) != _of(load, other)


def test_a_decorated_function_is_not_the_plain_one(load: Load) -> None:
    plain = DECORATED.replace("@polite\n", "")
    assert _of(load, DECORATED) != _of(load, plain)


def test_a_mutable_default_counts_as_it_is_when_the_fingerprint_is_made(load: Load) -> None:
    build = load("def build(case, seen=[]):\n    seen.append(case)\n    return seen\n").build
    before = fingerprint_function(build)
    build("x")
    assert fingerprint_function(build) != before


def test_a_default_that_is_no_json_value_is_refused(load: Load) -> None:
    build = load("def build(case, seen=set()):\n    return seen\n").build
    with pytest.raises(DefinitionError, match="has a default that is no JSON value"):
        fingerprint_function(build)


def test_a_bound_method_is_refused_for_the_state_that_no_source_tells() -> None:
    with pytest.raises(DefinitionError, match="is bound to a Holder, whose state is not seen"):
        fingerprint_function(Holder().method)


def test_a_callable_object_is_refused_for_the_state_that_no_source_tells() -> None:
    with pytest.raises(DefinitionError, match="the function Calling is a Calling"):
        fingerprint_function(Calling())


def test_a_cached_function_is_refused_for_the_state_that_no_source_tells() -> None:
    with pytest.raises(DefinitionError, match="whose behaviour cannot be seen"):
        fingerprint_function(functools.lru_cache(lambda case: case))


class Calling:
    def __call__(self, case: Any) -> Any:
        return case


class Holder:
    def method(self, case: Any) -> Any:
        return case


def test_what_cannot_be_seen_is_refused_and_fingerprint_is_asked_for(load: Load) -> None:
    two = load("pair = (lambda case: 1, lambda case: 2)\n").pair
    marker = object()
    namespace: dict[str, Any] = {}
    exec("def build(case): return 1", namespace)
    unseen: list[Any] = [
        print, Holder().method, Holder, two[0], lambda case: marker,
        functools.partial(lambda case, x: x, x=marker), namespace["build"],
    ]  # fmt: skip
    for fn in unseen:
        with pytest.raises(DefinitionError, match="give fingerprint="):
            fingerprint_function(fn)
        assert fingerprint_function(fn, "v1") == fingerprint_function(print, "v1")


def _of(load: Load, text: str) -> str:
    return fingerprint_function(load(text).build)
