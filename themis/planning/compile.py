"""From a definition to a run: what can be refused is refused here, before a cent is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from themis.core.config import ComponentUse, EvaluationConfig, GenerationConfig
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json, digest_value
from themis.core.models import Dataset
from themis.core.pipeline import MetricRole, role_of
from themis.core.prompts import PromptSpec
from themis.core.redaction import find_secret
from themis.core.snapshot import MetricFacts, RunIdentity, RunSnapshot
from themis.planning.capabilities import Capabilities, Role
from themis.planning.compiled_run import BoundComponent, CompiledRun
from themis.planning.components import DeclaredComponent, declare, declare_all
from themis.planning.datasets import read_datasets
from themis.planning.keys import prompt_digest
from themis.planning.provenance import collect
from themis.planning.sets import folded_by

_TRAJECTORIES = ("trace", "conversation")
"""Subjects of metrics that score how an answer came about, and not the answer."""


def compile_run(
    *,
    generation: GenerationConfig,
    evaluation: EvaluationConfig,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    environment: Mapping[str, Any],
    store: str | None = None,
    runtime: Mapping[str, Any] | None = None,
    plugins: Mapping[str, str] | None = None,
) -> CompiledRun:
    """Check a definition and return the run it stands for.

    Raises:
        DefinitionError: with one line that names the field, the value and the way out.
    """
    prompt_spec = _or_none(generation.prompt_spec)
    generator = _bind_generator(generation, prompt_spec, seeds)
    selector = _optional(generation.selector, "selector")
    reducer = _optional(generation.reducer, "reducer")
    judges = {
        one.name: one.bind()
        for one in declare_all(evaluation.judge_models, "judge", "judge_models")
    }
    parsers, default_parser = _bind_run_parser(evaluation)
    metrics = _bind_metrics(evaluation, generation, parsers, default_parser)
    _check_trajectories(metrics, reducer)
    _check_overrides(evaluation, metrics)
    _check_judges(metrics, selector, list(judges), generation.num_samples)
    refs, manifests = read_datasets(datasets, prompt_spec, _judge_prompt(evaluation, metrics))
    identity = RunIdentity(
        datasets=refs,
        generator=generator.ref,
        selector=None if selector is None else selector.ref,
        reducer=None if reducer is None else reducer.ref,
        parsers=[one.ref for one in parsers.values()],
        default_parser=default_parser,
        metrics=[one.ref for one in metrics],
        judges=[one.ref for one in judges.values()],
        num_samples=generation.num_samples,
        prompt_spec=prompt_spec,
        judge_prompt_spec=_or_none(evaluation.prompt_spec),
        judge_config=evaluation.judge_config,
        workflow_overrides=evaluation.workflow_overrides,
        seeds=list(seeds),
    )
    bounds = _given([generator, selector, reducer, *parsers.values(), *metrics, *judges.values()])
    _check_secrets(environment, evaluation, datasets, bounds)
    provenance = collect(
        environment=environment,
        code={f"{one.ref.role}:{one.name}": one.code for one in bounds},
        settings=_settings(bounds),
        store=store,
        runtime=runtime,
        plugins=plugins,
    )
    return CompiledRun(
        snapshot=RunSnapshot(identity=identity, provenance=provenance),
        datasets=list(datasets),
        manifests=manifests,
        generator=generator,
        selector=selector,
        reducer=reducer,
        parsers=parsers,
        metrics=metrics,
        judges=judges,
        prompt=prompt_digest(prompt_spec),
        workflow=_workflow_digest(evaluation),
    )


def _or_none(spec: PromptSpec | None) -> PromptSpec | None:
    return None if spec is None or spec.is_empty() else spec


def _given(bounds: Sequence[BoundComponent | None]) -> list[BoundComponent]:
    return [one for one in bounds if one is not None]


def _settings(bounds: Sequence[BoundComponent]) -> dict[str, Any]:
    """Return what components say their fingerprints cover, as far as it is JSON."""
    found: dict[str, Any] = {}
    for one in bounds:
        if one.capabilities.fingerprinted is None:
            continue
        with suppress(DefinitionError):  # it explains differences; no run fails for want of it
            settings = check_json(dict(one.capabilities.fingerprinted))
            found[f"{one.ref.role}:{one.name}"] = settings
    return found


def _optional(spec: Any, role: Role) -> BoundComponent | None:
    return None if spec is None else declare(spec, role, f"generation.{role}").bind()


def _bind_generator(
    generation: GenerationConfig, prompt_spec: PromptSpec | None, seeds: Sequence[int]
) -> BoundComponent:
    """Bind the generator; prompt material that names metadata is filled with the case's."""
    _check_seeds(seeds, generation.num_samples)
    generator = declare(generation.generator, "generator", "generation.generator")
    _check_own_seed(generator.capabilities, generation.num_samples, seeds)
    is_filled = prompt_spec is not None and prompt_spec.uses_metadata()
    return generator.bind(also_reads=frozenset({"metadata"} if is_filled else ()))


