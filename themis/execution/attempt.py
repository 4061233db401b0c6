"""An attempt: one going-through of a run, and which of its steps it does again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from themis.core.events import Event, Stage, StepAddress
from themis.execution.wish import Mode
from themis.planning.work import CompiledRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a run.

    Attributes:
        number: from 1.
        mode: what the user asked for.
        until: the last stage to be taken.
        redo: stages that are done again whatever is there already.
        metric_ids: metrics whose steps are done again; None for all.
        parsers: names of the parsers these metrics read from; None for all.
    """

    number: int
    mode: Mode
    until: Stage
    redo: frozenset[Stage] = frozenset()
    metric_ids: frozenset[str] | None = None
    parsers: frozenset[str] | None = None

    def redoes(self, address: StepAddress) -> bool:
        """Return whether a step is to be done again in this attempt."""
        if address.stage not in self.redo:
            return False
        if self.metric_ids is None:
            return True
        if address.stage in (Stage.SCORE, Stage.JUDGE):
            return address.component in self.metric_ids
        if address.stage is Stage.PARSE:
            return self.parsers is None or address.component in self.parsers
        return True

    def reaches(self, stage: Stage) -> bool:
        """Return whether the attempt goes as far as a stage."""
        return self.until.order >= stage.order

    def data(self) -> dict[str, Any]:
        """Return the attempt as its start event tells it."""
        return {
            "mode": self.mode,
            "until": self.until.value,
            "redo": sorted(stage.value for stage in self.redo),
            "metric_ids": None if self.metric_ids is None else sorted(self.metric_ids),
        }

    @classmethod
    def from_event(cls, event: Event, run: CompiledRun, until: Stage) -> Attempt:
        """Return the attempt that a start event told of, to be gone on with up to ``until``."""
        return make_attempt(
            run,
            number=event.attempt,
            mode=event.data["mode"],
            until=until,
            redo=frozenset(Stage(name) for name in event.data["redo"]),
            metric_ids=event.data["metric_ids"],
        )


def make_attempt(
    run: CompiledRun,
    *,
    number: int,
    mode: Mode,
    until: Stage,
    redo: frozenset[Stage] = frozenset(),
    metric_ids: Any = None,
) -> Attempt:
    """Return an attempt, knowing which parsers its metrics read from."""
    names = None if metric_ids is None else frozenset(metric_ids)
    parsers = None
    if names is not None:
        chosen = [metric.ref.parser for metric in run.metrics if metric.name in names]
        parsers = frozenset(parser for parser in chosen if parser is not None)
    return Attempt(
        number=number, mode=mode, until=until, redo=redo, metric_ids=names, parsers=parsers
    )
