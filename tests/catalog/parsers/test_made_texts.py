"""What reads answers reads nothing that was not put there: a small share of ``benchmarks.fuzz``.

Covers: themis.catalog.parsers.answers_in_text, themis.catalog.parsers.answer_phrases,
themis.catalog.parsers.choices, themis.catalog.parsers.code_blocks, themis.catalog.parsers.formulas,
themis.catalog.parsers.number_said, themis.catalog.numbers_in_text, themis.catalog.thoughts
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.fuzz import parts, tried
from tests.support.made_texts import made_texts

PARTS = list(parts())
TEXTS = made_texts(400, seed=2)


@pytest.mark.parametrize(("name", "part", "component"), PARTS, ids=[name for name, *_ in PARTS])
def test_a_part_reads_only_what_was_put_there(name: str, part: str, component: Any) -> None:
    told = tried(name, part, component, TEXTS)
    assert not told.otherwise
    assert not told.raised


def test_every_parser_is_tried_and_reads_something() -> None:
    tried_parts = {part for _, part, _ in PARTS}
    assert {"builtin/number", "builtin/choice_letter", "builtin/math_equivalence"} <= tried_parts
    assert not [part for part in tried_parts if ".code" in part or "judge" in part]