def _bind_run_parser(evaluation: EvaluationConfig) -> tuple[dict[str, BoundComponent], str | None]:
    if not evaluation.parsers:
        return {}, None
    one = declare(evaluation.parsers[0], "parser", "parsers[0]").bind()
    return {one.name: one}, one.name


def _bind_metrics(
    evaluation: EvaluationConfig,
    generation: GenerationConfig,
    parsers: dict[str, BoundComponent],
    default_parser: str | None,
) -> list[BoundComponent]:
    """Bind the metrics, each with the parser that reads for it and the metric that it folds.

    A metric's own parser joins ``parsers`` under a name of its own.
    """
    declared = declare_all(evaluation.metrics, "metric", "metrics")
    between = "reducer" if generation.reducer is not None else None
    between = "selector" if generation.selector is not None else between
    metrics: list[BoundComponent] = []
    for metric, spec in zip(declared, evaluation.metrics, strict=True):
        own = spec.parser if isinstance(spec, ComponentUse) else None
        parser = default_parser if _reads_answer(metric.facts) else None
        if own is not None:
            _check_own_parser(metric)
            where = f"metrics '{metric.name}'.parser"
            parser = _join_parser(declare(own, "parser", where), parsers)
        folded = None
        if role_of(metric.facts) is MetricRole.FOLDS:
            folded = folded_by(
                metric, declared, num_samples=generation.num_samples, between=between
            )
        metrics.append(metric.bind(parser=parser, folded=folded))
    return metrics


def _reads_answer(metric: MetricFacts) -> bool:
    """Return whether a metric is given an answer, which a parser may read for it."""
    role = role_of(metric)
    reads_answers = role is MetricRole.SCORES and metric.subject not in _TRAJECTORIES
    return role.asks_judges or reads_answers


def _check_own_parser(metric: DeclaredComponent) -> None:
    """Refuse a parser of its own for a metric that is given no answer."""
    if role_of(metric.facts) is MetricRole.FOLDS:
        raise DefinitionError(
            f"metrics '{metric.name}' folds scores and reads no output: give the parser to "
            f"the metric '{metric.facts.of}'",
            field="parser",
        )
    if not _reads_answer(metric.facts):
        raise DefinitionError(
            f"metric '{metric.name}' scores the {metric.facts.subject}, which no parser reads: "
            "leave out its parser",
            field="parser",
        )


def _check_trajectories(metrics: list[BoundComponent], reducer: BoundComponent | None) -> None:
    """Refuse to score the way to a candidate that is made of several, and so has none."""
    for metric in metrics:
        if reducer is not None and metric.facts.subject in _TRAJECTORIES:
            raise DefinitionError(
                f"metric '{metric.name}' scores the {metric.facts.subject} of a sample, and the "
                f"reducer '{reducer.name}' makes one candidate of all, which has none: leave out "
                "the reducer, or score it in an experiment of its own",
                field="reducer",
            )


def _join_parser(declared: DeclaredComponent, parsers: dict[str, BoundComponent]) -> str:
    """Return the name that a metric's parser has among the run's; equal parsers are one."""
    for name, other in parsers.items():
        if other.component is declared.component:
            return name
    parser = declared.bind()
    for name, other in parsers.items():
        if other.digest == parser.digest:
            return name
    if parser.name in parsers:
        raise DefinitionError(
            f"two different parsers go by the name '{parser.name}'; "
            "tell them apart with use(..., name=...)",
            field="parser",
            value=parser.name,
        )
    parsers[parser.name] = parser
    return parser.name


