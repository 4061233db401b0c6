"""What the tests of this folder ask: numbered questions, whose right answer is the question."""

from __future__ import annotations

from typing import Any

import openai as sdk

from tests.support.endpoint import Endpoint
from themis.adapters import openai
from themis.adapters.model_apis.openai_compatible import OpenAIGenerator
from themis.core.models import Case, Dataset

# The adapter loads the SDK with its first call, which takes longer than some timeouts allow here:
# it is loaded now, so that no test depends on which of them comes first.
assert sdk.__version__


def questions(n: int, *, gold: str = "") -> Dataset:
    """Return n cases whose question the scripted endpoint answers with itself."""
    return Dataset(
        dataset_id="questions",
        cases=[
            Case(
                case_id=f"c{number}",
                input=f"question {number}",
                expected_output=gold or f"question {number}",
            )
            for number in range(n)
        ],
    )


def model(endpoint: Endpoint, **settings: Any) -> OpenAIGenerator:
    """Return a generator over the endpoint."""
    return openai(
        "scripted",
        **{"base_url": endpoint.url, "api_key": "key", "api_mode": "chat_completions", **settings},
    )


def number_of(question: str) -> int:
    """Return which question it is."""
    return int(question.rsplit(" ", 1)[1])
