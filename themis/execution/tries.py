"""One step's call: as many tries as may help, each within the limits, the budget and its timeout.

    for each try: reserve -> wait for the limits -> call with a timeout -> release and settle;
                  back off holding nothing

What is called, and what becomes of the result, is the step's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from themis.core.errors import ComponentError, ProviderError
from themis.core.events import Stage
from themis.execution.budget import NOTHING, Spent
from themis.execution.calls import Begun, is_promise
from themis.execution.engine import PASS_THROUGH, Engine
from themis.execution.failures import (
    AttemptTimeoutError,
    NotAskedError,
    WorkStoppedError,
    category_of,
    is_retryable,
    said,
)
from themis.execution.flight import CaseRun
from themis.execution.limits import BUSY, CallEnding, Permit, call_ending
from themis.execution.retry import CallPolicy
from themis.execution.step import Payload, Step, usage_in
from themis.planning.prices import Price, call_cost

_ONCE = CallPolicy()
_OPENING_SECONDS = 120.0
"""For a component to get ready, such as loading a large library."""


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
        if step.timeout is None and not (
            step.away or engine.hooks.traces or engine.limits.has_stage(stage)
        ):
            with _BOUNDARY:  # nothing holds it up or watches: most of a run's steps are such
                value = step.call()
                if is_promise(value):
                    value = await value
            return Work(value, step.seal(value))
        once = _ONCE if step.timeout is None else CallPolicy(timeout=step.timeout)
        async with engine.limits.of_stage(stage):
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
            last = number >= policy.attempts or not is_retryable(error)
            if _give_up(engine, step, error, last=last) or last:
                raise
            wait = policy.wait(number, error)
        await engine.pause(wait)


async def _paid(case: CaseRun, step: Step, stage: Stage, number: int, policy: CallPolicy) -> Work:
    """Make one try within limits and budget."""
    engine = case.engine
    budget, limits = engine.budget, engine.limits
    price = engine.price_of(step.bound)
    step.check_asked()
    if not engine.is_open(step.bound):
        await _guarded(lambda: engine.open(step.bound), _OPENING_SECONDS)
    reserved = NOTHING
    if budget.reserves:
        reserved = await budget.reserve(_most(step, price))
    has_begun = False
    used: Spent | None = None
    try:
        tokens = _expected(step) if limits.counts_tokens(step.bound.provider_key) else 0
        permit = await limits.acquire(stage, step.bound.provider_key, tokens)
        ending: CallEnding = "other"
        try:
            if engine.stopping:
                raise WorkStoppedError
            step.check_asked()
            has_begun = True
            value, payload = await _traced(case, step, number, policy)
            ending = "answered"
            usage = usage_in(payload)
            cost = call_cost(price, usage)
            if usage is not None:
                used = _used(usage, cost, reserved)
                _learn(engine, permit, payload, used.tokens)
            return Work(value, payload, cost)
        except Exception as error:
            limits.failed(permit, error)
            ending = call_ending(error)
            if _was_free(error):
                used = NOTHING
            raise
        finally:
            limits.release(permit, ending)
    finally:
        if used is None:  # what was begun may have been paid for in full
            used = _unknown(step, price, reserved) if has_begun else NOTHING
        budget.settle(reserved, used)


def _most(step: Step, price: Price | None) -> Spent:
    """Return what a call may use at most."""
    assert step.bound_tokens is not None  # given with every call that a budget is asked for
    prompt = step.bound_tokens()
    output = step.bound.component.max_output_tokens
    usage = {"prompt_tokens": prompt, "completion_tokens": output}
    costs = (call_cost(price, usage), call_cost(price, {**usage, "cached_tokens": prompt}))
    dearest = max((cost for cost in costs if cost is not None), default=0.0)
    return Spent(tokens=prompt + output, dollars=dearest)


def _unknown(step: Step, price: Price | None, reserved: Spent) -> Spent:
    """Return what a call is taken to have used that did not say: as much as it may have."""
    component = step.bound.component
    if reserved is not NOTHING or type(getattr(component, "max_output_tokens", None)) is not int:
        return reserved
    try:
        return _most(step, price)
    except Exception:  # noqa: BLE001 - without a budget, a component need not know its bounds
        return NOTHING


def _expected(step: Step) -> float:
    """Return the tokens that a call is expected to use, its output at its cap."""
    prompt = 0 if step.tokens is None else step.tokens()
    return prompt + (getattr(step.bound.component, "max_output_tokens", None) or 0)


def _used(usage: Mapping[str, int], cost: float | None, reserved: Spent) -> Spent:
    """Return what a call used; where its price is unknown, the dollars that were reserved."""
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    if cost is None:
        return Spent(tokens=tokens, dollars=reserved.dollars, unpriced=1)
    return Spent(tokens=tokens, dollars=cost)


def _learn(engine: Engine, permit: Permit, payload: Payload, tokens: int) -> None:
    """Tell the limits what a call used, and what its endpoint says of the next ones."""
    engine.limits.settle(permit, tokens)
    evidence = payload.get("artifacts") or (payload.get("response") or {}).get("artifacts") or {}
    limit = evidence.get("rate_limit")
    wait = limit.get("wait_seconds") if isinstance(limit, dict) else None
    if isinstance(wait, (int, float)) and wait > 0:
        engine.limits.pause(permit, wait)


def _was_free(error: BaseException) -> bool:
    """Return whether a failed call cannot have been paid for: it was refused, or never arrived."""
    if isinstance(error, NotAskedError):
        return True
    if not isinstance(error, ProviderError) or error.had_begun:
        return False
    if error.unreachable or error.status in BUSY:
        return True
    # A gateway says 408 of what it waited for in vain.
    return error.status is not None and 400 <= error.status < 500 and error.status != 408


def _give_up(engine: Engine, step: Step, error: Exception, *, last: bool) -> bool:
    """Take an endpoint that stayed unreachable for one that every other case would miss too."""
    if not isinstance(error, ProviderError) or not error.unreachable:
        return False
    if not engine.limits.is_given_up(step.bound.provider_key, last_try=last):
        return False
    error.fatal = True
    return True


async def _traced(
    case: CaseRun, step: Step, number: int, policy: CallPolicy
) -> tuple[Any, Payload]:
    """Make one try, within its timeout, and tell who traces of it."""
    engine = case.engine
    if not engine.hooks.traces:
        value = await _guarded(_caller(engine, step), policy.timeout)
        return value, step.seal(value)
    address = step.address
    attributes = {
        "themis.run_id": engine.run.run_id,
        "themis.case_id": case.case.case_id,
        "themis.stage": address.stage.value,
        "themis.component": step.bound.name,
        "themis.try": number,
    }
    if address.sample is not None:
        attributes["themis.sample"] = address.sample
    with engine.hooks.span(f"themis.{address.stage.value}", attributes):
        value = await _guarded(_caller(engine, step), policy.timeout)
        return value, step.seal(value)


async def _guarded(make: Callable[[], Any], seconds: float | None) -> Any:
    """Run a component's code for so long, whatever it raises being an exception of its step.

    Args:
        make: calls the component and returns its result, or a promise of it.
        seconds: for the call and the promise; None for no limit.
    """
    with _BOUNDARY:
        loop = asyncio.get_running_loop()
        began = loop.time()
        value = make()
        if not is_promise(value):
            return value
        if seconds is None:
            return await value
        begun = Begun(value)
        if begun.is_over:
            return begun.value
        try:
            async with asyncio.timeout_at(began + seconds) as limit:
                return await begun
        except TimeoutError:
            if not limit.expired():
                raise
            raise AttemptTimeoutError(f"no answer within {seconds:g} s") from None


class _Boundary:
    """The boundary to a component's code: what it raises leaves as an exception of its step."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Let exceptions pass, and a stop of the task; turn into exceptions what is neither."""
        if error is None or isinstance(error, _LEAVE_AS_THEY_ARE):
            return
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return
            # Nobody cancelled this step: its component let a cancellation of its own escape.
            raise ComponentError("the call cancelled itself") from error
        if isinstance(error, SystemExit):
            raise ComponentError(f"the call tried to exit the process ({error.code})") from error
        # An exception of the component's own making.
        raise ComponentError(f"{type(error).__name__}: {said(error)}") from error


_LEAVE_AS_THEY_ARE = (Exception, KeyboardInterrupt, GeneratorExit, *PASS_THROUGH)
_BOUNDARY = _Boundary()


def _caller(engine: Engine, step: Step) -> Callable[[], Any]:
    """Return what calls a step's component: here, or in a thread."""
    return partial(engine.threads.run, step.call) if step.away else step.call


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
