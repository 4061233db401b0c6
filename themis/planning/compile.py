"""From a definition to a run: what can be refused is refused here, before a cent is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from themis.core.config import ComponentUse, EvaluationConfig, GenerationConfig
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json, digest_value
from themis.core.models import Dataset
from themis.core.prompts import PromptSpec
from themis.core.redaction import find_secret
from themis.core.snapshot import RunIdentity, RunSnapshot
from themis.planning.components import bind, bind_all, bind_object
from themis.planning.datasets import read_datasets
from themis.planning.keys import prompt_digest
from themis.planning.provenance import collect
from themis.planning.sets import folded_by
from themis.planning.work import Bound, CompiledRun


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
    judges = {one.name: one for one in bind_all(evaluation.judge_models, "judge", "judge_models")}
    parsers, default_parser = _bind_run_parser(evaluation)
    metrics = _bind_sets(_bind_metrics(evaluation, parsers, default_parser), generation)
    _check_parts(evaluation, metrics, reducer)
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


def _given(bounds: Sequence[Bound | None]) -> list[Bound]:
    return [one for one in bounds if one is not None]


def _settings(bounds: Sequence[Bound]) -> dict[str, Any]:
    """Return what components say their fingerprints cover, as far as it is JSON."""
    found: dict[str, Any] = {}
    for one in bounds:
        settings = getattr(one.component, "fingerprinted", None)
        if not isinstance(settings, Mapping):
            continue
        with suppress(
            DefinitionError
        ):  # it is there to tell by, and no run fails for the want of it
            found[f"{one.ref.role}:{one.name}"] = check_json(dict(settings))
    return found


def _optional(spec: Any, role: Any) -> Bound | None:
    return None if spec is None else bind(spec, role, f"generation.{role}")


def _bind_generator(
    generation: GenerationConfig, prompt_spec: PromptSpec | None, seeds: Sequence[int]
) -> Bound:
    _check_seeds(seeds, generation.num_samples)
    where = "generation.generator"
    bound = bind(generation.generator, "generator", where)
    _check_own_seed(bound, generation.num_samples, seeds)
    if prompt_spec is None or not prompt_spec.uses_metadata() or "metadata" in bound.reads:
        return bound
    return bind_object(
        bound.component,
        "generator",
        where,
        name=bound.name,
        params=bound.ref.params,
        extra_reads=frozenset({"metadata"}),
    )


def _bind_run_parser(evaluation: EvaluationConfig) -> tuple[dict[str, Bound], str | None]:
    if not evaluation.parsers:
        return {}, None
    one = bind(evaluation.parsers[0], "parser", "parsers[0]")
    return {one.name: one}, one.name


def _bind_metrics(
    evaluation: EvaluationConfig, parsers: dict[str, Bound], default_parser: str | None
) -> list[Bound]:
    """Bind the metrics; a metric's own parser joins ``parsers`` under a name of its own."""
    metrics: list[Bound] = []
    for plain, spec in zip(
        bind_all(evaluation.metrics, "metric", "metrics"), evaluation.metrics, strict=True
    ):
        own = spec.parser if isinstance(spec, ComponentUse) else None
        parser = default_parser
        if own is not None and plain.facts.of is not None:
            raise DefinitionError(
                f"metrics '{plain.name}' folds scores and reads no output: give the parser to "
                f"the metric '{plain.facts.of}'",
                field="parser",
            )
        if plain.facts.subject in ("trace", "conversation") and not plain.facts.judged:
            _check_reads_no_answer(plain, own)
            parser = None
        if own is not None:
            parser = _join_parser(bind(own, "parser", f"metrics '{plain.name}'.parser"), parsers)
        metrics.append(
            bind_object(
                plain.component,
                "metric",
                f"metrics '{plain.name}'",
                name=plain.name,
                params=plain.ref.params,
                parser=parser,
            )
        )
    return metrics


def _bind_sets(metrics: list[Bound], generation: GenerationConfig) -> list[Bound]:
    """Bind the candidate-set metrics to the metrics that they fold."""
    between = "reducer" if generation.reducer is not None else None
    between = "selector" if generation.selector is not None else between
    return [
        metric
        if metric.facts.of is None
        else bind_object(
            metric.component,
            "metric",
            f"metrics '{metric.name}'",
            name=metric.name,
            params=metric.ref.params,
            folds=folded_by(metric, metrics, num_samples=generation.num_samples, between=between),
        )
        for metric in metrics
    ]


def _check_reads_no_answer(metric: Bound, parser: Any) -> None:
    """Refuse a parser for a metric that scores the way to an answer and not what it says."""
    if parser is not None:
        raise DefinitionError(
            f"metric '{metric.name}' scores the {metric.facts.subject}, which no parser reads: "
            "leave out its parser",
            field="parser",
        )


def _check_ways(metrics: list[Bound], reducer: Bound | None) -> None:
    """Refuse to score the way to a candidate that is made of several, and so has none."""
    for metric in metrics:
        if reducer is not None and metric.facts.subject in ("trace", "conversation"):
            raise DefinitionError(
                f"metric '{metric.name}' scores the {metric.facts.subject} of a sample, and the "
                f"reducer '{reducer.name}' makes one candidate of all, which has none: leave out "
                "the reducer, or score it in an experiment of its own",
                field="reducer",
            )


def _join_parser(parser: Bound, parsers: dict[str, Bound]) -> str:
    """Return the name under which a metric's parser stands among the run's."""
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


def _check_own_seed(generator: Bound, samples: int, seeds: Sequence[int]) -> None:
    """Refuse a seed among the sampling parameters where it would stand for several others."""
    sampling = getattr(generator.component, "sampling", None)
    seed = sampling.get("seed") if isinstance(sampling, Mapping) else None
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
    metrics: list[Bound], selector: Bound | None, judges: list[str], num_samples: int
) -> None:
    asking = [metric for metric in metrics if metric.facts.judged]
    if selector is not None and hasattr(selector.component, "judges_needed"):
        asking.append(selector)
    for bound in asking:
        if not judges:
            raise DefinitionError(
                f"{bound.ref.role} '{bound.name}' needs a judge, but judge_models is empty: "
                "set EvaluationConfig(judge_models=[...])",
                field="judge_models",
            )
        if (check_samples := getattr(bound.component, "check_samples", None)) is not None:
            check_samples(num_samples)
        needed = getattr(bound.component, "judges_needed", None)
        for judge in needed(judges) if needed is not None else ():
            if judge not in judges:
                raise DefinitionError(
                    f"{bound.ref.role} '{bound.name}' asks for the judge '{judge}'"
                    f"{did_you_mean(judge, judges)}",
                    field="judge",
                    value=judge,
                )


def _judge_prompt(evaluation: EvaluationConfig, metrics: list[Bound]) -> PromptSpec | None:
    """Return the prompt material that judges are shown a question in, checked by whoever does so.

    A workflow of the user's own may make anything of it.
    """
    spec = evaluation.prompt_spec
    asking = [one.component for one in metrics if hasattr(one.component, "check_prompt")]
    if spec is None or not asking:
        return None
    for component in asking:
        component.check_prompt(spec)
    return spec


def _check_parts(evaluation: EvaluationConfig, metrics: list[Bound], reducer: Bound | None) -> None:
    """Refuse what names or needs a part that the run does not have."""
    _check_ways(metrics, reducer)
    _check_overrides(evaluation, metrics)


def _check_overrides(evaluation: EvaluationConfig, metrics: list[Bound]) -> None:
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
    bounds: Sequence[Bound],
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
