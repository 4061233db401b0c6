"""From what the user wrote to bound components: resolved, checked, named, digested."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, cast

from themis.catalog.registry import make
from themis.core.base import JSONObject
from themis.core.config import ComponentUse
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json
from themis.core.snapshot import ALL_READS, ComponentRef, MetricFacts
from themis.planning.behaviour import code_digest
from themis.planning.keys import component_digest
from themis.planning.sendable import check_cpu_bound
from themis.planning.sets import inheriting
from themis.planning.work import Bound

Role = Literal["generator", "selector", "reducer", "parser", "metric", "judge"]
_SUBJECTS = ("candidate", "candidates", "conversation", "trace")


def bind(spec: Any, role: Role, where: str) -> Bound:
    """Return the component that a spec stands for.

    Args:
        spec: an id, an import path, a ``ComponentUse`` or an object.
        role: what it must be.
        where: the field it stands in, for messages.

    Raises:
        DefinitionError: it is not such a component; the message names the field and the way out.
    """
    if spec is None:
        raise DefinitionError(f"{where} is None: name a {role}", field=where)
    component, params = make(spec, role)
    name = spec.name if isinstance(spec, ComponentUse) and spec.name else component.component_id
    return bind_object(component, role, where, name=name, params=params)


def bind_object(
    component: Any,
    role: Role,
    where: str,
    *,
    name: str,
    params: JSONObject,
    parser: str | None = None,
    extra_reads: frozenset[str] = frozenset(),
    folds: MetricFacts | None = None,
) -> Bound:
    """Return an object bound under a name, its declarations checked.

    Args:
        component: the object.
        role: what it must be.
        where: the field it stands in, for messages.
        name: the name it goes by.
        params: what it was made with.
        parser: for a metric, the parser whose value it scores.
        extra_reads: parts of the case that it reads beyond those it declares.
        folds: for a candidate-set metric, what the numbers mean that it folds.
    """
    for attribute in ("component_id", "version"):
        value = getattr(component, attribute, None)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise DefinitionError(
                f"{where}: {type(component).__name__}.{attribute} is {value!r}; "
                "it must be a non-empty text on one line",
                field=where,
            )
    try:
        fingerprint = component.fingerprint()
    except DefinitionError:
        raise
    except Exception as error:
        raise DefinitionError(
            f"{where}: {type(component).__name__}.fingerprint() raised "
            f"{type(error).__name__}: {error}",
            field=where,
        ) from error
    if not isinstance(fingerprint, str):
        raise DefinitionError(
            f"{where}: {type(component).__name__}.fingerprint() gave "
            f"{type(fingerprint).__name__}; it must give a text",
            field=where,
        )
    reads = _reads(component, where) | extra_reads
    facts = _facts(component, where) if role == "metric" else None
    if facts is not None and folds is not None:
        facts = inheriting(facts, component, folds)
    ref = ComponentRef(
        role=role,
        name=name,
        component_id=component.component_id,
        version=component.version,
        fingerprint=fingerprint,
        params=check_json(dict(params), f"{where}.params"),
        reads=sorted(reads),
        parser=parser,
        metric=facts,
    )
    return Bound(
        ref=ref,
        component=component,
        digest=component_digest(ref),
        reads=reads,
        code=code_digest(component),
        across_runs=bool(getattr(component, "reuse_across_runs", True)),
        provider_key=getattr(component, "provider_key", None),
        cpu_bound=check_cpu_bound(component, role, where),
    )


def bind_all(specs: Sequence[Any], role: Role, where: str) -> list[Bound]:
    """Return several components of one role; their names must differ."""
    bound: list[Bound] = []
    for index, spec in enumerate(specs):
        one = bind(spec, role, f"{where}[{index}]")
        if any(other.name == one.name for other in bound):
            raise DefinitionError(
                f"{where} holds '{one.name}' twice; tell them apart with use(..., name=...)",
                field=where,
                value=one.name,
            )
        bound.append(one)
    return bound


def _reads(component: Any, where: str) -> frozenset[str]:
    declared = getattr(component, "reads", None)
    if declared is None:
        return frozenset(ALL_READS)
    if isinstance(declared, str):
        declared = (declared,)
    if not isinstance(declared, Collection):
        raise DefinitionError(
            f"{where}: {type(component).__name__}.reads is {declared!r}; it must be a set of "
            f"{', '.join(ALL_READS)}",
            field=where,
            value=declared,
        )
    for part in declared:
        if part not in ALL_READS:
            raise DefinitionError(
                f"{where}: {type(component).__name__}.reads has {part!r}"
                f"{did_you_mean(str(part), ALL_READS)}",
                field=where,
                value=part,
            )
    return frozenset(declared)


def _facts(metric: Any, where: str) -> MetricFacts:
    name = type(metric).__name__
    judged = hasattr(metric, "build_workflow")
    folds = hasattr(metric, "score_set")
    subject = _one_of(metric, "subject", _SUBJECTS, "candidate", where)
    if subject == "candidates" and not judged and not folds:
        raise DefinitionError(
            f"{where}: {name}.subject is 'candidates', but score() is given one candidate; give it "
            "score_set(self, scores, case, ctx) and of, the metric whose scores it folds",
            field=where,
            value=subject,
        )
    kind = _one_of(metric, "kind", ("binary", "value"), "value", where)
    given = getattr(metric, "value_range", None)
    if given is None and kind == "binary":
        given = (0, 1)
    if given is not None:
        given = _range(given, f"{where}: {name}.value_range", where)
    return MetricFacts(
        kind=cast(Any, kind),
        value_range=given,
        higher_is_better=bool(getattr(metric, "higher_is_better", True)),
        unit=getattr(metric, "unit", None),
        unparsed=cast(Any, _one_of(metric, "unparsed", ("incorrect", "error"), "incorrect", where)),
        subject=cast(Any, "candidates" if folds else subject),
        judged=judged,
        scores_refusals=_flag(metric, "scores_refusals", where),
        of=_of(metric, where) if folds else None,
        corpus=not judged and _has_aggregate(metric, where),
    )


def _of(metric: Any, where: str) -> str:
    of = getattr(metric, "of", None)
    if not isinstance(of, str) or not of:
        raise DefinitionError(
            f"{where}: {type(metric).__name__}.of is {of!r}; it must name the metric whose scores "
            "of the samples it folds",
            field="of",
            value=of,
        )
    return of


def _has_aggregate(metric: Any, where: str) -> bool:
    """Return whether a metric has a value over the whole run; a judged one's is its workflow's."""
    aggregate = getattr(metric, "aggregate", None)
    if inspect.iscoroutinefunction(aggregate):
        raise DefinitionError(
            f"{where}: {type(metric).__name__}.aggregate() is async; it is called once the run is "
            "over, and wherever the run is looked at: make it a plain method",
            field=where,
        )
    _flag(metric, "additive", where)
    return callable(aggregate)


def _range(given: Any, what: str, where: str) -> list[float]:
    ends = list(given) if isinstance(given, (list, tuple)) else []
    numbers = [end for end in ends if isinstance(end, (int, float)) and math.isfinite(end)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise DefinitionError(
            f"{what} is {given!r}; it must be two finite numbers, the least first", field=where
        )
    return [float(end) for end in numbers]


def _flag(component: Any, attribute: str, where: str) -> bool:
    value = getattr(component, attribute, False)
    if not isinstance(value, bool):
        raise DefinitionError(
            f"{where}: {type(component).__name__}.{attribute} is {value!r}; it must be True or "
            "False",
            field=where,
            value=value,
        )
    return value


def _one_of(
    component: Any, attribute: str, allowed: Sequence[str], default: str, where: str
) -> str:
    value = getattr(component, attribute, default)
    if value not in allowed:
        raise DefinitionError(
            f"{where}: {type(component).__name__}.{attribute} is {value!r}; "
            f"it must be one of {', '.join(allowed)}",
            field=where,
            value=value,
        )
    return str(value)
