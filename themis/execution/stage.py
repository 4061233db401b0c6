"""The stage step, taken alike at every stage.

    key -> in this run? in the store? (unless this attempt redoes the stage)
        -> for each try: wait for the limits -> call with a timeout -> release;
           back off without holding a slot
        -> journal -> (after the commit) tell subscribers

What is peculiar to a stage (its key, its call, what it makes of the result) is in ``stages/``.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

from themis.core.errors import ComponentError
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import encode
from themis.core.results import StepFailure
from themis.execution.engine import PASS_THROUGH, Engine
from themis.execution.failures import (
    AttemptTimeoutError,
    ExplainedError,
    WorkStoppedError,
    category_of,
    failure_of,
    is_retryable,
    said,
)
from themis.execution.flight import CaseRun
from themis.execution.retry import CallPolicy
from themis.execution.step import Payload, Step, Taken
from themis.planning.work import Bound

_ONCE = CallPolicy()


async def take(case: CaseRun, step: Step) -> Taken:
    """Take one step: find its artifact, or do the work and journal it.

    Raises:
        WorkStoppedError: the run is stopping and this would be new work.
        StoreError: the store cannot be asked.
    """
    engine = case.engine
    artifact = case.earlier(step)
    if artifact is not None:
        return Taken(artifact.payload)
    redone = engine.attempt.redoes(step.address)
    stale = False
    if not redone:
        artifact = await _find(case, step)
        if artifact is not None:
            if not case.was_redone(step, artifact) and engine.may_reuse(artifact, step.bound):
                _journal_reuse(case, step, artifact)
                return Taken(artifact.payload)
            stale = True
    supersedes = redone or stale
    return await (
        _take_once(case, step, supersedes) if step.paid else _make(case, step, supersedes)
    )


async def _take_once(case: CaseRun, step: Step, supersedes: bool) -> Taken:
    """Do paid work, unless the same is being done for another step: then share what it gives."""
    engine = case.engine
    asked = supersedes
    while True:
        made = engine.uncommitted.get(step.key)
        if made is not None:
            _journal_shared(case, step, made)
            return Taken(made.payload)
        flying = engine.flights.get(step.key)
        if flying is not None:
            await asyncio.shield(flying)
            if step.key not in engine.uncommitted and step.key not in engine.recent:
                # It failed. Who waited goes on at once, not one after the other.
                return await _make(case, step, supersedes)
        elif asked or step.key not in engine.recent:
            break
        else:  # committed since it was looked up in vain
            asked = True
            kept = await engine.lookup(step.key)
            if kept is not None and engine.may_reuse(kept, step.bound):
                _journal_reuse(case, step, kept)
                return Taken(kept.payload)
    landed = engine.flights[step.key] = asyncio.get_running_loop().create_future()
    try:
        return await _make(case, step, supersedes)
    finally:
        del engine.flights[step.key]
        landed.set_result(None)


async def _make(case: CaseRun, step: Step, supersedes: bool) -> Taken:
    """Do the work and journal it."""
    engine = case.engine
    if engine.stopping and (step.paid or step.away):
        raise WorkStoppedError
    tries: list[dict[str, Any]] = []
    began = time.perf_counter()
    try:
        value, payload = await _work(case, step, tries)
        if tries:
            payload["tries"] = tries
        raw = encode(payload)
    except PASS_THROUGH:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        return Taken(failure=_journal_failure(case, step, error, tries))
    now = time.time()
    made = Artifact(
        key=step.key, raw=raw, at=now, code=_code(engine, step.bound), supersedes=supersedes
    )
    if step.paid:
        engine.uncommitted[step.key] = made
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=engine.attempt.number,
            at=now,
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id,
            key=step.key,
            data={"ms": round((time.perf_counter() - began) * 1000.0, 3)},
            artifact=made,
        )
    )
    return Taken(payload, value)


async def _find(case: CaseRun, step: Step) -> Artifact | None:
    found = case.found.get(step.key)
    absent = step.known_absent and step.key not in case.engine.recent
    if found is None and not absent and (step.paid or case.reusing):
        found = await case.engine.lookup(step.key)
    return found


async def _work(case: CaseRun, step: Step, tries: list[dict[str, Any]]) -> tuple[Any, Payload]:
    """Call the component, again where that may help, and seal what it gave."""
    engine = case.engine
    engine.hooks.before(case.case.case_id, step.address)
    stage = step.called_as or step.address.stage
    policy = engine.policies.get(stage) if step.paid else None
    if policy is None:
        once = _ONCE if step.timeout is None else CallPolicy(timeout=step.timeout)
        return await _traced(case, step, 1, once)
    number = 0
    while True:
        number += 1
        began = time.perf_counter()
        tokens = step.tokens() if step.tokens is not None else 0
        held = await engine.limits.acquire(stage, step.bound.provider_key, tokens)
        try:
            if engine.stopping:
                raise WorkStoppedError
            return await _traced(case, step, number, policy)
        except PASS_THROUGH:
            raise
        except Exception as error:
            tries.append(_try(error, step, began))
            if number >= policy.attempts or not is_retryable(error):
                raise
            wait = policy.wait(number, error)
        finally:
            engine.limits.release(held)
        await engine.pause(wait)


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


def _code(engine: Engine, bound: Bound) -> str | None:
    return bound.code if bound.across_runs else f"run:{engine.run.run_id}"


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


def _journal_shared(case: CaseRun, step: Step, made: Artifact) -> None:
    """Journal that the step is done, by what another step of this run has just been given."""
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id or case.candidate_name(step.address, made.payload),
            key=step.key,
            reused=True,
            artifact=Artifact(key=made.key, raw=made.raw, at=made.at, code=made.code),
        )
    )


def _journal_reuse(case: CaseRun, step: Step, artifact: Artifact) -> None:
    """Journal that the step is done, by an artifact that was there before."""
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id or case.candidate_name(step.address, artifact.payload),
            key=step.key,
            version=artifact.version,
            reused=True,
        )
    )


def _journal_failure(
    case: CaseRun, step: Step, error: Exception, tries: list[dict[str, Any]]
) -> StepFailure:
    failure = failure_of(
        error,
        stage=step.address.stage.value,
        category=step.category,
        component=step.bound.name,
        candidate_id=step.candidate_id,
        tries=tries,
    )
    settled = isinstance(error, ExplainedError) and not error.outage
    if step.address.call is None and not settled:  # a judge's silence is its metric's to weigh
        case.outages += 1
    data: dict[str, Any] = {"failure": failure.plain()}
    if isinstance(error, ExplainedError) and error.execution is not None:
        data["execution"] = error.execution
    case.emit(
        Event(
            kind=EventKind.STEP_FAILED,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id,
            key=step.key,
            data=data,
        )
    )
    return failure