def _check_seeds(seeds: Sequence[int], samples: int) -> None:
    if not seeds:
        return
    for seed in seeds:
        if type(seed) is not int:
            raise DefinitionError(f"seeds holds {seed!r}: seeds are integers", field="seeds")
    if len(seeds) != samples:
        raise DefinitionError(
            f"seeds has {len(seeds)} values for num_samples = {samples}: give one seed a sample, "
            "or none to have them derived",
            field="seeds",
            value=list(seeds),
        )
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if list(seeds).count(seed) > 1)
        raise DefinitionError(
            f"seeds holds {twice} twice: equal seeds give equal samples; make them differ",
            field="seeds",
            value=list(seeds),
        )


def _check_own_seed(generator: Capabilities, samples: int, seeds: Sequence[int]) -> None:
    """Refuse a seed in the sampling parameters where each sample is to have one of its own."""
    seed = (generator.sampling or {}).get("seed")
    if seed is None or (samples == 1 and not seeds):
        return
    other = f"num_samples = {samples}" if samples > 1 else f"seeds = {list(seeds)}"
    raise DefinitionError(
        f"sampling.seed = {seed!r} is sent with every sample, beside {other}: leave it out, and "
        "give the experiment seeds=[...] with one for each sample",
        field="sampling.seed",
        value=seed,
    )


def _check_judges(
    metrics: list[BoundComponent],
    selector: BoundComponent | None,
    judges: list[str],
    num_samples: int,
) -> None:
    asking = [metric for metric in metrics if role_of(metric.facts).asks_judges]
    if selector is not None and selector.capabilities.judges_needed is not None:
        asking.append(selector)
    for bound in asking:
        if not judges:
            raise DefinitionError(
                f"{bound.ref.role} '{bound.name}' needs a judge, but judge_models is empty: "
                "set EvaluationConfig(judge_models=[...])",
                field="judge_models",
            )
        if (check_samples := bound.capabilities.check_samples) is not None:
            check_samples(num_samples)
        needed = bound.capabilities.judges_needed
        for judge in needed(judges) if needed is not None else ():
            if judge not in judges:
                raise DefinitionError(
                    f"{bound.ref.role} '{bound.name}' asks for the judge '{judge}'"
                    f"{did_you_mean(judge, judges)}",
                    field="judge",
                    value=judge,
                )


def _judge_prompt(evaluation: EvaluationConfig, metrics: list[BoundComponent]) -> PromptSpec | None:
    """Return the prompt material that judges are shown a question in, checked by whoever does so.

    A workflow of the user's own may make anything of it.
    """
    spec = evaluation.prompt_spec
    checks = [check for one in metrics if (check := one.capabilities.check_prompt) is not None]
    if spec is None or not checks:
        return None
    for check in checks:
        check(spec)
    return spec


def _check_overrides(evaluation: EvaluationConfig, metrics: list[BoundComponent]) -> None:
    names = [metric.name for metric in metrics]
    for key in evaluation.workflow_overrides:
        if key not in names:
            raise DefinitionError(
                f"workflow_overrides names the metric '{key}', which the run does not have"
                f"{did_you_mean(key, names)}",
                field="workflow_overrides",
                value=key,
            )


def _check_secrets(
    environment: Mapping[str, Any],
    evaluation: EvaluationConfig,
    datasets: Sequence[Dataset],
    bounds: Sequence[BoundComponent],
) -> None:
    """Refuse what looks like a secret where it would be stored, hashed and shown.

    Cases and prompt material are content, and not looked at: a benchmark may be about keys.
    """
    check_json(dict(environment), "environment_metadata")
    places: dict[str, Any] = {
        "environment_metadata": dict(environment),
        "judge_config": evaluation.judge_config,
        "workflow_overrides": evaluation.workflow_overrides,
    }
    for dataset in datasets:
        places[f"dataset '{dataset.dataset_id}': metadata"] = dataset.metadata
    for bound in bounds:
        places[f"{bound.ref.role} '{bound.name}': params"] = bound.ref.params
    for where, value in places.items():
        found = find_secret(value, where)
        if found is not None:
            raise DefinitionError(
                f"{found} looks like a secret, and this is stored and shown; let the component "
                "read it from the environment",
                field=where,
            )


def _workflow_digest(evaluation: EvaluationConfig) -> bytes:
    return digest_value(
        "workflow",
        [
            prompt_digest(evaluation.prompt_spec).hex(),
            evaluation.judge_config,
            evaluation.workflow_overrides,
        ],
    )
