"""What a run would send for its first cases, and what it would make of an answer.

A preview is a run of a few cases over outputs that are given: the steps, their components and what
these are shown are a run's own, in a store that is forgotten. No generator is asked, and a judged
metric comes as far as its prompts. Failures are shown as what they are: a parser that finds nothing
and a metric that refuses are results here too.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from pydantic import Field

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.config import RuntimeConfig
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.events import Event, EventKind, Stage
from themis.core.judging import RenderedJudgePrompt
from themis.core.models import GenerationResult
from themis.core.prompts import PromptSpec, as_text
from themis.core.redaction import redact
from themis.core.results import StepFailure
from themis.execution.attempt import make_attempt
from themis.execution.case import evaluate_subject
from themis.execution.case_run import CaseRun
from themis.execution.failures import said
from themis.execution.feed import CaseReader
from themis.execution.hooks import Hooks
from themis.execution.run_or_reuse import run_or_reuse
from themis.execution.session import RunSession
from themis.execution.stages.generate import GenerateStep
from themis.execution.stages.judge import AggregateStep, JudgeCallStep, judge
from themis.execution.stages.parse import ParseStep
from themis.execution.step import Step, StepResult
from themis.execution.unwritten import UnwrittenJournal
from themis.planning.compiled_run import CompiledRun
from themis.stores.memory import InMemoryRunStore

Outputs = str | Sequence[Any] | Mapping[str, Any] | None
"""One text for every case, a list in order of the cases, or outputs by case id."""
_ADDRESSED = ("headers", "url", "base_url", "proxy")
"""Parts of a request in which a secret may travel; all else of it is content."""
_NOT_ASKED = StepFailure(stage="judge", category="not_asked", message="no judge is asked")


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


class CasePreview(Model):
    """One case as a run would treat it, its first sample."""

    dataset_id: str
    case_id: str
    case: JSONObject
    """What the generator is shown of the case."""
    request: JSONValue
    """What the generator would send; where it does not tell, the rendered input."""
    is_exact: bool
    """Whether the request is the generator's own word."""
    instructions: str | None = None
    """The prompt spec's instructions, where they are not in the request."""
    seed: int
    """The seed of the first sample."""
    other_seeds: list[int] = Field(default_factory=list)
    """The seeds of the further samples, whose requests differ in nothing else."""
    prompt_tokens: int
    """About how many tokens the prompt has: the generator's estimate, or one for 4 characters."""
    output: JSONValue = None
    """The output that was given for the case, if any."""
    parsed: list[ParsedPreview] = Field(default_factory=list)
    """What each parser reads out of the output."""
    scores: list[ScorePreview] = Field(default_factory=list)
    """What each metric that needs no judge makes of it."""
    judge_prompts: list[JudgePromptPreview] = Field(default_factory=list)
    """What the judges would be asked about it."""


async def preview(run: CompiledRun, *, n: int, outputs: Outputs) -> list[CasePreview]:
    """Return the first cases of a run as it would treat them.

    Args:
        run: the compiled run.
        n: how many cases.
        outputs: outputs to parse and score, if any.

    Raises:
        DefinitionError: ``n`` or ``outputs`` is not what it should be, or a request cannot be made;
            one line that names the case.
    """
    if type(n) is not int or n < 1:
        raise DefinitionError(f"n = {n!r}: must be an integer of at least 1", field="n", value=n)
    return await _Preview(run).of_cases(n, outputs)


