"""A run's failures: in how many cases each occurs, the most frequent first.

A step's failure counts if no later event of the step replaces it. Failures are grouped by message,
and count once a case. A failed judge call is left out: its metric may do without it. There may be
as many messages as cases. The first ``MOST`` different messages are kept apart; for all others only
the cases are counted, so that memory is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from themis.core.events import EventKind
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.views.steps import CaseSteps, fold_cases

MOST = 1000
"""How many different messages are kept apart."""


@dataclass(slots=True, kw_only=True)
class CommonFailure:
    """A failure that several cases may share."""

    message: str
    n_cases: int
    first: int
    """Position of the first case that has it."""
    may_heal: bool
    """Whether the next run tries some of these cases again: those that failed by an outage."""


@dataclass(slots=True, kw_only=True)
class CommonFailures:
    """A run's failures."""

    told: list[CommonFailure] = field(default_factory=list)
    """The failures that were kept apart, the most frequent first."""
    n_others: int = 0
    """Cases with a failure that was not kept apart."""
    others_may_heal: bool = False
    """Whether the next run tries one of these again."""

    @property
    def may_heal(self) -> bool:
        """Whether the next run tries anything again."""
        return self.others_may_heal or any(one.may_heal for one in self.told)


class FailuresFold:
    """Fold over whole cases; the messages that come first are kept apart.

    Args:
        most: how many different messages are kept apart.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: dict[str, CommonFailure] = {}
        self._n_others = 0
        self._others_may_heal = False

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
        failures = (
            event.data["failure"]
            for address, event in steps.newest.items()
            if event.kind is EventKind.STEP_FAILED and address.call is None
        )
        finished = steps.finished
        may_heal = finished is None or bool(finished.data.get("outages"))
        has_others = False
        for message in dict.fromkeys(one["message"] for one in failures):
            known = self._found.get(message)
            if known is None:
                if len(self._found) == self._most:
                    has_others = True
                    continue
                known = self._found[message] = CommonFailure(
                    message=message, n_cases=0, first=steps.index, may_heal=False
                )
            known.n_cases += 1
            known.first = min(known.first, steps.index)
            known.may_heal = known.may_heal or may_heal
        self._n_others += has_others
        self._others_may_heal = self._others_may_heal or (has_others and may_heal)

    def failures(self) -> CommonFailures:
        """Return the failures."""
        told = sorted(self._found.values(), key=lambda one: (-one.n_cases, one.first, one.message))
        return CommonFailures(
            told=told, n_others=self._n_others, others_may_heal=self._others_may_heal
        )


def common_failures(store: RunStore, snapshot: RunSnapshot) -> CommonFailures:
    """Return a run's failures, reading its journal page by page."""
    fold = FailuresFold()
    fold_cases(store, snapshot, fold)
    return fold.failures()
