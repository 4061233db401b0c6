"""The stage step, taken alike at every stage: find its result, or do the work and journal it.

    key -> in this run? in the store? (unless this attempt redoes the stage)
        -> do the work (``retries.py``) -> journal -> (after the commit) tell subscribers

What is peculiar to a stage (its key, its call, what it makes of the result) is in ``stages/``.

Between the walk and a user's code stand, for a parser, a metric or a reducer:

    case.walk -> case.evaluate_subject -> run_or_reuse -> _do_work -> call_with_retries
        -> ParseStep.call -> the parser

and for a generator or a judge, whose calls are limited and paid for:

    case.walk -> gather -> run_or_reuse -> _do_work -> call_with_retries -> _try_once
        -> _called -> call_guarded -> GenerateStep.call -> the generator
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from themis.core.events import Artifact, EventKind
from themis.core.hashing import encode
from themis.execution.failures import (
    PASS_THROUGH,
    ExplainedError,
    WorkStoppedError,
    failure_of,
    is_settled,
)
from themis.execution.retries import call_with_retries
from themis.execution.step import Step, StepResult


async def run_or_reuse(step: Step) -> StepResult:
    """Take one step: find its artifact, or do the work and journal it.

    Raises:
        WorkStoppedError: the run is stopping and this would be new work.
        StoreError: the store cannot be asked.
    """
    case, session = step.case, step.case.session
    artifact = artifact_of_this_run(step) if case.prior else None
    if artifact is not None:
        return StepResult(artifact=artifact)
    redone = bool(session.attempt.redo) and session.attempt.redoes(step.address)
    artifact = case.found.get(step.key)
    if artifact is None and may_be_in_store(step, redone=redone):
        artifact = await session.journal.lookup(step.key)
    if artifact is not None:
        if is_reusable(step, artifact):
            return _journal_reuse(step, artifact)
        step.renews = not redone and session.attempt.is_too_old(artifact)
    supersedes = redone or artifact is not None
    if not step.paid:
        return await _do_work(step, supersedes)
    if step.key in session.flights or step.key in session.uncommitted or step.key in session.recent:
        shared = await _same_work(step)
        if shared is not None:
            return shared
    if step.key in session.flights:  # what it waited for failed, and others who waited go on too
        return await _do_work(step, supersedes)
    landed = session.flights[step.key] = asyncio.get_running_loop().create_future()
    try:
        return await _do_work(step, supersedes)
    finally:
        del session.flights[step.key]
        landed.set_result(None)


def artifact_of_this_run(step: Step) -> Artifact | None:
    """Return what this run has of a step already, if it still holds."""
    event = step.case.prior.get(step.address)
    if event is None or event.key != step.key or event.artifact is None:
        return None
    session = step.case.session
    attempt = session.attempt
    mine = event.attempt == attempt.number
    if not mine and attempt.redoes(step.address):
        return None
    if attempt.is_too_old(event.artifact) and (event.reused or not mine):
        return None
    return event.artifact if session.may_reuse(event.artifact, step.bound) else None


def may_be_in_store(step: Step, *, redone: bool) -> bool:
    """Return whether the store may have a step that was not among what was read beforehand."""
    session = step.case.session
    if step.known_absent and step.key not in session.recent:
        return False
    # Pure work that is done again needs no question. Within a bound of age it does: the store
    # would refer to what stands under an equal key, however old it is.
    by_age = session.attempt.not_before is not None
    return step.paid or (not redone and (step.case.reusing or by_age))


def is_reusable(step: Step, artifact: Artifact) -> bool:
    """Return whether what the store has under a step's key stands for the step."""
    session = step.case.session
    if step.case.prior and _failed_since(step, artifact):
        return False
    accepted = session.attempt.accepts(artifact, step.address, session.run_id)
    return accepted and session.may_reuse(artifact, step.bound)


def _failed_since(step: Step, artifact: Artifact) -> bool:
    """Return whether this run set out to replace an artifact since it was made, and failed."""
    event = step.case.prior.get(step.address)
    if event is None or event.kind is not EventKind.STEP_FAILED:
        return False
    return event.key == step.key and artifact.at < event.at