class _Preview:
    """A run of a few cases in a store that is forgotten, in which nobody is asked anything."""

    def __init__(self, run: CompiledRun) -> None:
        self._run = run
        self._store = InMemoryRunStore()
        self._session = RunSession(
            run,
            RuntimeConfig(),
            journal=UnwrittenJournal(self._store, self._hear),
            attempt=make_attempt(run, number=1, mode="run", until=Stage.JUDGE, began=time.time()),
            hooks=Hooks(None, None),
            quiet=True,
        )
        self._parsed: list[ParsedPreview] = []
        self._asked: list[JudgePromptPreview] = []

    async def of_cases(self, n: int, outputs: Outputs) -> list[CasePreview]:
        """Return the first ``n`` cases, with what would become of the outputs that are given."""
        try:
            cases = await self._first(n)
            given = _given(outputs, [case.case.case_id for case in cases])
            return [await self._of_case(case, given.get(i)) for i, case in enumerate(cases)]
        finally:
            self._session.close()

    async def _first(self, n: int) -> list[CaseRun]:
        done = bytearray(self._run.snapshot.n_cases)
        reader = CaseReader(self._session, self._store, done=done, keeps_cases=False)
        cases: list[CaseRun] = []
        async with aclosing(reader.chunks(n, n)) as chunks:
            async for chunk in chunks:
                cases += chunk
                if len(cases) >= n:
                    break
        return cases[:n]

    async def _of_case(self, case: CaseRun, result: GenerationResult | None) -> CasePreview:
        step = GenerateStep(case, 0)
        try:
            request, instructions, tokens = await _request(step)
        except Exception as error:
            raise DefinitionError(
                f"case '{case.case.case_id}' of dataset '{case.dataset_id}': its request cannot "
                f"be made: {type(error).__name__}: {said(error)}",
                field="generator",
                value=case.case.case_id,
            ) from error
        reads = step.bound.reads
        shown = case.view(reads).model_dump(mode="json")
        return CasePreview(
            dataset_id=case.dataset_id,
            case_id=case.case.case_id,
            case={name: shown[name] for name in shown if name in {"case_id", *reads}},
            request=request,
            is_exact=step.bound.capabilities.request is not None,
            instructions=instructions,
            seed=case.seeds[0],
            other_seeds=list(case.seeds[1:]),
            prompt_tokens=tokens,
            output=None if result is None else result.final_output,
            **({} if result is None else await self._evaluated(step, result)),
        )

    async def _evaluated(self, step: GenerateStep, result: GenerationResult) -> dict[str, Any]:
        """Return what parsers, metrics and judged metrics make of an output, by field."""
        self._parsed, self._asked = [], []
        case, session = step.case, self._session
        subject = step.candidate(StepResult(step.to_payload(result), result))
        assert subject is not None  # an output is given
        scored = await evaluate_subject(case, subject, self._run_step)
        # Of what is judged together the one output stands for every sample.
        together = [subject] * session.num_samples
        for metric in session.judged_together:
            await judge(case, metric, together, None, self._run_step)
        scores = {name: _score(name, one.result) for name, one in scored.items()}
        for metric in session.folded:
            scores[metric.name] = ScorePreview(
                metric=metric.name,
                failure=f"it folds the scores of a case's samples by '{metric.facts.of}', "
                "and a preview has one sample",
                failure_category="scoring",
            )
        names = [metric.name for metric in self._run.metrics]
        return {
            "parsed": self._parsed,
            "scores": [scores[name] for name in names if name in scores],
            "judge_prompts": sorted(self._asked, key=lambda one: names.index(one.metric)),
        }

    async def _run_step(self, step: Step) -> StepResult:
        """Take a step as a run does, unless it is a judge's: of it, take note of the prompt."""
        if isinstance(step, JudgeCallStep):
            self._asked.append(
                JudgePromptPreview(
                    metric=step.address.component or "",
                    judge=step.bound.name,
                    prompt=step.prompt,
                    prompt_tokens=step.expected_tokens(),
                )
            )
        if isinstance(step, JudgeCallStep | AggregateStep):
            return StepResult(failure=_NOT_ASKED)
        result = await run_or_reuse(step)
        if isinstance(step, ParseStep):
            self._parsed.append(_parsed(step, result))
        return result

    def _hear(self, event: Event) -> None:
        """Take note that a judged metric's own code fails before it comes to ask."""
        address = event.address
        if event.kind is not EventKind.STEP_FAILED or address is None:
            return
        if address.stage is Stage.JUDGE and address.component is not None:
            failure = StepFailure(**event.data["failure"])
            self._asked.append(
                JudgePromptPreview(metric=address.component, failure=_own_words(failure))
            )


