"""Reduction: one candidate made of several samples."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import ReduceContext
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, StepAddress
from themis.core.models import ReducedCandidate
from themis.execution.flight import Candidate, CaseRun, Parsed, check_id, gather, shown_to
from themis.execution.stage import take
from themis.execution.stages.parse import parse
from themis.execution.step import Payload, Step
from themis.planning.keys import content_digest, reduce_key, refused_digest
from themis.planning.work import Bound


async def reduce(case: CaseRun, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the reduced candidate, or None where the reducer failed."""
    engine, bound = case.engine, case.engine.run.reducer
    assert bound is not None
    parsed = await _parsed(case, bound, candidates)
    ids = [CandidateId(one.candidate_id) for one in candidates]
    context = ReduceContext(
        **case.common(bound),
        candidate_ids=ids,
        parsed={name: one.output for name, one in zip(ids, parsed, strict=False)},
    )
    shown = [shown_to(bound, one) for one in candidates]
    component = bound.component

    def seal(value: Any) -> Payload:
        payload = _seal(value, ids)
        step.candidate_id = value.candidate_id  # noqa: F821 - till deleted
        return payload

    step = Step(
        address=StepAddress(Stage.REDUCE),
        key=reduce_key(
            bound.digest,
            [one.content for one in candidates],
            [one.content for one in parsed],
            case.digests.read_by(bound.reads),
        ),
        bound=bound,
        call=lambda: component.reduce(shown, context),
        seal=seal,
        category="reduction",
        away=engine.runs_away(bound, component.reduce),
        # A reducer of the user's may call out; the shipped ones compute.
        paid=bound.code is not None or inspect.iscoroutinefunction(component.reduce),
        timeout=engine.runtime.generation_timeout,
    )
    taken = await take(case, step)
    del step  # what it calls refers to it: a circle that would keep the case until it is collected
    if taken.failure is not None:
        return None
    payload = taken.payload
    reduced = ReducedCandidate(
        candidate_id=payload["candidate_id"],
        source_candidate_ids=[ids[place] for place in payload["sources"]],
        final_output=payload["final_output"],
        metadata=payload.get("metadata", {}),
    )
    content = content_digest(reduced.final_output)
    refused = _refusal(content, [candidates[place] for place in payload["sources"]])
    return Candidate(
        sample=None,
        candidate_id=reduced.candidate_id,
        shown=reduced,
        content=content if refused is None else refused_digest(content, refused),
        refused=refused,
    )


def _refusal(content: bytes, sources: Sequence[Candidate]) -> str | None:
    """Return why a reduced candidate is no answer: only refusals said it, or went into it."""
    if all(one.refused is None for one in sources):
        return None
    said = [one for one in sources if content_digest(one.shown.final_output) == content]
    refused = [one.refused for one in said or sources]
    return None if None in refused else refused[0]


async def _parsed(case: CaseRun, bound: Bound, candidates: Sequence[Candidate]) -> list[Parsed]:
    """Parse the samples, for a reducer that reads their parsed values."""
    name = case.engine.run.default_parser
    if name is None or not getattr(bound.component, "reads_parsed", False):
        return []
    parser = case.engine.run.parsers[name]
    return await gather([parse(case, parser, one) for one in candidates])


def _seal(value: Any, ids: Sequence[str]) -> Payload:
    """Store sources by position: ids may differ where the same content is reduced again."""
    if not isinstance(value, ReducedCandidate):
        raise InvalidResultError(
            f"reduce() returned {type(value).__name__}, not a ReducedCandidate"
        )
    for source in value.source_candidate_ids:
        if source not in ids:
            raise InvalidResultError(
                f"reduce() names the source '{source}', which it was not given"
            )
    check_id(value.candidate_id)
    content_digest(value.final_output)  # refuses what is not JSON
    payload: Payload = {
        "candidate_id": value.candidate_id,
        "final_output": value.final_output,
        "sources": [ids.index(source) for source in value.source_candidate_ids],
    }
    if value.metadata:
        payload["metadata"] = value.metadata
    return payload