async def _same_work(step: Step) -> StepResult | None:
    """Return what the same paid work gave another step of this run, waiting for it if need be.

    Returns:
        None where it failed, or gave what this step may not reuse: then the step does the work.
    """
    session = step.case.session
    asked = False
    while True:
        made = session.uncommitted.get(step.key)
        if made is not None:
            return _journal_shared(step, made)
        flying = session.flights.get(step.key)
        if flying is not None:
            await asyncio.shield(flying)
            if step.key not in session.uncommitted and step.key not in session.recent:
                return None
        elif asked or step.key not in session.recent:
            return None
        else:  # committed since it was looked up in vain
            asked = True
            kept = await session.journal.lookup(step.key)
            if kept is not None and is_reusable(step, kept):
                return _journal_reuse(step, kept)


async def _do_work(step: Step, supersedes: bool) -> StepResult:
    """Call the component and journal what came of it."""
    case, session = step.case, step.case.session
    if session.stopping:
        waits = step.paid or step.in_thread or step.bound.capabilities.cpu_bound
        if waits or session.at_once:
            raise WorkStoppedError
    tries: list[dict[str, Any]] = []
    began = time.perf_counter()
    try:
        value, payload, cost = await call_with_retries(step, tries)
        if tries:
            payload["tries"] = tries
        raw = encode(payload)
    except PASS_THROUGH:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        return _journal_failure(step, error, tries)
    seconds = time.perf_counter() - began
    now = time.time()
    made = Artifact(
        key=step.key, raw=raw, at=now, code=session.code_of(step.bound), supersedes=supersedes
    )
    if step.paid:
        session.made(step.bound, made, seconds)
    data = {"ms": round(seconds * 1000.0, 3)}
    if cost is not None:
        data["cost"] = cost
    if step.renews:
        data["renewed"] = True
    case.record(
        EventKind.STEP_DONE,
        step.address,
        at=now,
        candidate_id=step.candidate_id,
        key=step.key,
        data=data,
        artifact=made,
    )
    return StepResult(payload, value)


def _journal_shared(step: Step, made: Artifact) -> StepResult:
    """Journal that the step is done, by what another step of this run has just been given."""
    result = StepResult(artifact=made)
    step.case.record(
        EventKind.STEP_DONE,
        step.address,
        candidate_id=step.candidate_id or step.candidate_of(result),
        key=step.key,
        reused=True,
        artifact=Artifact(key=made.key, raw=made.raw, at=made.at, code=made.code),
    )
    return result


def _journal_reuse(step: Step, artifact: Artifact) -> StepResult:
    """Journal a cache hit: the step is done, by an artifact that was there before."""
    result = StepResult(artifact=artifact)
    if step.paid:
        step.case.session.shared_failures.answered_before(step.bound)
    step.case.record(
        EventKind.STEP_DONE,
        step.address,
        candidate_id=step.candidate_id or step.candidate_of(result),
        key=step.key,
        version=artifact.version,
        reused=True,
        found=artifact,
    )
    return result


def _journal_failure(step: Step, error: Exception, tries: list[dict[str, Any]]) -> StepResult:
    """Journal that the step failed."""
    failure = failure_of(
        error,
        stage=step.address.stage.value,
        category=step.category,
        component=step.bound.name,
        candidate_id=step.candidate_id,
        tries=tries,
    )
    settled = is_settled(error)
    if step.address.call is None and not settled:  # a judge's silence is its metric's to weigh
        step.case.outages += 1
    data: dict[str, Any] = {"failure": failure.plain()}
    if settled:
        data["settled"] = True
    if isinstance(error, ExplainedError) and error.execution is not None:
        data["execution"] = error.execution
    step.case.record(
        EventKind.STEP_FAILED,
        step.address,
        candidate_id=step.candidate_id,
        key=step.key,
        data=data,
    )
    step.failed(failure)
    return StepResult(failure=failure, settled=settled)
