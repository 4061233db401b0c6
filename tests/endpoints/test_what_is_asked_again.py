"""What a change makes the endpoint answer again, counted there.

Covers: themis.execution.run_or_reuse, themis.planning.keys
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.endpoints.questions import model, questions
from tests.support.endpoint import Endpoint
from tests.support.runs import experiment
from themis import InMemoryRunStore
from themis.core.prompts import PromptSpec
from themis.testing.scripted import CountingMetric

pytestmark = pytest.mark.network
CASES = 20


class Counted:
    """Runs of one store against one endpoint, each with the number of requests it made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.store = InMemoryRunStore()

    def requests(self, *, gold: str = "", sampling: Any = None, **changes: Any) -> int:
        """Run with changes and return how many requests the endpoint got."""
        before = len(self.endpoint.requests)
        one = experiment(
            model(self.endpoint, sampling=sampling or {}),
            cases=changes.pop("cases", None) or questions(CASES, gold=gold),
            **{"metrics": ["builtin/exact_match"], **changes},
        )
        result = one.run(store=self.store)
        assert result.status == "completed"
        return len(self.endpoint.requests) - before


@pytest.fixture
def counted() -> Any:
    with Endpoint() as endpoint:
        made = Counted(endpoint)
        assert made.requests() == CASES
        yield made


@pytest.mark.parametrize(
    "spec",
    [
        PromptSpec(instructions="Be brief."),
        PromptSpec(prefix="Q:"),
        PromptSpec(suffix="A:"),
        PromptSpec(blocks=[{"title": "Rules", "text": "None."}]),
        PromptSpec(template="{{ input }}!"),
    ],
    ids=["instructions", "prefix", "suffix", "blocks", "template"],
)
def test_another_prompt_asks_everything_again(counted: Counted, spec: PromptSpec) -> None:
    assert counted.requests(prompt=spec) == CASES
    assert counted.requests(prompt=spec) == 0
    assert counted.requests() == 0


def test_other_sampling_asks_everything_again(counted: Counted) -> None:
    assert counted.requests(sampling={"temperature": 0.5}) == CASES
    assert counted.requests(sampling={"temperature": 0.5}) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ["builtin/choice_accuracy"]},
        {"metrics": ["builtin/exact_match", CountingMetric()]},
        {"metrics": []},
        {"parser": "builtin/text"},
        {"gold": "another answer"},
        {"max_concurrent_tasks": 3},
        {"provider_concurrency": {"any": 2}},
        {"provider_rate_limits": {"any": 600}},
        {"stage_concurrency": {"generate": 1}},
        {"generation_timeout": 5.0},
        {"generation_retry_attempts": 9},
        {"generation_retry_delay": 3.0},
        {"generation_retry_backoff": 5.0},
        {"judge_retry_attempts": 2},
        {"reducer": "builtin/majority_vote"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_no_answer_depends_on_asks_nothing_again(
    counted: Counted, change: dict[str, Any]
) -> None:
    assert counted.requests(**change) == 0


@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_eight_samples_after_four_are_four_more_requests_a_case(api_mode: str) -> None:
    store = InMemoryRunStore()
    with Endpoint() as endpoint:

        def requests(samples: int) -> int:
            before = len(endpoint.requests)
            one = experiment(
                model(endpoint, api_mode=api_mode), cases=questions(25), samples=samples
            )
            result = one.run(store=store)
            assert all(len(case.generated_candidates) == samples for case in result.cases)
            return len(endpoint.requests) - before

        assert requests(4) == 4 * 25
        asked = endpoint.by_question()
        assert requests(8) == 4 * 25
        assert endpoint.by_question() == dict.fromkeys(asked, 8)
        assert requests(2) == 0
