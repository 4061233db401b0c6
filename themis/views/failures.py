"""What failed in a run: how many cases each failure ended, the most frequent first.

A failure counts where it is the newest thing known of its step; it is told by its message, and once
a case. A single judge call that failed is its metric's to weigh, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from themis.core.events import EventKind
from themis.core.protocols import RunStore
from themis.core.snapshot import RunSnapshot
from themis.views.steps import CaseSteps, fold_cases


@dataclass(slots=True, kw_only=True)
class CommonFailure:
    """A failure that several cases may share."""

    message: str
    n_cases: int
    first: int
    """Position of the first case that has it."""
    may_heal: bool
    """Whether the next run tries again; not where a metric has said that it cannot score this."""


class FailuresFold:
    """Fold over whole cases, in any order."""

    def __init__(self) -> None:
        self._found: dict[str, CommonFailure] = {}

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        failures = (
            event.data["failure"]
            for address, event in steps.newest.items()
            if event.kind is EventKind.STEP_FAILED and address.call is None
        )
        finished = steps.finished
        may_heal = finished is None or bool(finished.data.get("outages"))
        for message in {one["message"] for one in failures}:
            known = self._found.setdefault(
                message,
                CommonFailure(message=message, n_cases=0, first=steps.index, may_heal=False),
            )
            known.n_cases += 1
            known.first = min(known.first, steps.index)
            known.may_heal = known.may_heal or may_heal

    def failures(self) -> list[CommonFailure]:
        """Return the failures, the most frequent first."""
        return sorted(self._found.values(), key=lambda one: (-one.n_cases, one.first, one.message))


def common_failures(store: RunStore, snapshot: RunSnapshot) -> list[CommonFailure]:
    """Return what failed in a run, the most frequent first, reading its journal page by page."""
    fold = FailuresFold()
    fold_cases(store, snapshot, fold)
    return fold.failures()
