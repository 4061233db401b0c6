"""Generation: one sample of a case from the generator."""

from __future__ import annotations

from typing import Any

from themis.core.contexts import GenerateContext
from themis.core.endings import refusal_in
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.models import GenerationResult
from themis.core.results import StepFailure
from themis.execution.candidates import Candidate, check_id
from themis.execution.case_run import CaseRun
from themis.execution.step import Payload, Step, StepResult
from themis.planning.keys import output_digest, refused_digest


class GenerateStep(Step):
    """The step of one sample.

    Args:
        case: the case.
        sample: index of the sample.
    """

    category = "generation"
    paid = True
    known_absent = True

    def __init__(self, case: CaseRun, sample: int) -> None:
        bound = case.session.run.generator
        address = address_of(Stage.GENERATE, sample)
        super().__init__(case, address, case.generate_keys[sample], bound)
        self.sample = sample
        self.in_thread = case.session.runs_in_thread(bound, bound.component.generate)
        self._content = b""
        """Digest of the output, once there is one."""

    def call(self) -> Any:
        """Ask the generator."""
        view = self.case.view_for(self.bound)
        return self.bound.component.generate(view, self.context())

    def context(self) -> GenerateContext:
        """Return what the generator is told beside the case."""
        common = self.case.common(self.bound)
        common["seed"] = self.case.seeds[self.sample]
        spec = self.case.session.run.prompt_spec
        return GenerateContext(**common, prompt_spec=spec, sample_index=self.sample)

    def to_payload(self, value: Any) -> Payload:
        """Check a generation, and return it as it is stored."""
        if not isinstance(value, GenerationResult):
            raise InvalidResultError(f"generate() returned {_named(value)}, not a GenerationResult")
        check_id(value.candidate_id)
        self._content = output_digest(value)
        self.candidate_id = self.case.sample_id(value.candidate_id, self.sample)
        return payload_of(value)

    def expected_tokens(self) -> int | None:
        """Return about how many prompt tokens it uses; None where the generator cannot say."""
        estimate = self.bound.capabilities.estimate_tokens
        if estimate is None:
            return None
        return int(estimate(self.case.view(self.bound.reads), self.context()))

    def max_prompt_tokens(self) -> int:
        """Return how many prompt tokens it uses at most."""
        view = self.case.view(self.bound.reads)
        return int(self.bound.component.max_prompt_tokens(view, self.context()))

    def failed(self, failure: StepFailure) -> None:
        """Stop the run for a failure that every other case would share."""
        if failure.fatal:
            self.case.session.stop_for(failure)

    def candidate_of(self, result: StepResult) -> str:
        """Return the id of the sample that an artifact has."""
        return self.case.sample_id(result.payload["candidate_id"], self.sample)

    def candidate(self, result: StepResult) -> Candidate | None:
        """Return the sample as later stages see it; None where there is none."""
        if result.failure is not None:
            return None
        generation: GenerationResult | None = result.value
        if generation is None:
            self.case.reusing = self.case.reusing or self.address not in self.case.prior
            generation = result_of(result.payload)
            self._content = output_digest(generation)
        name = self.candidate_id or self.case.sample_id(generation.candidate_id, self.sample)
        self.case.session.note_answer(self.bound, generation.artifacts)
        refused = refusal_in(generation.artifacts)
        content = self._content
        return Candidate(
            sample=self.sample,
            candidate_id=name,
            shown=_without_evidence(generation, name),
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
