"""An attempt: one going-through of a run, and which of its steps it does again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from themis.core.base import RunId
from themis.core.events import Artifact, Event, Stage, StepAddress

if TYPE_CHECKING:  # an experiment names what is asked of a run before it loads what compiles one
    from themis.planning.compiled_run import CompiledRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a run.

    Attributes:
        number: from 1.
        mode: what the user asked for.
        until: the last stage to be taken.
        redo: stages that are done again whatever is there already.
        began: Unix seconds of its beginning.
        reuse: what of earlier work may be reused, as in ``RuntimeConfig.reuse``.
        not_before: Unix seconds before which nothing that is reused was made; None for no bound.
        metric_ids: metrics whose steps are done again; None for all.
        parsers: names of the parsers these metrics read from; None for all.
    """

    number: int
    mode: Mode
    until: Stage
    began: float
    redo: frozenset[Stage] = frozenset()
    reuse: str = "all"
    not_before: float | None = None
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

    def accepts(self, artifact: Artifact, address: StepAddress, run_id: RunId) -> bool:
        """Return whether what the store has under a step's key may stand for the step.

        A step that is done again is done once: for an equal step, what this attempt made stands.
        """
        if self.redoes(address):
            return artifact.run_id == run_id and artifact.at >= self.began
        return not self.is_too_old(artifact)

    def is_too_old(self, artifact: Artifact) -> bool:
        """Return whether an artifact was made before what this attempt may reuse."""
        return self.not_before is not None and artifact.at < self.not_before

    @property
    def starts_afresh(self) -> bool:
        """Whether a case is done only where it was gone through in this very attempt."""
        return bool(self.redo) or self.reuse == "none"

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
            "reuse": self.reuse,
            "not_before": self.not_before,
        }

    @classmethod
    def from_event(cls, event: Event, run: CompiledRun, until: Stage) -> Attempt:
        """Return the attempt that a start event told of, to be gone on with up to ``until``."""
        return make_attempt(
            run,
            number=event.attempt,
            mode=event.data["mode"],
            until=until,
            began=event.at,
            redo=frozenset(Stage(name) for name in event.data["redo"]),
            reuse=event.data.get("reuse", "all"),
            not_before=event.data.get("not_before"),
            metric_ids=event.data["metric_ids"],
        )


def make_attempt(
    run: CompiledRun,
    *,
    number: int,
    mode: Mode,
    until: Stage,
    began: float,
    redo: frozenset[Stage] = frozenset(),
    reuse: str = "all",
    not_before: float | None = None,
    metric_ids: Any = None,
) -> Attempt:
    """Return an attempt, knowing which parsers its metrics read from."""
    names = None if metric_ids is None else frozenset(metric_ids)
    parsers = None
    if names is not None:
        chosen = [place for place in run.pipeline.metrics.values() if place.name in names]
        parsers = frozenset(place.parser for place in chosen if place.parser is not None)
    return Attempt(
        number=number,
        mode=mode,
        until=until,
        began=began,
        redo=redo,
        reuse=reuse,
        not_before=not_before,
        metric_ids=names,
        parsers=parsers,
    )


Mode = Literal["run", "rerun", "replay", "rejudge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is to be done.

    Attributes:
        mode: the verb.
        until: the last stage to take.
        redo: stages to be done again whatever is there already.
        metric_ids: metrics whose steps are done again; None for all.
        reuse: what may be reused, as in ``RuntimeConfig.reuse``.
    """

    mode: Mode = "run"
    until: Stage = Stage.JUDGE
    redo: frozenset[Stage] = frozenset()
    metric_ids: Sequence[str] | None = None
    reuse: str = "all"


def stages_from(stage: Stage) -> frozenset[Stage]:
    """Return a stage and those below it."""
    return frozenset(other for other in Stage if other.order >= stage.order)
