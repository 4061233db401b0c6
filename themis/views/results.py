"""All that came of a case, put together from its steps; and a run's cases, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate, Score
from themis.core.protocols import RunStore
from themis.core.results import CaseResult, StepFailure
from themis.core.snapshot import RunIdentity, RunSnapshot
from themis.views.cases import RunCase, run_cases
from themis.views.scores import Scored, facts_of, score_case
from themis.views.steps import (
    PAGE,
    REDUCE,
    SELECT,
    CaseSteps,
    Subject,
    read_steps,
    subjects,
    whole_case,
)
from themis.views.traces import evaluation_execution

_GENERATION = tuple(GenerationResult.model_fields)


def fold_case(snapshot: RunSnapshot, case: RunCase, steps: CaseSteps) -> CaseResult:
    """Return all that came of a case.

    What a selector failed at stands under ``reduction_error`` with its stage, as the reason why
    there is nothing to score.
    """
    identity = snapshot.identity
    generated, failures = _generated(steps, identity)
    names = {sample: result.candidate_id for sample, result in generated.items()}
    chosen = steps.chosen()
    rows = score_case(steps, identity, identity.metrics)
    parsed, parse_errors = _parsed(steps, identity)
    only = _only_candidate(subjects(steps, identity))
    return CaseResult(
        case_id=case.case_id,
        dataset_id=case.dataset_id,
        case_key=case.case_key,
        generated_candidates=list(generated.values()),
        generation_failures=failures,
        reduced_candidate=_reduced(steps, names, chosen),
        reduction_error=_reduction_error(steps),
        selected_candidate_ids=None
        if chosen is None
        else [names[sample] for sample in chosen if sample in names],
        parsed_output=parsed.get(only),
        parse_error=parse_errors.get(only),
        parsed_outputs=parsed,
        parse_errors=parse_errors,
        evaluation_executions=[
            execution
            for metric in identity.metrics
            if facts_of(metric).judged
            for sample in _samples(steps, identity, facts_of(metric).subject)
            if (execution := evaluation_execution(steps, metric.name, sample)) is not None
        ],
        evaluation_failures=[
            _failure(row.event) for row in rows if row.value is None and _is_its_own(row)
        ],
        scores=[
            Score(metric_id=row.metric_id, value=row.value, details=row.details)
            for row in rows
            if row.value is not None
        ],
    )


def case_results(
    store: RunStore, snapshot: RunSnapshot, start: int = 0, stop: int | None = None, step: int = 1
) -> Iterator[CaseResult]:
    """Stream what came of cases ``start`` to ``stop`` (exclusive), in order, a page at a time.

    Of every ``step`` cases the first is given, and the others are read and not put together. A case
    that the store was not given yet is passed over.
    """
    end = snapshot.n_cases if stop is None else min(stop, snapshot.n_cases)
    for lower in range(start, end, PAGE):
        upper = min(lower + PAGE, end)
        known = {steps.index: steps for steps in read_steps(store, snapshot.run_id, lower, upper)}
        for case in run_cases(store, snapshot, lower, upper):
            if (case.position - start) % step == 0:
                steps = known.get(case.position) or CaseSteps(case.position)
                yield fold_case(snapshot, case, steps)


def case_result(store: RunStore, snapshot: RunSnapshot, index: int) -> CaseResult:
    """Return what came of the case at a position of the run.

    Raises:
        IndexError: the run has no case there, or the store was not given it yet.
    """
    for result in case_results(store, snapshot, index, index + 1):
        return result
    raise IndexError(f"run {snapshot.run_id} has no case at position {index}")


def _generated(
    steps: CaseSteps, identity: RunIdentity
) -> tuple[dict[int, GenerationResult], list[StepFailure]]:
    made: dict[int, GenerationResult] = {}
    failures = []
    for sample in range(identity.num_samples):
        event = steps.generated(sample)
        if event is None:
            continue
        if event.artifact is None:
            failures.append(_failure(event))
            continue
        payload = event.artifact.payload
        fields = {name: payload[name] for name in _GENERATION if name in payload}
        fields["candidate_id"] = event.candidate_id or payload["candidate_id"]
        if "tries" in payload:  # the history of those that failed is evidence like any other
            fields["artifacts"] = {**(fields.get("artifacts") or {}), "tries": payload["tries"]}
        made[sample] = GenerationResult(**fields)
    return made, failures


def _reduced(
    steps: CaseSteps, names: dict[int, str], chosen: list[int] | None
) -> ReducedCandidate | None:
    event = steps.newest.get(REDUCE)
    if event is None or event.artifact is None:
        return None
    payload = event.artifact.payload
    # Sources are stored as positions among what the reducer was given: ids may differ where the
    # same content is reduced again.
    given = sorted(names) if chosen is None else chosen
    ids = [names.get(sample, str(sample)) for sample in given]
    return ReducedCandidate(
        candidate_id=event.candidate_id or payload["candidate_id"],
        source_candidate_ids=[ids[place] for place in payload["sources"] if place < len(ids)],
        final_output=payload["final_output"],
        metadata=payload.get("metadata") or {},
    )


def _reduction_error(steps: CaseSteps) -> StepFailure | None:
    for address in (REDUCE, SELECT):
        event = steps.newest.get(address)
        if event is not None and event.kind is EventKind.STEP_FAILED:
            return _failure(event)
    return None


def _parsed(
    steps: CaseSteps, identity: RunIdentity
) -> tuple[dict[str, ParsedOutput], dict[str, StepFailure]]:
    """Return what the run's own parser read, and where it could not, by candidate id."""
    outputs: dict[str, ParsedOutput] = {}
    errors: dict[str, StepFailure] = {}
    if identity.default_parser is None:
        return outputs, errors
    for sample in (*range(identity.num_samples), None):
        event = steps.newest.get(StepAddress(Stage.PARSE, sample, identity.default_parser))
        if event is None or event.candidate_id is None:
            continue
        name = event.candidate_id
        if event.artifact is None:
            errors[name] = _failure(event)
            continue
        payload = event.artifact.payload
        if "failure" in payload:
            errors[name] = _models_failure(payload["failure"], event)
        else:
            outputs[name] = ParsedOutput(
                value=payload["value"],
                format=payload.get("format"),
                metadata=payload.get("metadata") or {},
            )
    return outputs, errors


def _only_candidate(found: list[Subject]) -> str:
    """Return the id of the reduced or only candidate; nothing goes by the empty one."""
    return (found[0].candidate_id or "") if len(found) == 1 else ""


def _samples(steps: CaseSteps, identity: RunIdentity, kind: str) -> list[int | None]:
    if kind == "candidates":
        return [whole_case(steps, identity).sample]
    return [subject.sample for subject in subjects(steps, identity)]


def _is_its_own(row: Scored) -> bool:
    address = row.event.address
    return address is not None and address.stage in (Stage.SCORE, Stage.JUDGE)


def _failure(event: Event) -> StepFailure:
    data: dict[str, Any] = dict(event.data["failure"])
    data.setdefault("stage", event.address.stage.value if event.address else "")
    data["candidate_id"] = data.get("candidate_id") or event.candidate_id
    return StepFailure(**data)


def _models_failure(data: dict[str, Any], event: Event) -> StepFailure:
    return StepFailure(
        stage=Stage.PARSE.value,
        category=data["category"],
        message=data["message"],
        cause=data.get("cause"),
        candidate_id=event.candidate_id,
        component=event.address.component if event.address else None,
    )
