"""The results of a case, put together from its steps; and of a run's cases, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate, Score
from themis.core.pipeline import REDUCE, SELECT, Pipeline
from themis.core.results import CaseResult, StepFailure
from themis.core.snapshot import RunIdentity, RunSnapshot
from themis.core.store import RunStore
from themis.views.cases import RunCase, cases_with_steps
from themis.views.scores import CaseScore, score_case
from themis.views.steps import CaseSteps, Subject, subjects, subjects_of
from themis.views.traces import evaluation_execution

_GENERATION = tuple(GenerationResult.model_fields)


def fold_case(pipeline: Pipeline, case: RunCase, steps: CaseSteps) -> CaseResult:
    """Return the results of a case.

    A selector's failure is given as ``reduction_error``, with its stage: it is the reason why there
    is nothing to score.
    """
    identity = pipeline.identity
    generated, failures = _generated(steps, pipeline.samples)
    names = {sample: result.candidate_id for sample, result in generated.items()}
    chosen = steps.chosen()
    rows = score_case(steps, pipeline, identity.metrics)
    parsed, parse_errors = _parsed(steps, identity)
    only = _only_candidate(subjects(steps, pipeline))
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
            for metric in pipeline.all_judged
            for subject in subjects_of(steps, pipeline, metric)
            if (execution := evaluation_execution(steps, metric, subject.sample)) is not None
        ],
        evaluation_failures=[
            _failure(row.event) for row in rows if row.value is None and _is_its_own(row, pipeline)
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
    """Stream the results of cases ``start`` to ``stop`` (exclusive), in order.

    Only every ``step``-th case is yielded. A case that is not in the store yet is skipped.
    """
    pipeline = Pipeline(snapshot.identity)
    for case, steps in cases_with_steps(store, snapshot, start, stop):
        if (case.position - start) % step == 0:
            yield fold_case(pipeline, case, steps)


def case_result(store: RunStore, snapshot: RunSnapshot, index: int) -> CaseResult:
    """Return the results of the case at a position of the run.

    Raises:
        IndexError: the run has no case there, or the case is not in the store yet.
    """
    for result in case_results(store, snapshot, index, index + 1):
        return result
    raise IndexError(f"run {snapshot.run_id} has no case at position {index}")


def _generated(
    steps: CaseSteps, samples: Sequence[int]
) -> tuple[dict[int, GenerationResult], list[StepFailure]]:
    made: dict[int, GenerationResult] = {}
    failures = []
    for sample in samples:
        event = steps.generated(sample)
        if event is None:
            continue
        if event.artifact is None:
            failures.append(_failure(event))
            continue
        payload = event.artifact.payload
        fields = {name: payload[name] for name in _GENERATION if name in payload}
        fields["candidate_id"] = event.candidate_id or payload["candidate_id"]
        if "tries" in payload:  # failed tries are shown among the artifacts
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
    """Return the run's parsed outputs and its parse failures, each by candidate id."""
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
    """Return the id of the reduced or only candidate; "" where there is none."""
    return (found[0].candidate_id or "") if len(found) == 1 else ""


def _is_its_own(row: CaseScore, pipeline: Pipeline) -> bool:
    """Return whether a row's event is of its metric's own step, not of an upstream step."""
    return row.event.address == pipeline.metrics[row.metric_id].step(row.sample)


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
