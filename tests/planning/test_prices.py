"""What a call costs: by the price list, by the user's own prices, or unknown and never zero."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.runs import experiment
from themis.planning.prices import GivenPrice, find_price
from themis.testing.scripted import ScriptedGenerator

OPENAI = "https://api.openai.com/v1"
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}


def asks(model: str, base_url: str | None = OPENAI) -> Any:
    return SimpleNamespace(component_id="x", model=model, base_url=base_url, provider_key="p")


def test_a_listed_model_at_its_providers_address_has_the_lists_price() -> None:
    price = find_price(asks("gpt-4o-mini"), {})
    assert price is not None
    assert price.cost(USAGE) == pytest.approx(0.15 + 0.06)
    cached = {**USAGE, "cached_tokens": 1_000_000}
    assert price.cost(cached) == pytest.approx(0.075 + 0.06)


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("no-such-model", OPENAI),
        ("gpt-4o-mini", "http://127.0.0.1:8000/v1"),
        ("gpt-4o-mini", "http://10.0.0.7/v1"),
        ("gpt-4o-mini", "http://gpu-box:8000/v1"),
        ("gpt-4o-mini", "https://models.example.org/v1"),
        ("gpt-4o-mini", None),
    ],
)
def test_an_unknown_model_or_address_has_no_price(model: str, base_url: str | None) -> None:
    assert find_price(asks(model, base_url), {}) is None


@pytest.mark.parametrize("name", ["gpt-4o-mini", "p", "x"])
def test_the_users_own_price_comes_first(name: str) -> None:
    price = find_price(asks("gpt-4o-mini"), {name: {"input": 1.0, "output": 2.0}})
    assert price is not None
    assert price.cost(USAGE) == pytest.approx(1.2)


def test_cached_tokens_have_a_price_of_their_own_where_one_is_given() -> None:
    given = {"m": {"input": 1.0, "output": 2.0, "cached_input": 0.1}}
    price = find_price(asks("m"), given)
    assert price is not None
    assert price.cost({**USAGE, "cached_tokens": 500_000}) == pytest.approx(0.5 + 0.05 + 0.2)


def test_a_usage_that_lacks_a_count_costs_an_unknown_amount() -> None:
    price = find_price(asks("m"), {"m": {"input": 1.0, "output": 2.0}})
    assert price is not None
    assert price.cost({"prompt_tokens": 5}) is None


def test_a_model_of_ones_own_does_not_load_the_list() -> None:
    before = "genai_prices" in sys.modules
    find_price(asks("m", "http://127.0.0.1:8000/v1"), {})
    assert ("genai_prices" in sys.modules) == before


class Priced(ScriptedGenerator):
    max_output_tokens = 50

    def estimate_tokens(self, case: Any, ctx: Any) -> int:
        return 100


def test_an_estimate_is_priced_from_nothing_said_to_every_answer_at_its_cap() -> None:
    trial = experiment(
        Priced(), cases=10, prices={"scripted/generator": {"input": 10.0, "output": 20.0}}
    )
    found = trial.estimate()
    assert (found.prompt_tokens, found.output_tokens_at_most) == (1000, 500)
    assert found.cost_usd == pytest.approx([0.01, 0.02])
    trial.run()
    assert trial.estimate().cost_usd == pytest.approx([0.0, 0.0])


def test_an_estimate_without_a_price_says_unknown() -> None:
    found = experiment(Priced(), cases=10).estimate()
    assert found.cost_usd is None
    assert any(note.startswith("unknown price") for note in found.notes)


def test_an_estimate_adds_call_by_call_where_prices_rise_with_the_size_of_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cost(self: GivenPrice, usage: Mapping[str, int]) -> float:
        dear = usage["prompt_tokens"] > 200
        return usage["prompt_tokens"] * (10.0 if dear else 1.0)

    monkeypatch.setattr(GivenPrice, "cost", cost)
    prices = {"scripted/generator": {"input": 1.0, "output": 1.0}}
    assert experiment(Priced(), cases=10, prices=prices).estimate().cost_usd == [1000.0, 1000.0]


def test_an_estimate_that_no_price_can_be_found_for_is_of_unknown_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cost(self: GivenPrice, usage: Mapping[str, int]) -> float:
        raise LookupError("no such size")

    monkeypatch.setattr(GivenPrice, "cost", cost)
    prices = {"scripted/generator": {"input": 1.0, "output": 1.0}}
    assert experiment(Priced(), cases=3, prices=prices).estimate().cost_usd is None
