"""What a call costs, by a kept price list or by the prices that the user gave.

A model that neither knows has no price, which is not a price of zero. Whoever serves a model at an
address of their own asks prices of their own: the list is used for the providers' addresses only.
"""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

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


def find_price(component: Any, given: Mapping[str, Mapping[str, float]]) -> Price | None:
    """Return the price of what a component asks; None where it is unknown.

    Args:
        component: with ``model`` and ``base_url``, where it asks an endpoint.
        given: the user's prices, by model, ``provider_key`` or ``component_id``; they come before
            the list's.
    """
    for name in price_names(component):
        if name in given:
            return GivenPrice(**given[name])
    model = getattr(component, "model", None)
    base_url = getattr(component, "base_url", None)
    if not isinstance(model, str) or not isinstance(base_url, str) or _is_own(base_url):
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


def price_names(component: Any) -> list[str]:
    """Return the names under which the user may give a component's price, the closest first."""
    found = (getattr(component, name, None) for name in ("model", "provider_key", "component_id"))
    return [name for name in found if isinstance(name, str)]


def _is_own(base_url: str) -> bool:
    """Return whether an address is one of the user's own machines, which no list knows."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or "." not in host:
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
