"""What a run would send for its first cases, and what it would make of an answer.

The same components do the work as in a run, and are given the same: a request is the generator's
own, or where it tells none, what the prompt spec makes of the input. Nothing is sent, nothing is
stored, and no judge is asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import Field

from themis.core.base import CaseId, DatasetId, JSONObject, JSONValue, Model, case_key
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.models import Case, Dataset, GenerationResult
from themis.core.prompts import PromptSpec, as_text
from themis.core.redaction import redact
from themis.execution.failures import said
from themis.experiment.preview_scores import (
    JudgePromptPreview,
    ParsedPreview,
    ScorePreview,
    as_shown,
    evaluated,
)
from themis.planning.seeds import sample_seed
from themis.planning.work import CompiledRun

Outputs = str | Sequence[Any] | Mapping[str, Any] | None
"""One text for every case, a list in order of the cases, or outputs by case id."""
_ADDRESSED = ("headers", "url", "base_url", "proxy")
"""Parts of a request in which a secret may travel; all else of it is content."""


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
    pairs = list(islice(_cases(run), n))
    given = _given(outputs, [case.case_id for _, case in pairs])
    return [
        await _previewed(run, dataset, case, given.get(place))
        for place, (dataset, case) in enumerate(pairs)
    ]


async def _previewed(
    run: CompiledRun, dataset: Dataset, case: Case, result: GenerationResult | None
) -> CasePreview:
    try:
        request, instructions, tokens, is_exact = await _request(run, dataset, case)
    except Exception as error:
        raise DefinitionError(
            f"case '{case.case_id}' of dataset '{dataset.dataset_id}': its request cannot be made: "
            f"{type(error).__name__}: {said(error)}",
            field="generator",
            value=case.case_id,
        ) from error
    identity = run.snapshot.identity
    seeds = [
        sample_seed(identity.seeds, case.case_id, sample) for sample in range(identity.num_samples)
    ]
    shown = as_shown(run.generator, case).model_dump(mode="json")
    return CasePreview(
        dataset_id=dataset.dataset_id,
        case_id=case.case_id,
        case={name: shown[name] for name in shown if name in {"case_id", *run.generator.reads}},
        request=request,
        is_exact=is_exact,
        instructions=instructions,
        seed=seeds[0],
        other_seeds=seeds[1:],
        prompt_tokens=tokens,
        output=None if result is None else result.final_output,
        **({} if result is None else await evaluated(run, dataset, case, result)),
    )


async def _request(
    run: CompiledRun, dataset: Dataset, case: Case
) -> tuple[JSONValue, str | None, int, bool]:
    """Return the request, instructions that stand apart, its tokens, and if it is the exact one."""
    generator = run.generator
    context = GenerateContext(
        run_id=run.run_id,
        case_id=CaseId(case.case_id),
        dataset_id=DatasetId(dataset.dataset_id),
        case_key=case_key(dataset.dataset_id, case.case_id),
        seed=sample_seed(run.snapshot.identity.seeds, case.case_id, 0),
        metadata=as_shown(generator, case).metadata,
        prompt_spec=run.prompt_spec,
        sample_index=0,
    )
    tells = getattr(generator.component, "request", None)
    spec = run.prompt_spec or PromptSpec()
    instructions = None
    if callable(tells):
        request = tells(as_shown(generator, case), context)
        request = _without_secrets(await request if inspect.isawaitable(request) else request)
    else:
        view = as_shown(generator, case)
        request = spec.render_input(view.input, metadata=view.metadata)
        instructions = spec.instructions
    estimates = getattr(generator.component, "estimate_tokens", None)
    if callable(estimates):
        tokens = int(estimates(as_shown(generator, case), context))
    else:
        tokens = -(-(len(as_text(request)) + len(instructions or "")) // 4)
    return request, instructions, tokens, callable(tells)


def _without_secrets(request: Any) -> Any:
    """Return a request with nothing secret in what addresses it; its content is left as it is."""
    if not isinstance(request, dict):
        return request
    return {
        name: redact({name: value})[name] if name in _ADDRESSED else value
        for name, value in request.items()
    }


def _cases(run: CompiledRun) -> Iterator[tuple[Dataset, Case]]:
    for dataset in run.datasets:
        for case in dataset:
            yield dataset, case


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
