"""Paths into JSON answers: what is spelled is found, and what is missing is told.

Covers: themis.adapters.http.json_path
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis.adapters.http.json_path import JsonPath, spell
from themis.core.errors import DefinitionError

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
STEPS = st.lists(KEYS | st.integers(0, 3), max_size=5)


def _around(steps: list[Any], value: Any) -> Any:
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    return value


@given(STEPS)
def test_what_is_spelled_is_found(steps: list[Any]) -> None:
    path = JsonPath(spell(steps), "answer")
    assert path.steps == steps
    assert path.find(_around(steps, "here")) == (True, "here")


@given(STEPS.filter(bool))
def test_what_is_not_there_is_not_found(steps: list[Any]) -> None:
    assert JsonPath(spell(steps), "answer").find(_around(steps[:-1], 7)) == (False, None)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (".", []),
        ("reply", ["reply"]),
        ("choices[0].message.content", ["choices", 0, "message", "content"]),
        ("[-1].text", [-1, "text"]),
        ('data["the answer"]', ["data", "the answer"]),
        ("data['the answer'][1]", ["data", "the answer", 1]),
        ("größe.x-y", ["größe", "x-y"]),
        ('["a\\"b"]', ['a"b']),
    ],
)
def test_paths_are_read(text: str, steps: list[Any]) -> None:
    assert JsonPath(text, "answer").steps == steps


@pytest.mark.parametrize(
    "text",
    ["", "..", "a..b", ".a", "a.", "a b", "a[", "a[x]", "a[]", "0a", "$.a", "a.[0]", 7, None],
)
def test_what_is_no_path_is_refused(text: Any) -> None:
    with pytest.raises(DefinitionError, match=r"answer = .* is no path: write one such as"):
        JsonPath(text, "answer")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"data": {"text": 1, "id": 2}}, "'data' has text, id"),
        ({"error": "no"}, "the answer has error"),
        ({}, "the answer has no keys"),
        ({"data": None}, "'data' is null"),
        ({"data": "x"}, "'data' is text"),
        ([1, 2], "the answer is a list of 2"),
    ],
)
def test_what_is_there_in_place_of_the_missing_is_told(data: Any, said: str) -> None:
    assert JsonPath("data.reply", "answer").missing(data) == said
