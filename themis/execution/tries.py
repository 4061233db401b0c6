"""One step's call: as many tries as may help, each within the limits, the budget and its timeout.

    for each try: reserve -> wait for the limits -> call with a timeout -> release and settle;
                  back off holding nothing

What is called, and what becomes of the result, is the step's business.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from themis.core.errors import ComponentError, ProviderError
from themis.core.events import Stage
from themis.execution.budget import NOTHING, Spent
from themis.execution.engine import PASS_THROUGH, Engine
from themis.execution.failures import (
    AttemptTimeoutError,
    WorkStoppedError,
    category_of,
    is_retryable,
    said,
)
from themis.execution.flight import CaseRun
from themis.execution.limits import Permit, ending_of
from themis.execution.retry import CallPolicy
from themis.execution.step import Payload, Step

_ONCE = CallPolicy()
_FREE = frozenset({503, 529})
"""Statuses beside 4xx with which an endpoint refuses before it has worked."""


class Work(NamedTuple):
    """What a call gave: the component's own result, the payload made of it, and what it cost."""

    value: Any
    payload: Payload
    cost: float | None = None


async def work(case: CaseRun, step: Step, tries: list[dict[str, Any]]) -> Work:
    """Call the component, again where that may help, and seal what it gave.

    Args:
        case: the case.
        step: what is called.
        tries: gets an entry for each try that failed.
    """
    engine = case.engine
    engine.hooks.before(case.case.case_id, step.address)
    stage = step.called_as or step.address.stage
    policy = engine.policies.get(stage) if step.paid else None
    if policy is None:
        once = _ONCE if step.timeout is None else CallPolicy(timeout=step.timeout)
        return Work(*await _traced(case, step, 1, once))
    number = 0
    while True:
        number += 1
        began = time.perf_counter()
        try:
            return await _paid(case, step, stage, number, policy)
        except PASS_THROUGH:
            raise
        except Exception as error:
            tries.append(_try(error, step, began))
            if number >= policy.attempts or not is_retryable(error):
                _give_up(engine, step, error)
                raise
            wait = policy.wait(number, error)
        await engine.pause(wait)


async def _paid(case: CaseRun, step: Step, stage: Stage, number: int, policy: CallPolicy) -> Work:
    """Make one try within limits and budget."""
    engine = case.engine
    budget, limits = engine.budget, engine.limits
    price = engine.price_of(step.bound)
    provider = step.bound.provider_key
    await engine.open(step.bound)
    most = NOTHING
    if budget.reserves:
        most = await budget.reserve(_most(step, price))
    charged = NOTHING
    try:
        tokens = _expected(step) if limits.counts_tokens(provider) else 0
        permit = await limits.acquire(stage, provider, tokens)
        charged = most  # unless something better is known: what was begun may have been paid for
        try:
            if engine.stopping:
                charged = NOTHING
                raise WorkStoppedError
            value, payload = await _traced(case, step, number, policy)
        except Exception as error:
            limits.failed(permit, error)
            if _was_free(error):
                charged = NOTHING
            limits.release(permit, ending_of(error))
            raise
        except BaseException:
            limits.release(permit)
            raise
        usage = _usage(payload)
        cost = None if price is None or usage is None else price.cost(usage)
        charged = _used(usage, cost, most)
        _learn(engine, permit, payload, charged)
        limits.release(permit, "answered")
        return Work(value, payload, cost)
    finally:
        budget.settle(most, charged)


def _most(step: Step, price: Any) -> Spent:
    """Return what a call may use at most."""
    assert step.bound_tokens is not None  # given with every call that a budget is asked for
    prompt = step.bound_tokens()
    output = step.bound.component.max_output_tokens
    cost = price.cost({"prompt_tokens": prompt, "completion_tokens": output}) if price else 0.0
    return Spent(tokens=prompt + output, dollars=cost or 0.0)


