"""One step's call: as many tries as may help, each within the limits, the budget and its timeout.

    for each try: reserve -> wait for the limits -> call with a timeout -> release and settle;
                  back off holding nothing

What is called, and what becomes of the result, is the step's business.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

from themis.core.errors import ProviderError
from themis.execution.call_costs import (
    drop_usage,
    expected_tokens,
    is_believable,
    most_spent,
    spent_by,
    spent_unknown,
    usage_in,
    was_free,
)
from themis.execution.call_policy import CallPolicy
from themis.execution.calls import call_guarded, call_in_thread, escaped_error, is_awaitable
from themis.execution.failures import (
    PASS_THROUGH,
    WorkStoppedError,
    category_of,
    is_retryable,
    said,
)
from themis.execution.limits.budget import NOTHING, Spent
from themis.execution.limits.endpoints import CallEnding, Permit, call_ending
from themis.execution.session import RunSession
from themis.execution.step import Payload, Step
from themis.planning.prices import call_cost

_OPENING_SECONDS = 120.0
"""For a component to get ready, such as loading a large library."""


class Work(NamedTuple):
    """What a call gave: the component's own result, the payload made of it, and what it cost."""

    value: Any
    payload: Payload
    cost: float | None = None


async def call_with_retries(step: Step, tries: list[dict[str, Any]]) -> Work:
    """Call the component, again where that may help, and make a payload of what it gave.

    Args:
        step: what is called.
        tries: gets an entry for each try that failed.
    """
    session = step.case.session
    if session.hooks.tells_before:
        session.hooks.before(step.case.case.case_id, step.address)
    policy = session.policies.get(step.policy_stage) if step.paid else None
    if policy is None:
        if step.timeout is None and not (
            step.in_thread or session.hooks.traces or step.policy_stage in session.limits.stages
        ):
            try:  # nothing holds it up or watches: most of a run's steps are such
                value = step.call()
                if is_awaitable(value):
                    value = await value
            except BaseException as error:
                if (escaped := escaped_error(error)) is None:
                    raise
                raise escaped from error
            return Work(value, step.to_payload(value))
        async with session.limits.of_stage(step.policy_stage):
            return Work(*await _called(step, 1, step.timeout))
    number = 0
    while True:
        number += 1
        began = time.perf_counter()
        try:
            return await _try_once(step, number, policy)
        except PASS_THROUGH:
            raise
        except Exception as error:
            tries.append(_try_entry(error, step, began))
            last = number >= policy.attempts or not is_retryable(error)
            if _gives_up(session, step, error, last=last) or last:
                raise
            wait = policy.wait(number, error)
        await session.pause(wait)


async def _try_once(step: Step, number: int, policy: CallPolicy) -> Work:
    """Make one try within limits and budget."""
    session, bound = step.case.session, step.bound
    budget, limits, shared = session.budget, session.limits, session.shared_failures
    price = session.price_of(bound)
    step.check_allowed()
    if not session.is_open(bound):
        await call_guarded(lambda: session.open(bound), _OPENING_SECONDS)
    reserved = await budget.reserve(most_spent(step, price)) if budget.reserves else NOTHING
    has_begun = False
    used: Spent | None = None
    try:
        provider, tokens = bound.capabilities.provider_key, 0
        if provider is not None and limits.counts_tokens(provider):
            tokens = expected_tokens(step)
        permit = await limits.acquire(step.policy_stage, provider, tokens)
        ending: CallEnding = "other"
        entered = answered = False
        try:
            await shared.enter(bound)
            entered = True
            await session.wait_for_keeping()
            if session.stopping:
                raise WorkStoppedError
            step.check_allowed()
            has_begun = True
            value, payload = await _called(step, number, policy.timeout)
            answered, ending = True, "answered"
            usage = usage_in(payload)
            if usage is not None and not is_believable(usage, payload, step, reserved):
                session.note(
                    f"{bound.name} told of tokens that a call cannot have used: such count as "
                    "unknown, and against a budget as many as were reserved"
                )
                drop_usage(payload)
                usage = None
            cost = call_cost(price, usage)
            if usage is not None:
                used = spent_by(usage, cost, reserved)
                limits.settle(permit, used.tokens)
            _learn(session, permit, payload)
            return Work(value, payload, cost)
        except Exception as error:
            if isinstance(error, ProviderError):
                shared.weigh(bound, step.case.index, error)
            limits.failed(permit, error)
            ending = call_ending(error)
            if was_free(error):
                used = NOTHING
            raise
        finally:
            if entered:
                shared.leave(bound, answered=answered)
            limits.release(permit, ending)
    finally:
        if used is None:  # what was begun may have been paid for in full
            used = spent_unknown(step, price, reserved) if has_begun else NOTHING
        budget.settle(reserved, used)


def _learn(session: RunSession, permit: Permit, payload: Payload) -> None:
    """Tell the limits what an endpoint says of its next calls."""
    evidence = payload.get("artifacts") or (payload.get("response") or {}).get("artifacts") or {}
    limit = evidence.get("rate_limit")
    wait = limit.get("wait_seconds") if isinstance(limit, dict) else None
    if isinstance(wait, (int, float)) and wait > 0:
        session.limits.pause(permit, wait)


def _gives_up(session: RunSession, step: Step, error: Exception, *, last: bool) -> bool:
    """Return whether no further try may help, as every other case would fail alike.

    An endpoint that stayed unreachable is taken for one that every other case would miss too.
    """
    if not isinstance(error, ProviderError):
        return False
    if error.fatal or not error.unreachable:
        return error.fatal
    if not session.limits.is_given_up(step.bound.capabilities.provider_key, last_try=last):
        return False
    error.fatal = True
    return True


async def _called(step: Step, number: int, seconds: float | None) -> tuple[Any, Payload]:
    """Call the component within a timeout, make a payload of what it gives, and trace it."""
    session = step.case.session
    call = partial(call_in_thread, session.threads, step.call) if step.in_thread else step.call
    if not session.hooks.traces:
        value = await call_guarded(call, seconds)
        return value, step.to_payload(value)
    address = step.address
    attributes = {
        "themis.run_id": session.run.run_id,
        "themis.case_id": step.case.case.case_id,
        "themis.stage": address.stage.value,
        "themis.component": step.bound.name,
        "themis.try": number,
    }
    if address.sample is not None:
        attributes["themis.sample"] = address.sample
    with session.hooks.span(f"themis.{address.stage.value}", attributes):
        value = await call_guarded(call, seconds)
        return value, step.to_payload(value)


def _try_entry(error: Exception, step: Step, began: float) -> dict[str, Any]:
    """Return what the history of a step's tries keeps of one that failed."""
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
