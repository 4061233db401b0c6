"""Generation: one sample of a case from the generator."""

from __future__ import annotations

from typing import Any

from themis.core.contexts import GenerateContext
from themis.core.endings import refusal_in
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.models import GenerationResult
from themis.core.results import StepFailure
from themis.execution.flight import Candidate, CaseRun, check_id
from themis.execution.stage import take
from themis.execution.step import Payload, Step
from themis.planning.keys import output_digest, refused_digest


async def generate(case: CaseRun, sample: int) -> Candidate | StepFailure:
    """Return one sample's candidate, or why there is none."""
    engine, bound = case.engine, case.engine.run.generator
    address = address_of(Stage.GENERATE, sample)
    component = bound.component

    def context() -> GenerateContext:
        common = case.common(bound)
        common["seed"] = case.seeds[sample]
        return GenerateContext(**common, prompt_spec=engine.run.prompt_spec, sample_index=sample)

    content = b""

    def seal(value: Any) -> Payload:
        nonlocal content
        if not isinstance(value, GenerationResult):
            raise InvalidResultError(f"generate() returned {_named(value)}, not a GenerationResult")
        check_id(value.candidate_id)
        content = output_digest(value)
        step.candidate_id = case.sample_id(value.candidate_id, sample)  # noqa: F821 - till deleted
        return payload_of(value)

    step = Step(
        address=address,
        key=case.generate_keys[sample],
        bound=bound,
        call=lambda: component.generate(case.view_for(bound), context()),
        seal=seal,
        category="generation",
        away=engine.runs_away(bound, component.generate),
        paid=True,
        known_absent=True,
        tokens=(lambda: int(component.estimate_tokens(case.view(bound.reads), context())))
        if hasattr(component, "estimate_tokens")
        else None,
        bound_tokens=lambda: int(component.bound_tokens(case.view(bound.reads), context())),
    )
    taken = await take(case, step)
    del step  # what it calls refers to it: a circle that would keep the case until it is collected
    if taken.failure is not None:
        if taken.failure.fatal:
            engine.stop_for(taken.failure)
        return taken.failure
    result = taken.value
    if result is None:
        case.reusing = case.reusing or address not in case.prior
        result = result_of(taken.payload)
        content = output_digest(result)
    candidate_id = case.sample_id(result.candidate_id, sample)
    refused = refusal_in(result.artifacts)
    return Candidate(
        sample=sample,
        candidate_id=candidate_id,
        shown=_without_evidence(result, candidate_id),
        content=content if refused is None else refused_digest(content, refused),
        refused=refused,
    )


def payload_of(result: GenerationResult) -> Payload:
    """Return a generation as it is stored: fields that say nothing left out."""
    payload: Payload = {
        "candidate_id": result.candidate_id,
        "final_output": result.final_output,
    }
    if result.trace is not None:
        payload["trace"] = [step.model_dump(mode="json") for step in result.trace]
    if result.conversation is not None:
        payload["conversation"] = [turn.model_dump(mode="json") for turn in result.conversation]
    for name in ("artifacts", "token_usage", "latency_ms"):
        value = getattr(result, name)
        if value is not None:
            payload[name] = value
    return payload


def result_of(payload: Payload) -> GenerationResult:
    """Return a generation as it was stored."""
    if "trace" in payload or "conversation" in payload:
        return GenerationResult(
            **{name: value for name, value in payload.items() if name != "tries"}
        )
    return GenerationResult.unchecked(
        candidate_id=payload["candidate_id"],
        final_output=payload["final_output"],
        trace=None,
        conversation=None,
        artifacts=payload.get("artifacts"),
        token_usage=payload.get("token_usage"),
        latency_ms=payload.get("latency_ms"),
    )


def _without_evidence(result: GenerationResult, candidate_id: str) -> GenerationResult:
    """Return what later stages are shown: keys do not cover evidence, so they do not see it."""
    if (
        result.artifacts is None
        and result.token_usage is None
        and result.latency_ms is None
        and result.candidate_id == candidate_id
    ):
        return result
    return GenerationResult.unchecked(
        candidate_id=candidate_id,
        final_output=result.final_output,
        trace=result.trace,
        conversation=result.conversation,
        artifacts=None,
        token_usage=None,
        latency_ms=None,
    )


def _named(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.60}"
