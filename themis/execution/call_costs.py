"""What one call may use, and what it used: the figures that its budget reserves and settles."""

from __future__ import annotations

from collections.abc import Mapping

from themis.core.errors import ProviderError
from themis.execution.failures import NotAskedError
from themis.execution.limits.budget import NOTHING, Spent
from themis.execution.limits.endpoints import BUSY
from themis.execution.step import Payload, Step
from themis.planning.prices import Price, call_cost

_MOST_TOKENS = 100_000_000
"""Of one call, where nothing else bounds it: far above the context of any model."""


def is_believable(usage: Mapping[str, int], payload: Payload, step: Step, reserved: Spent) -> bool:
    """Return whether a call can have used what its answer tells of.

    A prompt that was sent has tokens, and so has an answer that came. No call uses more than what
    was reserved for it, nor more output than it was allowed.

    Args:
        usage: as it is told.
        payload: of the answer.
        step: what was called.
        reserved: the most that the call may use, where a budget asked for it.
    """
    prompt, output = usage["prompt_tokens"], usage["completion_tokens"]
    said = (payload.get("response") or {}).get("text", payload.get("final_output"))
    if prompt < 1 or (output < 1 and said not in (None, "", [])):
        return False
    allowed = step.bound.capabilities.max_output_tokens
    if output > (_MOST_TOKENS if allowed is None else allowed):
        return False
    return prompt + output <= (_MOST_TOKENS if reserved is NOTHING else reserved.tokens)


def drop_usage(payload: Payload) -> None:
    """Take the usage out of a payload, as if its answer had told of none."""
    payload.pop("token_usage", None)
    if isinstance(response := payload.get("response"), dict):
        response.pop("token_usage", None)


def usage_in(payload: Payload) -> Mapping[str, int] | None:
    """Return the token usage that a generation or a judge's answer tells of, if it is whole."""
    found = payload.get("token_usage") or (payload.get("response") or {}).get("token_usage")
    counts: Mapping[str, int] = found or {}
    if counts.get("prompt_tokens", -1) < 0 or counts.get("completion_tokens", -1) < 0:
        return None
    return counts


def most_spent(step: Step, price: Price | None) -> Spent:
    """Return what a call may use at most."""
    prompt = step.max_prompt_tokens()
    output = step.bound.capabilities.max_output_tokens
    assert output is not None  # else there is no budget, or it was refused
    usage = {"prompt_tokens": prompt, "completion_tokens": output}
    costs = (call_cost(price, usage), call_cost(price, {**usage, "cached_tokens": prompt}))
    dearest = max((cost for cost in costs if cost is not None), default=0.0)
    return Spent(tokens=prompt + output, dollars=dearest)


def spent_unknown(step: Step, price: Price | None, reserved: Spent) -> Spent:
    """Return what a call is taken to have used that did not say: as much as it may have."""
    if reserved is not NOTHING or step.bound.capabilities.max_output_tokens is None:
        return reserved
    try:
        return most_spent(step, price)
    except Exception:  # noqa: BLE001 - without a budget, a component need not know its bounds
        return NOTHING


def expected_tokens(step: Step) -> int:
    """Return the tokens that a call is expected to use, its output at its cap."""
    prompt = step.expected_tokens() or 0
    return prompt + (step.bound.capabilities.max_output_tokens or 0)


def spent_by(usage: Mapping[str, int], cost: float | None, reserved: Spent) -> Spent:
    """Return what a call used; where its price is unknown, the dollars that were reserved."""
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    if cost is None:
        return Spent(tokens=tokens, dollars=reserved.dollars, unpriced=1)
    return Spent(tokens=tokens, dollars=cost)


def was_free(error: BaseException) -> bool:
    """Return whether a failed call cannot have been paid for: it was refused, or never arrived."""
    if isinstance(error, NotAskedError):
        return True
    if not isinstance(error, ProviderError) or error.had_begun:
        return False
    if error.unreachable or error.status in BUSY:
        return True
    # A gateway says 408 of what it waited for in vain.
    return error.status is not None and 400 <= error.status < 500 and error.status != 408
