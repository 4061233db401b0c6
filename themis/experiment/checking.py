"""What a verb was given, checked before a store is opened or a file made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.catalog.registry import plugin_distributions
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.events import Stage
from themis.core.store import RunStore
from themis.execution.attempt import RunRequest
from themis.execution.hooks import Hooks
from themis.planning.compiled_run import CompiledRun
from themis.stores.factory import store_distribution


def check_options(options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse options that a verb does not know, or that are not what they should be.

    Raises:
        TypeError: an unknown option, as Python itself would say it.
        DefinitionError: a value of the wrong kind.
    """
    for name in options:
        if name not in known:
            raise TypeError(f"no option '{name}'{did_you_mean(name, known)}")
    kinds: tuple[tuple[str, Any, str], ...] = (
        ("runtime", RuntimeConfig, "a RuntimeConfig"),
        ("store", RunStore, "an open RunStore, such as sqlite_store(path)"),
        ("subscribers", (list, tuple), "a list"),
        ("take_over", bool, "True or False"),
    )
    for name, kind, wanted in kinds:
        if options.get(name) is not None:
            check_kind(name, options[name], kind, wanted)
    tracing = options.get("tracing_provider")
    for method in ("start_span", "end_span"):
        if tracing is not None and not callable(getattr(tracing, method, None)):
            raise DefinitionError(
                f"tracing_provider {type(tracing).__name__} has no {method}()",
                field="tracing_provider",
            )
    Hooks(options.get("subscribers"), tracing)


def listed(name: str, values: Any) -> list[Any]:
    """Return a list or tuple as a list of one's own.

    Raises:
        DefinitionError: it is neither.
    """
    check_kind(name, values, (list, tuple), "a list")
    return list(values)


def check_kind(name: str, value: object, kind: Any, wanted: str = "") -> None:
    """Refuse what is not of a kind.

    Args:
        name: the field.
        value: its value.
        kind: a class, or several.
        wanted: what it must be, in words; by default the class's name.

    Raises:
        DefinitionError: it is not; names the field and both kinds.
    """
    if not isinstance(value, kind):
        raise DefinitionError(
            f"{name} is {type(value).__name__}; it must be {wanted or f'a {kind.__name__}'}",
            field=name,
            value=value,
        )


def stage_named(name: str, field: str) -> Stage:
    """Return the stage of that name.

    Raises:
        DefinitionError: there is none; names the nearest.
    """
    try:
        return Stage(name)
    except ValueError:
        known = [stage.value for stage in Stage]
        raise DefinitionError(
            f"{field} = {name!r}{did_you_mean(str(name), known)}", field=field, value=name
        ) from None


def check_request(run: CompiledRun, request: RunRequest) -> None:
    """Refuse to do again what the experiment does not do at all.

    Raises:
        DefinitionError: nothing falls under what is to be done again.
    """
    if request.mode not in ("replay", "rejudge"):
        return
    first = min(request.redo, key=lambda stage: stage.order)
    if first in (Stage.SELECT, Stage.REDUCE) and first not in run.pipeline.steps_per_case():
        raise DefinitionError(
            f"{request.mode} from '{first.value}': the experiment takes no such step; replay "
            "from a stage that it takes",
            field="stage",
            value=first.value,
        )
    names = list(run.pipeline.metrics)
    if request.metric_ids is not None and (
        isinstance(request.metric_ids, str) or not request.metric_ids
    ):
        raise DefinitionError(
            f"metric_ids = {request.metric_ids!r}: give a list of metric ids, or leave it out for "
            "all",
            field="metric_ids",
            value=request.metric_ids,
        )
    for name in request.metric_ids or ():
        if name not in names:
            raise DefinitionError(
                f"metric_ids names '{name}'{did_you_mean(str(name), names)}",
                field="metric_ids",
                value=name,
            )
    chosen = [name for name in names if request.metric_ids is None or name in request.metric_ids]
    if first is Stage.JUDGE and not set(chosen).intersection(run.pipeline.all_judged):
        raise DefinitionError(
            f"{request.mode} from 'judge': none of the metrics "
            f"({', '.join(chosen) or 'there are none'}) asks a judge",
            field="metric_ids",
        )


def plugins_of(
    generation: GenerationConfig, evaluation: EvaluationConfig, storage: StorageConfig
) -> dict[str, str]:
    """Return name and version of each package whose plug-ins an experiment names."""
    parts: list[object] = [generation.generator, generation.selector, generation.reducer]
    parts += [*evaluation.metrics, *evaluation.parsers, *evaluation.judge_models]
    return plugin_distributions(parts) | store_distribution(storage.store)
