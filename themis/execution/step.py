"""What a stage says of one step, and how the step ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from themis.core.base import ArtifactKey
from themis.core.events import Artifact, Stage, StepAddress
from themis.core.results import StepFailure
from themis.execution.failures import NotAskedError
from themis.planning.work import Bound

Payload = dict[str, Any]


def usage_in(payload: Payload) -> Mapping[str, int] | None:
    """Return the token usage that a generation or a judge's answer tells of, if it is whole."""
    found = payload.get("token_usage") or (payload.get("response") or {}).get("token_usage")
    counts: Mapping[str, int] = found or {}
    whole = all(counts.get(name, -1) >= 0 for name in ("prompt_tokens", "completion_tokens"))
    return counts if whole else None


@dataclass(slots=True, kw_only=True)
class Step:
    """What a stage says of one step.

    Attributes:
        address: its place within the case.
        key: digest of all it depends on.
        bound: the component that does it.
        call: does it, and returns the component's result or a promise of it.
        seal: checks that result and makes the payload of it.
        category: what its failure is called.
        away: whether the call runs in a thread.
        paid: whether the work is worth a question to the store before doing it.
        known_absent: whether the store was asked for this key already, in vain.
        tokens: prompt tokens the call is expected to use, for limits.
        bound_tokens: prompt tokens the call uses at most, for budgets.
        called_as: the stage whose limits, timeout and retries apply, where it is another one than
            the address says: a selector's judge call is a judge call.
        barred: says why the call is not to be made, or None; asked again while it waits.
        timeout: seconds for the call, where its stage has no policy of its own; None for no limit.
        candidate_id: the candidate it concerns; may be told by ``seal``.
        renews: whether what was there was too old to be reused.
    """

    address: StepAddress
    key: ArtifactKey
    bound: Bound
    call: Callable[[], Any]
    seal: Callable[[Any], Payload]
    category: str
    away: bool = False
    paid: bool = False
    known_absent: bool = False
    tokens: Callable[[], int] | None = None
    bound_tokens: Callable[[], int] | None = None
    called_as: Stage | None = None
    barred: Callable[[], str | None] | None = None
    timeout: float | None = None
    candidate_id: str | None = None
    renews: bool = False

    def check_asked(self) -> None:
        """Refuse a call that is not to be made.

        Raises:
            NotAskedError: it is barred.
        """
        why = None if self.barred is None else self.barred()
        if why is not None:
            raise NotAskedError(why)


class Taken:
    """How a step ended: with a payload, or a failure.

    Beside a payload stands the component's own result, where it was made just now; beside a failure
    whether it is settled, so that trying again cannot help. An artifact's payload is decoded when
    it is asked for: nobody asks for most reused scores'.
    """

    __slots__ = ("_artifact", "_payload", "failure", "settled", "value")

    def __init__(
        self,
        payload: Payload | None = None,
        value: Any = None,
        failure: StepFailure | None = None,
        settled: bool = False,
        *,
        artifact: Artifact | None = None,
    ) -> None:
        self._payload = payload
        self._artifact = artifact
        self.value = value
        self.failure = failure
        self.settled = settled

    @property
    def payload(self) -> Payload:
        """What the step gave; empty for a failure."""
        if self._payload is None:
            self._payload = {} if self._artifact is None else self._artifact.payload
        return self._payload
