"""What parsers, metrics and judged metrics would make of an output, without a run.

Failures are shown as what they are: a parser that finds nothing and a metric that refuses are
results here too. Judged metrics come as far as their prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import Field

from themis.core.base import CandidateId, CaseId, DatasetId, JSONObject, JSONValue, Model, case_key
from themis.core.contexts import EvalScoreContext, ParseContext, ScoreContext
from themis.core.endings import REFUSED, refusal_in
from themis.core.errors import InvalidResultError, did_you_mean
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import Case, Dataset, GenerationResult, ParsedOutput
from themis.execution.calls import call_inline
from themis.execution.failures import category_of, is_retryable, said
from themis.execution.flight import Candidate, Parsed, own_copy, parsed_for, shown_to
from themis.execution.stages.judge import subject_of
from themis.execution.stages.parse import as_refusal, unparsed
from themis.execution.stages.score import ByRule, by_rule, scores_refusals, seal
from themis.execution.stages.way import conversation_of, trace_of
from themis.planning.keys import output_digest
from themis.planning.seeds import derived_seed
from themis.planning.work import Bound, CompiledRun


class ParsedPreview(Model):
    """What a parser reads out of an output: a value, or why there is none."""

    parser: str
    value: JSONValue = None
    format: str | None = None
    failure: str | None = None
    failure_category: str | None = None
    """parse_failure, parse_null or refused, as the score table has them."""


class ScorePreview(Model):
    """What a metric makes of an output: a value, or why there is none."""

    metric: str
    value: float | int | None = None
    details: JSONObject = Field(default_factory=dict)
    failure: str | None = None
    """Why it was scored by rule, or not at all."""
    failure_category: str | None = None


class JudgePromptPreview(Model):
    """What a judge would be asked about an output."""

    metric: str
    judge: str | None = None
    """None where the metric failed before it came to ask."""
    prompt: RenderedJudgePrompt | None = None
    prompt_tokens: int | None = None
    """About how many tokens it has, where the judge can tell."""
    failure: str | None = None


def as_shown(bound: Bound, case: Case) -> Case:
    """Return a copy of a case with what the component does not read blanked."""
    own = case.model_copy(deep=True)
    return Case.model_construct(
        case_id=own.case_id,
        input=own.input if "input" in bound.reads else None,
        expected_output=own.expected_output if "expected_output" in bound.reads else None,
        metadata=own.metadata if "metadata" in bound.reads else {},
    )


async def evaluated(
    run: CompiledRun, dataset: Dataset, case: Case, result: GenerationResult
) -> dict[str, Any]:
    """Return what the run's parsers and metrics make of one output, as ``CasePreview`` has it."""
    return await _Evaluation(run, dataset, case, result).everything()


