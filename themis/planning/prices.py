"""What a call costs, by a kept price list or by the prices that the user gave.

A model that neither knows has no price, which is not a price of zero. Whoever serves a model at an
address of their own asks prices of their own: the list is used for the providers' addresses only.
"""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from themis.core.config import RuntimeConfig
from themis.core.errors import DefinitionError
from themis.planning.compiled_run import BoundComponent, CompiledRun

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class GivenPrice:
    """The user's own price of a model, in US dollars for a million tokens."""

    input: float
    output: float
    cached_input: float | None = None

    def cost(self, usage: Mapping[str, int]) -> float | None:
        """Return US dollars for a call's tokens; None where they are not told."""
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if prompt is None or completion is None:
            return None
        cached = min(usage.get("cached_tokens", 0), prompt) if self.cached_input is not None else 0
        dear = (prompt - cached) * self.input + completion * self.output
        return (dear + cached * (self.cached_input or 0.0)) / _MILLION


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model's price by the list of genai-prices."""

    model: str
    base_url: str

    def cost(self, usage: Mapping[str, int]) -> float | None:
        """Return US dollars for a call's tokens; None where they are not told."""
        import genai_prices

        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if prompt is None or completion is None:
            return None
        found = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=prompt,
                output_tokens=completion,
                cache_read_tokens=min(usage.get("cached_tokens", 0), prompt),
            ),
            self.model,
            provider_api_url=self.base_url,
        )
        return float(found.total_price)


Price = GivenPrice | ListedPrice


def find_price(bound: BoundComponent, given: Mapping[str, Mapping[str, float]]) -> Price | None:
    """Return the price of what a component asks; None where it is unknown.

    Args:
        bound: the component; where it asks an endpoint, it declares ``model`` and ``base_url``.
        given: the user's prices, by model, ``provider_key`` or ``component_id``; they come before
            the list's.
    """
    for name in price_names(bound):
        if name in given:
            return GivenPrice(**given[name])
    model, base_url = bound.capabilities.model, bound.capabilities.base_url
    if model is None or base_url is None or _is_own(base_url):
        return None
    if importlib.util.find_spec("genai_prices") is None:
        return None
    price = ListedPrice(model, base_url)
    try:
        price.cost({"prompt_tokens": 1, "completion_tokens": 1})
    except LookupError:
        return None
    return price


def call_cost(price: Price | None, usage: Mapping[str, int] | None) -> float | None:
    """Return US dollars for a call; None where its price or its tokens are unknown."""
    if price is None or usage is None:
        return None
    try:
        return price.cost(usage)
    except (LookupError, ValueError, ArithmeticError):  # the list cannot tell for such counts
        return None


def price_names(bound: BoundComponent) -> list[str]:
    """Return the names under which the user may give a component's price, the closest first."""
    declared = (bound.capabilities.model, bound.capabilities.provider_key)
    return [*(name for name in declared if name is not None), bound.ref.component_id]


def _is_own(base_url: str) -> bool:
    """Return whether an address is one of the user's own machines, which no list knows."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or "." not in host:
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def check_budget(run: CompiledRun, runtime: RuntimeConfig) -> None:
    """Refuse a budget of tokens or dollars that the run's calls could exceed unseen.

    Raises:
        DefinitionError: a call has no output cap, no bound of its prompt or, under a budget of
            dollars, no known price.
    """
    budget = runtime.budget or {}
    name = next((name for name in ("dollars", "tokens") if name in budget), None)
    if name is None:
        return
    for bound in (run.generator, *run.judges.values()):
        _check_bounds(bound, name)
        if "dollars" in budget and find_price(bound, runtime.prices) is None:
            model = bound.capabilities.model or bound.ref.component_id
            raise DefinitionError(
                f"budget.dollars = {budget['dollars']:g}: the price of {bound.ref.role} "
                f"'{bound.name}' is unknown; give it under runtime, prices={{{model!r}: "
                '{"input": ..., "output": ...}}, in dollars for a million tokens',
                field="budget.dollars",
                value=budget["dollars"],
            )


def _check_bounds(bound: BoundComponent, name: str) -> None:
    who = f"budget.{name}: {bound.ref.role} '{bound.name}'"
    if bound.capabilities.max_output_tokens is None:
        raise DefinitionError(
            f"{who} has no cap on its output tokens, so a call could exceed any budget: give an "
            'endpoint sampling={"max_output_tokens": ...}, a component of your own the attribute '
            "max_output_tokens",
            field=f"budget.{name}",
        )
    if bound.capabilities.max_prompt_tokens is None:
        argument = "prompt" if bound.ref.role == "judge" else "case, ctx"
        raise DefinitionError(
            f"{who} does not say how many tokens a prompt has at most: give it a method "
            f"max_prompt_tokens({argument})",
            field=f"budget.{name}",
        )
