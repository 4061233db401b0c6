"""exact_match and choice_accuracy by themselves: what counts as equal, and what is an error.

Covers: themis.catalog.metrics.gold, themis.catalog.metrics.match
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from themis import evaluate, use
from themis.adapters import function
from themis.catalog.metrics.match import ChoiceAccuracy, ExactMatch
from themis.catalog.registry import make
from themis.core.config import StorageConfig
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError


def _score(metric: Any, value: Any, expected: Any, context: Callable[[Case], ScoreContext]) -> Any:
    case = Case(case_id="case-1", input="q", expected_output=expected)
    return metric.score(ParsedOutput(value=value), case, context(case))


@pytest.mark.parametrize(
    ("value", "expected", "points"),
    [
        ({"answer": "4"}, {"answer": "4"}, 1), (4, 4.0, 1), ("4", 4, 0), ("a", "A", 0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1), ([1, 2], [2, 1], 0), (True, 1, 0), (-0.0, 0, 1),
    ],
)  # fmt: skip
def test_exact_match_compares_json_values(
    score_context: Callable[[Case], ScoreContext], value: Any, expected: Any, points: float
) -> None:
    score = _score(ExactMatch(), value, expected, score_context)
    assert isinstance(score, Score)
    assert score.value == points


@pytest.mark.parametrize("metric", [ExactMatch(), ChoiceAccuracy()])
def test_a_case_without_a_gold_answer_cannot_be_scored(
    score_context: Callable[[Case], ScoreContext], metric: Any
) -> None:
    error = _score(metric, "4", None, score_context)
    assert isinstance(error, ScoreError)
    assert error.reason == "case 'case-1' has no expected_output to compare with"


@pytest.mark.parametrize(
    ("value", "expected", "points"),
    [("B", "B", 1), ("b", "B", 1), ("B", "(b)", 1), ("B", 1, 1), ("A", 1, 0),
     ("B", 1.0, 1), (1.0, "B", 1), (1.5, "B", 0),
     ("B", {"answer": "b"}, 1), ({"answer": "B"}, "B", 1), ("Paris", "B", 0), (None, "B", 0)],
)  # fmt: skip
def test_choice_accuracy_compares_letters(
    score_context: Callable[[Case], ScoreContext], value: Any, expected: Any, points: float
) -> None:
    score = _score(ChoiceAccuracy(), value, expected, score_context)
    assert isinstance(score, Score)
    assert score.value == points


def test_a_value_that_names_no_option_is_incorrect_and_said(
    score_context: Callable[[Case], ScoreContext],
) -> None:
    score = _score(ChoiceAccuracy(), "Paris", "B", score_context)
    assert score.details["note"] == "the parsed value names no option"


def test_positions_may_count_from_one(score_context: Callable[[Case], ScoreContext]) -> None:
    assert _score(ChoiceAccuracy(first_index=1), "A", 1, score_context).value == 1


@pytest.mark.parametrize("expected", ["Paris", -1, 26, True, {"gold": "A"}, 1.5])
def test_a_gold_answer_that_names_no_option_is_a_score_error(
    score_context: Callable[[Case], ScoreContext], expected: Any
) -> None:
    assert isinstance(_score(ChoiceAccuracy(), "A", expected, score_context), ScoreError)


# ── zeros that say nothing of the model ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metric", "answer", "right", "said"),
    [
        ("exact_match", "4", 4, 'parser="builtin/number"'),
        ("exact_match", 18, "18", "write the expected output as"),
        ("exact_match", "yes", True, "a boolean"),
        ("exact_match", "Paris", ["Paris", "paris"], "any_of=True"),
        ("exact_match", '{"a": 1}', {"a": 1}, 'parser="builtin/json"'),
        ("exact_match", "18", "3 * 6 = 18\n#### 18", "a worked solution"),
        ("json_match", "[1]", [1], 'parser="builtin/json"'),
        ("numeric", "It is 4.", 4, 'parser="builtin/number"'),
        ("choice_accuracy", "The answer is B.", "B", 'parser="builtin/choice_letter"'),
        ("contains", "18", "He has 18.\n#### 18", "a worked solution"),
        ("math_equivalence", "18", "3 * 6 = 18\n#### 18", "a worked solution"),
        ("exact_match", "4", "5", None),
        ("exact_match", 4, 5.0, None),
        ("exact_match", "", 5, None),
        ("exact_match", "#### 17", "3 * 6\n#### 18", None),
        ("exact_match", "x", "#### Heading", None),
        ("numeric", "3", 4, None),
        ("numeric", "", 4, None),
        ("choice_accuracy", "C", "B", None),
        ("contains", "18", "19", None),
    ],
)
def test_a_zero_that_could_be_no_other_is_told_with_the_way_out(
    metric: str, answer: Any, right: Any, said: str | None
) -> None:
    made: Any = make(f"builtin/{metric}", "metric")[0]
    why = made.why_unequal(answer, right)
    assert why is None if said is None else said in why


def test_a_run_tells_of_such_zeros_once_with_an_example() -> None:
    data = [{"input": one, "expected_output": int(one)} for one in ("4", "12")]
    data.append({"input": "x", "expected_output": "x"})
    metrics: list[Any] = [
        "builtin/exact_match",
        use("builtin/exact_match", name="read", parser="builtin/text"),
    ]
    result = evaluate(
        model=function(lambda text: text, version="1"),
        data=data,
        metric=metrics,
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    notes = [note for note in result.notes if "builtin/exact_match" in note]
    assert len(notes) == 1, notes
    assert "gave 2 answers 0" in notes[0]
    assert "'4' beside 4" in notes[0]
