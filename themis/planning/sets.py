"""Which metric a candidate-set metric folds, and whether it can: decided before anything runs.

Whatever such a metric does not declare of its numbers it takes over from the metric whose scores it
folds: the best of several TERs is the least of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.pipeline import MetricRole, role_of
from themis.core.snapshot import MetricFacts
from themis.planning.components import DeclaredComponent


def folded_by(
    metric: DeclaredComponent,
    metrics: Sequence[DeclaredComponent],
    *,
    num_samples: int,
    between: str | None,
) -> MetricFacts:
    """Return what the numbers of the metric mean that a set metric folds.

    Args:
        metric: the set metric.
        metrics: all metrics of the run.
        num_samples: samples of each case.
        between: "selector" or "reducer", where one keeps samples from being scored each.

    Raises:
        DefinitionError: there is no such metric, or it cannot be folded; the message says why.
    """
    where = f"metrics '{metric.name}'"
    of = metric.facts.of
    others = {one.name: one for one in metrics if one.name != metric.name}
    base = others.get(of or "")
    if base is None:
        hint = did_you_mean(str(of), others) if others else "; add it to metrics"
        raise DefinitionError(
            f"{where}: of = {of!r} names no other metric of the run{hint}", field="of", value=of
        )
    role = role_of(base.facts)
    if role is not MetricRole.SCORES:
        what = (
            "is judged, and judging comes after the scores of samples have been folded"
            if role.asks_judges
            else "is a candidate-set metric itself"
        )
        raise DefinitionError(
            f"{where}: of = '{of}' {what}; name a metric that scores each sample without a judge",
            field="of",
            value=of,
        )
    if between is not None:
        raise DefinitionError(
            f"{where} folds the scores of every sample, but the {between} leaves some unscored; "
            f"leave out generation.{between} or the metric",
            field=f"generation.{between}",
        )
    kind = metric.capabilities.of_kind
    if kind is not None and not (base.facts.kind == kind and base.facts.higher_is_better):
        raise DefinitionError(
            f"{where}: of = '{of}' gives no {kind} scores of which 1 is right; name a metric with "
            f'kind = "{kind}", or fold its values with builtin/best_at_k or builtin/mean_at_k',
            field="of",
            value=of,
        )
    k = metric.capabilities.k
    if k is not None and num_samples < k:
        raise DefinitionError(
            f"{where}: k = {k!r} samples are to be drawn from num_samples = {num_samples}; set "
            f'candidate_policy={{"num_samples": {k}}} or more',
            field="k",
            value=k,
        )
    return base.facts
