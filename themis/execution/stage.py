"""The stage step, taken alike at every stage.

    key -> in this run? in the store? (unless this attempt redoes the stage)
        -> do the work (``tries.py``) -> journal -> (after the commit) tell subscribers

What is peculiar to a stage (its key, its call, what it makes of the result) is in ``stages/``.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import encode
from themis.core.results import StepFailure
from themis.execution.engine import PASS_THROUGH
from themis.execution.failures import ExplainedError, WorkStoppedError, failure_of
from themis.execution.flight import CaseRun
from themis.execution.step import Step, Taken
from themis.execution.tries import work


async def take(case: CaseRun, step: Step) -> Taken:
    """Take one step: find its artifact, or do the work and journal it.

    Raises:
        WorkStoppedError: the run is stopping and this would be new work.
        StoreError: the store cannot be asked.
    """
    engine = case.engine
    artifact = case.earlier(step)
    if artifact is not None:
        return Taken(artifact=artifact)
    redone = engine.attempt.redoes(step.address)
    artifact = case.found.get(step.key)
    if artifact is None and _is_worth_asking_for(case, step, redone):
        artifact = await engine.lookup(step.key)
    if artifact is not None:
        if not case.was_redone(step, artifact) and engine.accepts(artifact, step):
            return _journal_reuse(case, step, artifact)
        step.renews = not redone and engine.attempt.is_too_old(artifact)
    if (foreseen := case.instead_of_work(step)) is not None:
        return foreseen
    supersedes = redone or artifact is not None
    if step.paid:
        return await _take_once(case, step, supersedes)
    return await _make(case, step, supersedes)


async def _take_once(case: CaseRun, step: Step, supersedes: bool) -> Taken:
    """Do paid work, unless the same is being done for another step: then share what it gives."""
    engine = case.engine
    asked = False
    while True:
        made = engine.uncommitted.get(step.key)
        if made is not None:
            return _journal_shared(case, step, made)
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
            if kept is not None and engine.accepts(kept, step):
                return _journal_reuse(case, step, kept)
    landed = engine.flights[step.key] = asyncio.get_running_loop().create_future()
    try:
        return await _make(case, step, supersedes)
    finally:
        del engine.flights[step.key]
        landed.set_result(None)


async def _make(case: CaseRun, step: Step, supersedes: bool) -> Taken:
    """Do the work and journal it."""
    engine = case.engine
    blocks = step.paid or step.away or step.bound.cpu_bound
    if engine.stopping and (blocks or engine.at_once):
        raise WorkStoppedError
    tries: list[dict[str, Any]] = []
    began = time.perf_counter()
    try:
        value, payload, cost = await work(case, step, tries)
        if tries:
            payload["tries"] = tries
        raw = encode(payload)
    except PASS_THROUGH:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        settled = isinstance(error, ExplainedError) and not error.outage
        return Taken(failure=_journal_failure(case, step, error, tries), settled=settled)
    now = time.time()
    made = Artifact(
        key=step.key, raw=raw, at=now, code=engine.code_of(step.bound), supersedes=supersedes
    )
    if step.paid:
        engine.uncommitted[step.key] = made
    data = {"ms": round((time.perf_counter() - began) * 1000.0, 3)}
    if cost is not None:
        data["cost"] = cost
    if step.renews:
        data["renewed"] = True
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=engine.attempt.number,
            at=now,
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id,
            key=step.key,
            data=data,
            artifact=made,
        )
    )
    return Taken(payload, value)


def _is_worth_asking_for(case: CaseRun, step: Step, redone: bool) -> bool:
    """Return whether the store may have a step that was not among what was read beforehand."""
    engine = case.engine
    if step.known_absent and step.key not in engine.recent:
        return False
    # Pure work that is done again needs no question. Within a bound of age it does: the store
    # would refer to what stands under an equal key, however old it is.
    by_age = engine.attempt.not_before is not None
    return step.paid or (not redone and (case.reusing or by_age))


def _journal_shared(case: CaseRun, step: Step, made: Artifact) -> Taken:
    """Journal that the step is done, by what another step of this run has just been given."""
    taken = Taken(artifact=made)
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id or case.candidate_name(step.address, taken),
            key=step.key,
            reused=True,
            artifact=Artifact(key=made.key, raw=made.raw, at=made.at, code=made.code),
        )
    )
    return taken


def _journal_reuse(case: CaseRun, step: Step, artifact: Artifact) -> Taken:
    """Journal that the step is done, by an artifact that was there before."""
    taken = Taken(artifact=artifact)
    case.emit(
        Event(
            kind=EventKind.STEP_DONE,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=step.address,
            candidate_id=step.candidate_id or case.candidate_name(step.address, taken),
            key=step.key,
            version=artifact.version,
            reused=True,
            found=artifact,
        )
    )
    return taken


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
    if settled:
        data["settled"] = True
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
