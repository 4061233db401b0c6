"""Which metric a candidate-set metric folds, and whether it can: decided before anything runs.

Whatever such a metric does not declare of its numbers it takes over from the metric whose scores it
folds: the best of several TERs is the least of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.snapshot import MetricFacts
from themis.planning.work import Bound


def folded_by(
    metric: Bound, metrics: Sequence[Bound], *, num_samples: int, between: str | None
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
    if base.facts.judged or base.facts.of is not None:
        what = (
            "is judged, and judging comes after the scores of samples have been folded"
            if base.facts.judged
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
    kind = getattr(metric.component, "of_kind", None)
    if kind is not None and not (base.facts.kind == kind and base.facts.higher_is_better):
        raise DefinitionError(
            f"{where}: of = '{of}' gives no {kind} scores of which 1 is right; name a metric with "
            f'kind = "{kind}", or fold its values with builtin/best_at_k or builtin/mean_at_k',
            field="of",
            value=of,
        )
    k = getattr(metric.component, "k", None)
    if k is not None and num_samples < k:
        raise DefinitionError(
            f"{where}: k = {k!r} samples are to be drawn from num_samples = {num_samples}; set "
            f'candidate_policy={{"num_samples": {k}}} or more',
            field="k",
            value=k,
        )
    return base.facts


def inheriting(own: MetricFacts, component: object, base: MetricFacts) -> MetricFacts:
    """Return a set metric's facts, completed by those of the metric that it folds."""
    taken = {
        name: getattr(base, name)
        for name in ("value_range", "higher_is_better", "unit")
        if not hasattr(component, name)
    }
    if own.kind == "binary":  # its range is that of its kind
        taken.pop("value_range", None)
    return own.model_copy(update=taken)
