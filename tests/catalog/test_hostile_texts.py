"""No parser and no metric raises anything on texts that are made to exhaust it, but its own words.

Covers: themis.catalog.table
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.support.hostile_texts import kinds
from themis.catalog.registry import make
from themis.catalog.table import CATALOG
from themis.core.config import use
from themis.core.contexts import ParseContext, ScoreContext
from themis.core.errors import ParseError
from themis.core.models import Case, GenerationResult, ParsedOutput, Score

_NEEDED = {"builtin/regex": {"pattern": r"\d+"}}


def test_there_are_kinds_enough_and_each_is_as_long_as_is_asked() -> None:
    texts = [one.of(5_000) for one in kinds()]
    assert len(set(texts)) >= 250
    assert all(4_500 <= len(text) <= 5_100 for text in texts)


@pytest.mark.parametrize("part", CATALOG["parser"])
def test_a_parser_reads_something_or_says_that_it_does_not(
    part: str, parse_context: ParseContext
) -> None:
    parser, _ = make(use(part, **_NEEDED.get(part, {})), "parser")
    for kind in kinds():
        candidate = GenerationResult(candidate_id="c", final_output=kind.of(1_500))
        with suppress(ParseError):
            assert isinstance(parser.parse(candidate, parse_context), ParsedOutput), kind.name


@pytest.mark.parametrize(
    ("metric", "gold"),
    [
        ("exact_match", "5"),
        ("contains", "5"),
        ("f1", "5 apples"),
        ("levenshtein", "5 apples"),
        ("chrf", "5 apples"),
        ("bleu", "5 apples"),
        ("rouge", "5 apples"),
        ("numeric", 5),
        ("choice_accuracy", "A"),
        ("json_match", {"a": [5]}),
    ],
)
def test_a_metric_gives_any_answer_a_score(
    metric: str, gold: Any, score_context: Callable[[Case], ScoreContext]
) -> None:
    made, _ = make(use(f"builtin/{metric}"), "metric")
    case = Case(case_id="c", input="q", expected_output=gold)
    for kind in kinds():
        found = made.score(ParsedOutput(value=kind.of(1_500)), case, score_context(case))
        assert isinstance(found, Score), kind.name
