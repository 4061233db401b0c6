"""What a call costs: by the price list, by the user's own prices, or unknown and never zero.

Covers: themis.planning.components, themis.planning.prices
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.runs import experiment
from themis.planning.components import declare
from themis.planning.prices import GivenPrice, find_price
from themis.testing.scripted import ScriptedGenerator

OPENAI = "https://api.openai.com/v1"
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}


def asks(model: str, base_url: str | None = OPENAI) -> Any:
    generator = ScriptedGenerator(component_id="x")
    vars(generator).update(model=model, base_url=base_url, provider_key="p")
    return declare(generator, "generator", "generator").bind()


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
        ("gpt-4o-mini", "http://192.168.1.20:8000/v1"),
        ("gpt-4o-mini", "http://[fd00::7]:8000/v1"),
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


def test_of_the_users_prices_the_models_comes_before_the_endpoints_and_the_components() -> None:
    prices = {
        "x": {"input": 3.0, "output": 0.0},
        "p": {"input": 2.0, "output": 0.0},
        "gpt-4o-mini": {"input": 1.0, "output": 0.0},
    }
    for dearest in (1.0, 2.0, 3.0):
        price = find_price(asks("gpt-4o-mini"), prices)
        assert price is not None
        assert price.cost(USAGE) == dearest
        del prices[next(name for name in reversed(prices))]


@pytest.mark.parametrize("base_url", ["http://localhost/v1", "http://gpu-box/v1"])
def test_a_name_without_a_dot_is_a_machine_of_ones_own(base_url: str) -> None:
    class Everywhere:
        """A list that has a price for any address."""

        def cost(self, usage: Mapping[str, int]) -> float:
            return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("themis.planning.prices.ListedPrice", lambda model, url: Everywhere())
        assert find_price(asks("gpt-4o-mini", base_url), {}) is None
        assert find_price(asks("gpt-4o-mini", "http://10.0.0.7/v1"), {}) is None
        assert find_price(asks("gpt-4o-mini"), {}) is not None


def test_no_more_tokens_are_cached_than_the_prompt_has() -> None:
    given = GivenPrice(input=1.0, output=2.0, cached_input=0.1)
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    assert given.cost({**usage, "cached_tokens": 5_000_000}) == pytest.approx(0.1)
    listed = find_price(asks("gpt-4o-mini"), {})
    assert listed is not None
    whole = listed.cost({**usage, "cached_tokens": 1_000_000})
    assert listed.cost({**usage, "cached_tokens": 5_000_000}) == whole


def test_cached_tokens_have_a_price_of_their_own_where_one_is_given() -> None:
    given = {"m": {"input": 1.0, "output": 2.0, "cached_input": 0.1}}
    price = find_price(asks("m"), given)
    assert price is not None
    assert price.cost({**USAGE, "cached_tokens": 500_000}) == pytest.approx(0.5 + 0.05 + 0.2)


def test_a_usage_that_lacks_a_count_costs_an_unknown_amount() -> None:
    price = find_price(asks("m"), {"m": {"input": 1.0, "output": 2.0}})
    assert price is not None
    assert price.cost({"prompt_tokens": 5}) is None
    assert price.cost({"completion_tokens": 5}) is None
    listed = find_price(asks("gpt-4o-mini"), {})
    assert listed is not None
    assert listed.cost({"prompt_tokens": 5}) is None
    assert listed.cost({"completion_tokens": 5}) is None


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
