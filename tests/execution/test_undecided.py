"""What cannot be decided of an answer counts as the model's; what says nothing of it is an error.

Covers: themis.execution.undecided
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.heavy import HeavyMetric, HurriedMetric, ReadingMetric
from tests.support.runs import experiment
from themis import RunResult, use
from themis.core.models import Case, Dataset, ParsedOutput, Score
from themis.testing.scripted import ScriptedGenerator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")

_ENDLESS = "(a+)+$"
_HOSTILE = "a" * 64 + "!"


def _run(*outputs: Any, gold: Any = "a", **parts: Any) -> RunResult:
    cases = [
        Case(case_id=f"c{n}", input=one, expected_output=gold) for n, one in enumerate(outputs)
    ]
    generator = ScriptedGenerator(lambda case, ctx: case.input)
    settings = {"cpu_timeout": 1.0, "cpu_workers": 1, **parts}
    data = Dataset(dataset_id="data", cases=cases)
    return experiment(generator, cases=data, **settings).run()


def _outcomes(result: RunResult) -> list[str]:
    return [row.outcome for row in result.score_rows()]


@pytest.mark.parametrize(
    "parts",
    [
        {"parser": use("builtin/regex", pattern=_ENDLESS), "metrics": [use("builtin/exact_match")]},
        {"metrics": [use("builtin/regex_match", pattern=_ENDLESS)]},
        {"metrics": [use("builtin/regex_match")], "gold": _ENDLESS},
        {"metrics": [use("builtin/exact_match", regexes_to_ignore=[_ENDLESS])]},
    ],
)
def test_an_answer_on_which_a_users_pattern_hangs_is_incorrect_and_the_run_ends(
    parts: dict[str, Any],
) -> None:
    result = _run("a", _HOSTILE, "b", **parts)
    assert result.status == "completed"
    _, hostile, _ = result.score_rows()
    assert hostile.outcome == "incorrect"
    assert "no answer within 1 s" in (hostile.error_message or "")
    assert len([note for note in result.notes if "came to no verdict on 1 answer" in note]) == 1


@pytest.mark.parametrize(
    ("schema", "hostile"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, f'"{_HOSTILE}"'),
        ({"patternProperties": {"^(a+)+$": {}}, "type": "object"}, f'{{"{_HOSTILE}": 1}}'),
        (
            {"uniqueItems": True, "type": ["array", "string"]},
            "[" + ",".join(f'{{"a":[{n}]}}' for n in range(6000)) + "]",
        ),
    ],
)
def test_an_answer_on_which_a_schema_hangs_is_unparsed(
    schema: dict[str, Any], hostile: str
) -> None:
    parser = use("builtin/json", schema=schema)
    result = _run('"a"', hostile, parser=parser, metrics=[use("builtin/exact_match")])
    assert result.status == "completed"
    _, row = result.score_rows()
    assert (row.outcome, row.error_category) == ("incorrect", "parse_failure")
    assert "no answer within 1 s" in (row.error_message or "")


def test_what_an_answer_uses_up_is_a_result_that_no_later_run_works_out_again() -> None:
    generator = ScriptedGenerator(lambda case, ctx: case.input)
    kinds = ["memory", "loop", "sigkill", "recursion", "overflow", "exit"]
    data = Dataset(
        dataset_id="data", cases=[Case(case_id=one, input=one) for one in [*kinds, "fine"]]
    )
    one = experiment(generator, cases=data, metrics=[ReadingMetric()], cpu_workers=1)
    first = one.run()
    rows = {row.case_id: row for row in first.score_rows()}
    assert {kind: rows[kind].outcome for kind in kinds} == dict.fromkeys(kinds, "incorrect")
    assert {rows[kind].error_category for kind in kinds} == {"undecided"}
    assert rows["fine"].outcome == "correct"
    assert first.status == "completed"
    before = len(list(one.store.events(one.compile().run_id)))
    assert one.run().status == "completed"
    events = list(one.store.events(one.compile().run_id))[before:]
    assert not [event for event in events if event.kind == "step_done"]


def test_lines_that_no_memory_would_hold_are_incorrect_and_not_compared() -> None:
    metric = use("builtin/rouge", variant="rougeLsum")
    result = _run("a b " * 50_000, "a b", metrics=[metric], gold="a b " * 500, cpu_timeout=30.0)
    long, short = result.score_rows()
    assert (long.value, long.error_category) == (0.0, "undecided")
    assert "lines of 1000 and 100000 words are too long together" in (long.error_message or "")
    assert (short.outcome, short.error_category) == ("scored", None)


@pytest.mark.parametrize("kind", ["loop", "memory", "sigkill", "recursion", "overflow"])
def test_what_any_answer_would_use_up_is_an_error(kind: str) -> None:
    """The case's input says what goes wrong: it is the case's, or the part's, and no answer's."""
    cases = [Case(case_id="c0", input=kind, expected_output=0)]
    metric = HurriedMetric() if kind == "loop" else HeavyMetric()
    result = experiment(cases=Dataset(dataset_id="data", cases=cases), metrics=[metric]).run()
    assert _outcomes(result) == ["error"]
    assert result.status != "completed"


def test_a_worker_that_was_ended_from_outside_is_no_answers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEAVY_CHILD", str(tmp_path / "told"))
    assert _outcomes(_run("sigkill once", metrics=[ReadingMetric()])) == ["correct"]


class _Here:
    """A metric on the loop that goes as deep as the answer says."""

    component_id, version, kind = "here", "1", "binary"

    def __init__(self, always: bool) -> None:
        self.always = always

    def fingerprint(self) -> str:
        return str(self.always)

    def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
        if self.always or parsed.value == "deep":
            return self.score(parsed, case, ctx)
        return Score(metric_id="here", value=1)


@pytest.mark.parametrize(("always", "outcome"), [(False, "incorrect"), (True, "error")])
def test_the_same_holds_for_a_part_that_runs_on_the_loop(always: bool, outcome: str) -> None:
    assert _outcomes(_run("deep", metrics=[_Here(always)])) == [outcome]
