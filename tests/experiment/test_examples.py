"""The examples run as a reader runs them, and print what they are there to show.

Covers: examples
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED: dict[str, dict[str, Any]] = {
    "custom_generator": {"status": "completed", "accuracy": 1.0},
    "langgraph_adapter": {"status": "completed", "steps": ["plan", "answer"], "answer": "4"},
    "openai_adapter": {
        "status": "completed",
        "answer": "4",
        "artifact_keys": [
            "provider_request_id", "rate_limit", "raw_response", "request", "response_headers",
        ],
        "request": {
            "model": "stand-in-model",
            "input": "A question:\nWhat is 2+2?",
            "instructions": "Answer with only the final number.",
            "temperature": 0.2,
            "max_output_tokens": 16,
        },
    },
    "vllm_adapter": {"status": "completed", "api_mode": "chat_completions", "answer": "2"},
}  # fmt: skip
ELSEWHERE = {"real_model"}
"""Run by the tests that have a real model."""


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_shows_and_the_same_run_each_time(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = []
    for _ in range(2):
        runpy.run_module(f"examples.{name}", run_name="__main__")
        shown = ast.literal_eval(capsys.readouterr().out)
        ids.append(shown.pop("run_id"))
        assert shown == PRINTED[name]
    assert len(ids[0]) == 32
    assert ids[0] == ids[1]


def test_no_example_is_left_out() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    assert there == set(PRINTED) | ELSEWHERE