def _expected(step: Step) -> float:
    """Return the tokens that a call is expected to use, its output at its cap."""
    prompt = 0 if step.tokens is None else step.tokens()
    return prompt + (getattr(step.bound.component, "max_output_tokens", None) or 0)


def _usage(payload: Payload) -> Mapping[str, int] | None:
    """Return the token usage that a generation or a judge's answer tells of."""
    found: Mapping[str, int] | None = payload.get("token_usage") or (
        payload.get("response") or {}
    ).get("token_usage")
    return found


def _used(usage: Mapping[str, int] | None, cost: float | None, most: Spent) -> Spent:
    """Return what a call used; all that was reserved where it does not say."""
    if usage is None:
        return most
    tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    return Spent(tokens=tokens, dollars=most.dollars if cost is None else cost)


def _learn(engine: Engine, permit: Permit, payload: Payload, charged: Spent) -> None:
    """Tell the limits what a call used, and what its endpoint says of the next ones."""
    if permit.booking is not None and charged.tokens:
        engine.limits.settle(permit, charged.tokens)
    evidence = payload.get("artifacts") or (payload.get("response") or {}).get("artifacts") or {}
    limit = evidence.get("rate_limit")
    wait = limit.get("wait_seconds") if isinstance(limit, dict) else None
    if isinstance(wait, (int, float)) and wait > 0:
        engine.limits.pause(permit, wait)


def _was_free(error: BaseException) -> bool:
    """Return whether a failed call cannot have been paid for: it was refused, or never arrived."""
    if not isinstance(error, ProviderError):
        return False
    status = error.status
    return error.unreachable or (status is not None and (400 <= status < 500 or status in _FREE))


def _give_up(engine: Engine, step: Step, error: Exception) -> None:
    """Take an endpoint that stayed unreachable for one that every other case would miss too."""
    if (
        isinstance(error, ProviderError)
        and error.unreachable
        and engine.limits.is_given_up(step.bound.provider_key)
    ):
        error.fatal = True


async def _traced(
    case: CaseRun, step: Step, number: int, policy: CallPolicy
) -> tuple[Any, Payload]:
    if not case.engine.hooks.traces:
        return await _once(case.engine, step, policy)
    address = step.address
    attributes = {
        "themis.run_id": case.engine.run.run_id,
        "themis.case_id": case.case.case_id,
        "themis.stage": address.stage.value,
        "themis.component": step.bound.name,
        "themis.try": number,
    }
    if address.sample is not None:
        attributes["themis.sample"] = address.sample
    with case.engine.hooks.span(f"themis.{address.stage.value}", attributes):
        return await _once(case.engine, step, policy)


async def _once(engine: Engine, step: Step, policy: CallPolicy) -> tuple[Any, Payload]:
    """Make one try, within its timeout."""
    try:
        async with asyncio.timeout(policy.timeout) as limit:
            value = await _call(engine, step)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AttemptTimeoutError(f"no answer within {policy.timeout:g} s") from None
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled this step: its component let a cancellation of its own escape.
        raise ComponentError("the call cancelled itself") from error
    except (KeyboardInterrupt, GeneratorExit, Exception, *PASS_THROUGH):
        raise
    except SystemExit as error:
        raise ComponentError(f"the call tried to exit the process ({error.code})") from error
    except BaseException as error:  # an exception of the component's own making
        raise ComponentError(f"{type(error).__name__}: {said(error)}") from error
    return value, step.seal(value)


async def _call(engine: Engine, step: Step) -> Any:
    if step.away:
        return await engine.threads.run(step.call)
    value = step.call()
    return await value if inspect.isawaitable(value) else value


def _try(error: Exception, step: Step, began: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "category": category_of(error, step.category),
        "cause": type(error).__name__,
        "message": said(error),
        "seconds": round(time.perf_counter() - began, 3),
    }
    status = getattr(error, "status", None)
    if isinstance(status, int):
        entry["status"] = status
    return entry
