"""What a verb was given, checked before a store is opened or a file made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.core.config import RuntimeConfig, reusable_seconds
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.events import Stage
from themis.core.protocols import RunStore
from themis.execution.hooks import Hooks
from themis.execution.wish import Wish
from themis.planning.work import CompiledRun


def check_options(options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse options that a verb does not know, or that are not what they should be.

    Raises:
        TypeError: an unknown option, as Python itself would say it.
        DefinitionError: a value of the wrong kind.
    """
    for name in options:
        if name not in known:
            raise TypeError(f"no option '{name}'{did_you_mean(name, known)}")
    _check("runtime", options.get("runtime"), RuntimeConfig, "a RuntimeConfig")
    _check("store", options.get("store"), RunStore, "an open RunStore, such as sqlite_store(path)")
    _check("subscribers", options.get("subscribers"), (list, tuple), "a list")
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
    if isinstance(values, (list, tuple)):
        return list(values)
    raise DefinitionError(
        f"{name} is {type(values).__name__}; it must be a list", field=name, value=values
    )


def check_kind(name: str, value: object, model: type) -> None:
    """Refuse what is not of a kind.

    Raises:
        DefinitionError: it is not; names the field and both kinds.
    """
    if not isinstance(value, model):
        raise DefinitionError(
            f"{name} is {type(value).__name__}; it must be a {model.__name__}",
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


def reuse_named(reuse: str) -> str:
    """Return what may be reused, as it was given.

    Raises:
        DefinitionError: it is none of what ``RuntimeConfig.reuse`` may be.
    """
    reusable_seconds(reuse)
    return reuse


def check_wish(run: CompiledRun, wish: Wish) -> None:
    """Refuse to do again what the experiment does not do at all.

    Raises:
        DefinitionError: nothing falls under what is to be done again.
    """
    if wish.mode not in ("replay", "rejudge"):
        return
    first = min(wish.redo, key=lambda stage: stage.order)
    for stage, part in ((Stage.SELECT, run.selector), (Stage.REDUCE, run.reducer)):
        if first is stage and part is None:
            raise DefinitionError(
                f"{wish.mode} from '{stage.value}': the experiment takes no such step; replay "
                "from a stage that it takes",
                field="stage",
                value=stage.value,
            )
    names = [metric.name for metric in run.metrics]
    if wish.metric_ids is not None and (isinstance(wish.metric_ids, str) or not wish.metric_ids):
        raise DefinitionError(
            f"metric_ids = {wish.metric_ids!r}: give a list of metric ids, or leave it out for all",
            field="metric_ids",
            value=wish.metric_ids,
        )
    for name in wish.metric_ids or ():
        if name not in names:
            raise DefinitionError(
                f"metric_ids names '{name}'{did_you_mean(str(name), names)}",
                field="metric_ids",
                value=name,
            )
    chosen = [one for one in run.metrics if wish.metric_ids is None or one.name in wish.metric_ids]
    if first is Stage.JUDGE and not any(metric.facts.judged for metric in chosen):
        raise DefinitionError(
            f"{wish.mode} from 'judge': none of the metrics "
            f"({', '.join(one.name for one in chosen) or 'there are none'}) asks a judge",
            field="metric_ids",
        )


def _check(name: str, value: object, kind: Any, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise DefinitionError(
            f"{name} is {type(value).__name__}; it must be {wanted}", field=name, value=value
        )
