"""Questions for a real model, and what the tests ask of its answers."""

from __future__ import annotations

from typing import Any

from tests.support.runs import experiment
from themis import RunResult
from themis.core.base import JSONObject, JSONValue
from themis.core.models import Case, Dataset, GenerationResult

MODES = ("responses", "chat_completions")
"""The two APIs, by the names that adapters take."""

COLOUR: JSONObject = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
"""A schema that hardly any free answer fits."""

AS_COLOUR: JSONObject = {
    "type": "json_schema",
    "json_schema": {"name": "colour", "strict": True, "schema": COLOUR},
}
"""The same as the sampling parameter ``response_format``."""


def ask(generator: Any, *inputs: JSONValue, samples: int = 1, **settings: Any) -> RunResult:
    """Put each input to a generator, as a run that scores nothing."""
    cases = [Case(case_id=f"q{number}", input=given) for number, given in enumerate(inputs)]
    return experiment(
        generator,
        cases=Dataset(dataset_id="questions", cases=cases),
        metrics=[],
        samples=samples,
        **settings,
    ).run()


def answers(result: RunResult) -> list[GenerationResult]:
    """Return every answer, by case and sample."""
    return [answer for case in result.cases for answer in case.generated_candidates]


def texts(result: RunResult) -> list[Any]:
    """Return what was said, by case and sample."""
    return [answer.final_output for answer in answers(result)]


def counted(answer: GenerationResult) -> tuple[int, int]:
    """Return prompt and completion tokens as the server's own answer gives them."""
    usage = (answer.artifacts or {})["raw_response"]["usage"]
    return (
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens")),
    )
