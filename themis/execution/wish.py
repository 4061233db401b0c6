"""What the user asked to be done with a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from themis.core.events import Stage

Mode = Literal["run", "rerun", "replay", "rejudge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
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
