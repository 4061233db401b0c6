"""Keys: two steps share one exactly if all that they depend on is equal, in every process.

Covers: themis.planning.keys
"""

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
from themis.core.events import Stage, StepAddress
from themis.core.hashing import canonical, digest_parts, digest_value, text
from themis.core.models import Case, Message
from themis.core.prompts import PromptSpec
from themis.core.snapshot import ComponentRef, MetricFacts
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


MADE: list[tuple[keys.KeyKind, Any]] = [
    (keys.GENERATION, lambda a, b, c, d, e: keys.generate_key(a, b, c, 0, None)),
    (keys.SELECTION, lambda a, b, c, d, e: keys.select_key(a, [b], c, [d])),
    (keys.REDUCTION, lambda a, b, c, d, e: keys.reduce_key(a, [b], [c], d)),
    (keys.PARSE, lambda a, b, c, d, e: keys.parse_key(a, b, c)),
    (keys.SCORE, lambda a, b, c, d, e: keys.score_key(a, b, c, d)),
    (keys.SET_SCORE, lambda a, b, c, d, e: keys.set_score_key(a, [b], [c], d, e)),
    (keys.JUDGE_CALL, lambda a, b, c, d, e: keys.judge_call_key(a, "?", 1, 0)),
    (keys.JUDGED, lambda a, b, c, d, e: keys.aggregate_key(a, b, c, d, e, [])),
]


@pytest.mark.parametrize(("kind", "make"), MADE, ids=lambda one: getattr(one, "parts", [""])[0])
def test_a_key_is_made_of_as_many_parts_as_its_kind_names(
    kind: keys.KeyKind, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, Any]] = []

    def record(name: str, parts: Any) -> bytes:
        made.append((name, parts))
        return digest_parts(name, parts)

    monkeypatch.setattr(keys, "digest_parts", record)
    make(*(digest_value("x", n) for n in range(5)))
    name, parts = made[-1]
    assert len(parts) == len(kind.parts)
    assert kind.key(*parts) == text(digest_parts(name, parts))


ELSEWHERE = """
import json, sys
from themis.core.events import Stage, StepAddress
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


PARTS = ("input", "expected_output", "metadata")


@pytest.mark.parametrize("reads", [{PARTS[0], PARTS[1]}, {PARTS[0], PARTS[2]}, {*PARTS[1:]}, set()])
@pytest.mark.parametrize("changed", PARTS)
def test_a_key_covers_the_parts_of_a_case_that_are_read_and_no_others(
    reads: set[str], changed: str
) -> None:
    case = {"case_id": "1", "input": "a", "expected_output": "b", "metadata": {"c": 1}}
    other = {**case, changed: {"another": 2}}
    digests = [keys.CaseDigests(Case(**one)).read_by(frozenset(reads)) for one in (case, other)]
    assert (digests[0] != digests[1]) == (changed in reads)


def test_equal_judges_and_a_judges_repeats_are_asked_each_for_itself() -> None:
    judge = digest_value("x", "judge")
    asked = [
        keys.judge_call_key(judge, "Is it right?", 7, repeat, duplicate)
        for repeat in (0, 1)
        for duplicate in (0, 1)
    ]
    assert len(set(asked)) == 4


def test_seeds_are_the_users_or_derived_below_two_to_the_31() -> None:
    assert keys.sample_seed([5, 6], "c", 1) == 6
    drawn = {keys.sample_seed([], case, sample) for case in "abcdefgh" for sample in range(32)}
    assert len(drawn) == 256
    assert all(0 <= one < 2**31 for one in drawn)


@pytest.mark.parametrize(
    "change",
    [
        {"higher_is_better": False},
        {"scores_refusals": True},
        {"kind": "binary"},
        {"unparsed": "error"},
    ],
)
def test_a_metric_that_declares_otherwise_is_another_one(change: dict[str, Any]) -> None:
    def ref(**facts: Any) -> ComponentRef:
        return ComponentRef(
            role="metric",
            name="m",
            component_id="m",
            version="1",
            fingerprint="f",
            params={},
            metric=MetricFacts(**facts),
        )

    assert keys.component_digest(ref()) != keys.component_digest(ref(**change))


def test_a_trajectory_a_reason_and_a_failure_are_part_of_what_is_read() -> None:
    talk = [Message(role="user", content="Hi")]
    assert keys.content_digest("a", None, talk) != keys.content_digest("a")
    content = keys.content_digest("a")
    assert keys.refused_digest(content, "x") != keys.refused_digest(content, "y")
    assert keys.scored_digest(0.0, {}, "refused") != keys.scored_digest(0.0, {}, None)


def test_an_empty_spec_is_none_and_a_metric_that_folds_has_keys_of_its_kind() -> None:
    assert keys.prompt_digest(PromptSpec()) == keys.prompt_digest(None) == keys.NOTHING
    score = StepAddress(Stage.SCORE, None, "m")
    assert keys.key_kind(score, folds=True) is keys.SET_SCORE
    assert keys.key_kind(score) is keys.SCORE
