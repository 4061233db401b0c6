"""The corpus-level values of a run: made as it ends, or as it is looked at.

As a run ends its components are at hand, and what they give is journaled: a user's own object may
be nowhere to be found later. Where the journal has no value, the catalog's components are made
again from the snapshot, and the statistics folded; of any other component there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from themis.analysis.corpus import corpus_value
from themis.analysis.intervals import summarize
from themis.catalog.registry import ids, make
from themis.core.config import ComponentUse
from themis.core.errors import ThemisError
from themis.core.results import CorpusValue, GroupSummary, MetricSummary
from themis.core.snapshot import ComponentRef, RunSnapshot
from themis.core.store import RunStore
from themis.planning.capabilities import Capabilities, read_capabilities
from themis.views.groups import fields_of, group_scores
from themis.views.headline import RunStanding
from themis.views.statistics import CaseStatistics

_NOT_OF_GROUPS = "its component is not the catalog's: the run kept its value over all cases alone"


def corpus_values(
    metrics: Mapping[str, Capabilities], statistics: Mapping[str, CaseStatistics]
) -> dict[str, CorpusValue]:
    """Return the value of each metric, by name, as its component makes it of its statistics."""
    return {
        name: corpus_value(
            metric.aggregate,
            statistics[name],
            additive=metric.additive,
            signature=metric.corpus_signature,
        )
        for name, metric in metrics.items()
        if name in statistics and metric.aggregate is not None
    }


def loaded(snapshot: RunSnapshot) -> dict[str, Capabilities]:
    """Return, by name, what a run's corpus metrics can do, of those made again from the catalog."""
    found = {
        ref.name: _made(ref)
        for ref in snapshot.identity.metrics
        if ref.metric and ref.metric.corpus
    }
    return {name: metric for name, metric in found.items() if metric is not None}


def summaries_of(standing: RunStanding, snapshot: RunSnapshot) -> list[MetricSummary]:
    """Return the summaries of a run, corpus-level values filled in where there are any."""
    values = dict(standing.corpus)
    lacking = {name: one for name, one in standing.statistics.items() if name not in values}
    if lacking:
        values |= corpus_values(loaded(snapshot), lacking)
        for name in lacking.keys() - values.keys():
            values[name] = CorpusValue(
                failure="its component is not the catalog's, and the run has not come to an end "
                "that kept the value: resume it",
                n_rows=len(lacking[name].cases),
                n_without=lacking[name].n_without,
            )
    return [
        summary.model_copy(update={"corpus": values[summary.metric_id]})
        if summary.metric_id in values
        else summary
        for summary in standing.headline.summaries
    ]


def group_summaries(
    store: RunStore,
    snapshot: RunSnapshot,
    by: str | Sequence[str],
    metric_ids: Collection[str] | None = None,
) -> list[GroupSummary]:
    """Return a run's metrics by group, with intervals and corpus values, in one pass over it.

    Args:
        store: where the run is.
        snapshot: the run.
        by: "dataset", a field of the cases' metadata (with dots, one within another), or several.
        metric_ids: the metrics; all by default.

    Raises:
        DefinitionError: no case has a field, there are too many groups, or no such metric.
    """
    fields = fields_of(by)
    made = loaded(snapshot)
    return [
        GroupSummary(
            by=dict(zip(fields, group.values, strict=True)),
            n_cases=group.n_cases,
            metrics=summarize(_with_corpus(group.summaries, made, group.statistics)),
        )
        for group in group_scores(store, snapshot, fields, metric_ids)
    ]


def _with_corpus(
    summaries: Sequence[MetricSummary],
    made: Mapping[str, Capabilities],
    statistics: Mapping[str, CaseStatistics],
) -> list[MetricSummary]:
    values = corpus_values(made, statistics)
    values |= {
        name: CorpusValue(failure=_NOT_OF_GROUPS, n_rows=len(one.cases), n_without=one.n_without)
        for name, one in statistics.items()
        if name not in values
    }
    return [
        one.model_copy(update={"corpus": values[one.metric_id]}) if one.metric_id in values else one
        for one in summaries
    ]


def _made(ref: ComponentRef) -> Capabilities | None:
    """Return what a component can do, made again from the catalog; None where that cannot be."""
    if ref.component_id not in ids("metric"):
        return None
    try:
        component, _ = make(ComponentUse(use=ref.component_id, params=ref.params), "metric")
    except ThemisError:  # an extra that is not installed here, a parameter of another version
        return None
    same = (component.version, component.fingerprint()) == (ref.version, ref.fingerprint)
    return read_capabilities(component, "metric", ref.name) if same else None