async def _request(step: GenerateStep) -> tuple[JSONValue, str | None, int]:
    """Return the request of a generation, instructions that stand apart, and its tokens."""
    generator, context = step.bound, step.context()
    view = step.case.view_for(generator)
    instructions = None
    if (tells := generator.capabilities.request) is not None:
        request = tells(view, context)
        request = _without_secrets(await request if inspect.isawaitable(request) else request)
    else:
        spec = step.case.session.run.prompt_spec or PromptSpec()
        request = spec.render_input(view.input, metadata=view.metadata)
        instructions = spec.instructions
    tokens = step.expected_tokens()
    if tokens is None:
        tokens = -(-(len(as_text(request)) + len(instructions or "")) // 4)
    return request, instructions, tokens


def _parsed(step: ParseStep, result: StepResult) -> ParsedPreview:
    """Return what a parser read, or why it read nothing."""
    parsed = step.parsed(result)
    failure = parsed.message if result.failure is None else _own_words(result.failure)
    return ParsedPreview(
        parser=step.bound.name,
        value=None if parsed.output is None else parsed.output.value,
        format=None if parsed.output is None else parsed.output.format,
        failure=failure,
        failure_category=parsed.category,
    )


def _score(metric: str, result: StepResult) -> ScorePreview:
    """Return a metric's score, or why there is none."""
    if result.failure is not None:
        return ScorePreview(
            metric=metric,
            failure=_own_words(result.failure),
            failure_category=result.failure.category,
        )
    failure = result.payload.get("failure", {})
    return ScorePreview(
        metric=metric,
        value=result.payload["value"],
        details=result.payload.get("details", {}),
        failure=failure.get("message"),
        failure_category=failure.get("category"),
    )


def _own_words(failure: StepFailure) -> str:
    """Return what a component says of its failure, without its name."""
    return failure.message.removeprefix(f"{failure.component}: ")


def _without_secrets(request: Any) -> Any:
    """Return a request with nothing secret in what addresses it; its content is left as it is."""
    if not isinstance(request, dict):
        return request
    return {
        name: redact({name: value})[name] if name in _ADDRESSED else value
        for name, value in request.items()
    }


def _given(outputs: Outputs, case_ids: Sequence[str]) -> dict[int, GenerationResult]:
    """Return the given outputs by the place of their case."""
    if outputs is None:
        return {}
    if isinstance(outputs, str):
        return {place: _result(outputs, case_id) for place, case_id in enumerate(case_ids)}
    if isinstance(outputs, Mapping):
        for case_id in outputs:
            if case_id not in case_ids:
                raise DefinitionError(
                    f"outputs names the case '{case_id}', which is not among the first "
                    f"{len(case_ids)}{did_you_mean(str(case_id), case_ids)}",
                    field="outputs",
                    value=case_id,
                )
        return {
            place: _result(outputs[case_id], case_id)
            for place, case_id in enumerate(case_ids)
            if case_id in outputs
        }
    if not isinstance(outputs, (list, tuple)):
        raise DefinitionError(
            f"outputs is a {type(outputs).__name__}; give a text for every case, a list in order, "
            "or a mapping by case id",
            field="outputs",
        )
    if len(outputs) > len(case_ids):
        raise DefinitionError(
            f"outputs holds {len(outputs)} for {len(case_ids)} cases; raise n, or give fewer",
            field="outputs",
        )
    return {
        place: _result(output, case_id)
        for place, (output, case_id) in enumerate(zip(outputs, case_ids, strict=False))
    }


def _result(output: Any, case_id: str) -> GenerationResult:
    if isinstance(output, GenerationResult):
        return output
    return GenerationResult(candidate_id=f"{case_id}-0", final_output=output)
