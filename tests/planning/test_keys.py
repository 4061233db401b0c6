"""Keys: two steps share one exactly if all that they depend on is equal, in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_hashing import TEXT, VALUES, same
from themis.core.hashing import canonical, digest_value, text
from themis.core.models import Case
from themis.core.snapshot import ComponentRef
from themis.planning import keys

ROOT = Path(__file__).resolve().parents[2]
NAMES = st.text(min_size=1, max_size=4).filter(str.strip)
CLOSE = st.sampled_from(["a", "b", "a\0b", "ab", "a,b", '"', "1", "1.0", "true", "é", "e\u0301"])
"""Text that careless joining, quoting or normalising would confuse."""
FIELDS = st.one_of(CLOSE, NAMES)
REFS = st.tuples(FIELDS, FIELDS, FIELDS, st.dictionaries(FIELDS, VALUES, max_size=2))
CASES = st.tuples(FIELDS, VALUES, VALUES, st.dictionaries(FIELDS, VALUES, max_size=2))
DRAWS = st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 2**31)))
GENERATIONS = st.tuples(REFS, CASES, DRAWS)
READ = frozenset({"input", "expected_output", "metadata"})


def generate_key(inputs: Any) -> str:
    """Return the key of a generation that reads the whole case."""
    (component, version, fingerprint, params), (case_id, asked, gold, metadata), draw = inputs
    ref = ComponentRef(
        role="generator",
        name="any",
        component_id=component,
        version=version,
        fingerprint=fingerprint,
        params=params,
    )
    case = Case(case_id=case_id, input=asked, expected_output=gold, metadata=metadata)
    digests = keys.CaseDigests(case)
    return keys.generate_key(keys.component_digest(ref), keys.NOTHING, digests.read_by(READ), *draw)


def plain(inputs: Any) -> Any:
    """Return inputs as the JSON value that they are."""
    return [plain(one) for one in inputs] if isinstance(inputs, tuple) else inputs


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Inputs of two generations that differ in one place at most, or in many."""
    left = draw(GENERATIONS)
    if draw(st.booleans()):
        return left, draw(GENERATIONS)
    parts = [list(part) for part in left]
    which = draw(st.integers(0, 2))
    place = draw(st.integers(0, len(parts[which]) - 1))
    other = draw(GENERATIONS)[which][place]
    parts[which][place] = other
    return left, tuple(tuple(part) for part in parts)


@settings(max_examples=300, deadline=None)
@given(pairs())
def test_two_generations_share_a_key_exactly_if_all_that_they_depend_on_is_equal(
    both: tuple[Any, Any],
) -> None:
    left, right = both
    assert (generate_key(left) == generate_key(right)) == same(plain(left), plain(right))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4), st.data())
def test_what_flows_into_one_part_of_a_key_is_never_taken_for_another(
    contents: list[str], judges: list[str], data: st.DataObject
) -> None:
    def key(contents: list[str], judges: list[str]) -> str:
        parts = [[digest_value("x", one) for one in side] for side in (contents, judges)]
        return keys.select_key(keys.NOTHING, parts[0], keys.NOTHING, parts[1])

    everything = contents + judges
    cut = data.draw(st.integers(0, len(everything)))
    moved = everything[:cut], everything[cut:]
    assert (key(contents, judges) == key(*moved)) == ((contents, judges) == moved)


KINDS = {
    "reduce": lambda a, b, c, d: keys.reduce_key(a, [b], [c], d),
    "select": lambda a, b, c, d: keys.select_key(a, [b], d, [c]),
    "score": keys.score_key,
    "generate": lambda a, b, c, d: keys.generate_key(a, b, c, 0, None),
    "parse": lambda a, b, c, d: keys.parse_key(a, b, c),
}


@given(st.lists(VALUES, min_size=4, max_size=4))
def test_steps_of_two_kinds_never_share_a_key(values: list[Any]) -> None:
    parts = [digest_value("x", value) for value in values]
    found = [make(*parts) for make in KINDS.values()]
    assert len(set(found)) == len(found)


ELSEWHERE = """
import json, sys
from themis.core.hashing import canonical, digest_value, text

for line in sys.stdin:
    value = json.loads(line)
    print(text(digest_value("x", value)), canonical(value).hex())
"""


@pytest.mark.parametrize("seed", ["0", "7", "random"])
def test_digests_do_not_depend_on_the_process_or_on_the_order_of_sets_and_dicts(
    seed: str,
) -> None:
    @settings(max_examples=2, deadline=None)
    @given(st.lists(VALUES, min_size=80, max_size=120))
    def check(values: list[Any]) -> None:
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            input="".join(json.dumps(value) + "\n" for value in values),
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        here = [f"{text(digest_value('x', value))} {canonical(value).hex()}" for value in values]
        assert done.stdout.splitlines() == here

    check()