class _Evaluation:
    """One output of one case, gone through parsers, metrics and judges' prompts."""

    def __init__(
        self, run: CompiledRun, dataset: Dataset, case: Case, result: GenerationResult
    ) -> None:
        self.run = run
        self.dataset = dataset
        self.case = case
        self.subject = Candidate(
            sample=0,
            candidate_id=result.candidate_id,
            shown=result.model_copy(
                update={"artifacts": None, "token_usage": None, "latency_ms": None}
            ),
            content=output_digest(result),
            refused=refusal_in(result.artifacts),
        )

    async def everything(self) -> dict[str, Any]:
        parsed = {name: await self._parse(parser) for name, parser in self.run.parsers.items()}
        scores = []
        prompts = []
        for metric in self.run.metrics:
            if metric.facts.judged:
                prompts += await self._judge_prompts(metric)
            elif metric.facts.of is not None:
                scores.append(
                    ScorePreview(
                        metric=metric.name,
                        failure=f"it folds the scores of a case's samples by '{metric.facts.of}', "
                        "and a preview has one sample",
                        failure_category="scoring",
                    )
                )
            else:
                name = metric.ref.parser
                scores.append(
                    await self._score(
                        metric, unparsed(self.subject) if name is None else parsed[name]
                    )
                )
        return {
            "parsed": [_shown(name, one) for name, one in parsed.items()],
            "scores": scores,
            "judge_prompts": prompts,
        }

    def _common(self, bound: Bound) -> dict[str, Any]:
        return {
            "run_id": self.run.run_id,
            "case_id": CaseId(self.case.case_id),
            "dataset_id": DatasetId(self.dataset.dataset_id),
            "case_key": case_key(self.dataset.dataset_id, self.case.case_id),
            "seed": derived_seed(self.case.case_id, "case"),
            "metadata": as_shown(bound, self.case).metadata,
        }

    async def _parse(self, parser: Bound) -> Parsed:
        if self.subject.refused is not None:
            return _unread(REFUSED.category, self.subject.refused)
        candidate_id = CandidateId(self.subject.candidate_id)
        context = ParseContext(**self._common(parser), candidate_id=candidate_id)
        shown = shown_to(parser, self.subject)
        try:
            found = await call_inline(lambda: parser.component.parse(shown, context))
        except Exception as error:  # noqa: BLE001 - the boundary to user code
            outage = is_retryable(error)  # a connection or a timeout says nothing about the model
            return _unread("parser" if outage else "parse_failure", said(error), outage=outage)
        if not isinstance(found, ParsedOutput):
            return _unread(
                "parser",
                f"parse() returned {type(found).__name__}, not a ParsedOutput",
                outage=True,
            )
        if found.value is None:
            return _unread("parse_null", "the parser gave no value")
        return Parsed(output=found, content=b"")

    async def _score(self, metric: Bound, parsed: Parsed) -> ScorePreview:
        facts, output = metric.facts, parsed.output
        if self.subject.refused is not None and scores_refusals(metric):
            output = as_refusal(self.subject).output
        try:
            if output is None and parsed.outage:
                return ScorePreview(
                    metric=metric.name,
                    failure=parsed.message,
                    failure_category=parsed.category,
                )
            if output is None:
                category, message = parsed.category or "parse_failure", parsed.message or ""
                made: Any = ByRule(by_rule(facts, category, message))
            else:
                made = await call_inline(self._scoring(metric, output))
            payload = seal(made, facts)
        except Exception as error:  # noqa: BLE001 - the boundary to user code
            return ScorePreview(
                metric=metric.name,
                failure=said(error),
                failure_category=category_of(error, "scoring"),
            )
        failure = payload.get("failure", {})
        return ScorePreview(
            metric=metric.name,
            value=payload["value"],
            details=payload.get("details", {}),
            failure=failure.get("message"),
            failure_category=failure.get("category"),
        )

    def _scoring(self, metric: Bound, output: ParsedOutput) -> Callable[[], Any]:
        context = ScoreContext(
            **self._common(metric),
            case=as_shown(metric, self.case),
            parsed_output=output,
            dataset_metadata=own_copy(metric, self.dataset.metadata),
            candidate_id=CandidateId(self.subject.candidate_id),
            trace=trace_of(metric, self.subject),
            conversation=conversation_of(metric, self.subject),
        )
        given = parsed_for(metric, output)
        return lambda: metric.component.score(given, context.case, context)

    async def _judge_prompts(self, metric: Bound) -> list[JudgePromptPreview]:
        identity = self.run.snapshot.identity
        context = EvalScoreContext(
            **self._common(metric),
            case=as_shown(metric, self.case),
            parsed_output=None,
            dataset_metadata=own_copy(metric, self.dataset.metadata),
            candidate_id=CandidateId(self.subject.candidate_id),
            judge_model_refs=list(self.run.judges),
            judges_with_schemas=self.run.judges_with_schemas,
            judge_seed=derived_seed(self.case.case_id, "judge", 0),
            prompt_spec=identity.judge_prompt_spec,
            judge_config=own_copy(metric, identity.judge_config),
            eval_workflow_config=own_copy(metric, identity.workflow_overrides.get(metric.name, {})),
        )
        asked: list[JudgePromptPreview] = []
        try:
            # Of what is judged together the one output stands for every sample.
            together = identity.num_samples if metric.facts.subject == "candidates" else 1
            subject = subject_of(metric, [self.subject] * together)
            workflow = await call_inline(lambda: metric.component.build_workflow(subject, context))
            for call in await call_inline(workflow.judge_calls):
                judge = self.run.judges.get(call.judge)
                if judge is None:
                    raise InvalidResultError(
                        f"judge call '{call.call_id}' asks for '{call.judge}'"
                        f"{did_you_mean(call.judge, self.run.judges)}"
                    )
                prompt = await call_inline(partial(workflow.render_prompt, call, subject, context))
                estimates = getattr(judge.component, "estimate_tokens", None)
                asked.append(
                    JudgePromptPreview(
                        metric=metric.name,
                        judge=judge.name,
                        prompt=prompt,
                        prompt_tokens=int(estimates(prompt)) if callable(estimates) else None,
                    )
                )
        except Exception as error:  # noqa: BLE001 - the boundary to user code
            asked.append(JudgePromptPreview(metric=metric.name, failure=said(error)))
        return asked


def _shown(parser: str, parsed: Parsed) -> ParsedPreview:
    output = parsed.output
    return ParsedPreview(
        parser=parser,
        value=None if output is None else output.value,
        format=None if output is None else output.format,
        failure=parsed.message,
        failure_category=parsed.category,
    )


def _unread(category: str, message: str, *, outage: bool = False) -> Parsed:
    return Parsed(output=None, content=b"", category=category, message=message, outage=outage)
