"""The corpus-level values of a run: made as it ends, or as it is looked at.

As a run ends its components are at hand, and what they give is journaled: a user's own object may
be nowhere to be found later. Where the journal has no value, the catalog's components are made
again from the snapshot, and the statistics folded; of any other component there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themis.analysis.corpus import corpus_value
from themis.catalog.registry import ids, make
from themis.core.config import ComponentUse
from themis.core.errors import ThemisError
from themis.core.results import CorpusValue, MetricSummary
from themis.core.snapshot import ComponentRef, RunSnapshot
from themis.views.headline import Standing
from themis.views.statistics import CaseStatistics


def corpus_values(
    components: Mapping[str, Any], statistics: Mapping[str, CaseStatistics]
) -> dict[str, CorpusValue]:
    """Return the value of each metric, by name, as its component makes it of its statistics."""
    return {
        name: corpus_value(
            component.aggregate,
            statistics[name],
            additive=bool(getattr(component, "additive", False)),
        )
        for name, component in components.items()
        if name in statistics
    }


def loaded(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return, by name, the corpus metrics of a run that can be made again from its snapshot."""
    found = {
        ref.name: _made(ref)
        for ref in snapshot.identity.metrics
        if ref.metric and ref.metric.corpus
    }
    return {name: component for name, component in found.items() if component is not None}


def summaries_of(standing: Standing, snapshot: RunSnapshot) -> list[MetricSummary]:
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


def _made(ref: ComponentRef) -> Any:
    """Return a component of the catalog that is what a snapshot refers to; None where none is."""
    if ref.component_id not in ids("metric"):
        return None
    try:
        component, _ = make(ComponentUse(use=ref.component_id, params=ref.params), "metric")
    except ThemisError:  # an extra that is not installed here, a parameter of another version
        return None
    same = (component.version, component.fingerprint()) == (ref.version, ref.fingerprint)
    return component if same else None
