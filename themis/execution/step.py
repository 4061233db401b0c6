"""A step of a case, as its stage describes it, and how the step ended.

Each stage has a class for its kind of step (``stages/``). What the step is about stands in fields;
what is done stands in methods. Nothing that a step holds refers back to the step, so that it, and
the case with it, is freed as soon as it is over: the collector of cycles finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from themis.core.base import ArtifactKey
from themis.core.events import Artifact, Stage, StepAddress
from themis.core.results import StepFailure
from themis.execution.case_run import CaseRun
from themis.planning.compiled_run import BoundComponent

Payload: TypeAlias = dict[str, Any]


class Step:
    """One step of a case; each stage has a subclass.

    The class attributes are what most kinds of steps have in common. A subclass, or a step of its
    own, says otherwise.

    Args:
        case: the case.
        address: the step's place within the case.
        key: digest of everything that the result depends on.
        bound: the component that does the work.
        candidate_id: the candidate that the step is about, where that is known beforehand.
    """

    category = ""
    """What a failure of the step is called."""
    paid = False
    """Whether the work is worth a question to the store before it is done."""
    known_absent = False
    """Whether the store was asked for the key already, in vain, while the case was read."""
    in_thread = False
    """Whether the call runs in a thread."""
    timeout: float | None = None
    """Seconds for the call, where its stage has no policy of its own; None for no limit."""
    renews = False
    """Whether the store has a result that is too old to be reused."""

    def __init__(
        self,
        case: CaseRun,
        address: StepAddress,
        key: ArtifactKey,
        bound: BoundComponent,
        candidate_id: str | None = None,
    ) -> None:
        self.case = case
        self.address = address
        self.key = key
        self.bound = bound
        self.candidate_id = candidate_id
        self.policy_stage: Stage = address.stage
        """The stage whose limits, timeout and retries hold for the call."""

    def call(self) -> Any:
        """Call the component, and return its result or an awaitable of it."""
        raise NotImplementedError

    def to_payload(self, value: Any) -> Payload:
        """Check what the component returned, and return it as it is stored."""
        raise NotImplementedError

    def check_allowed(self) -> None:
        """Refuse a call that must not be made any more; asked again while it waits.

        Raises:
            NotAskedError: it would fail as others did before it.
        """

    def expected_tokens(self) -> int | None:
        """Return about how many prompt tokens the call uses; None where nobody can say."""
        return None

    def max_prompt_tokens(self) -> int:
        """Return how many prompt tokens the call uses at most."""
        raise NotImplementedError

    def failed(self, failure: StepFailure) -> None:
        """Do what a failure means beyond the step, as soon as it is known: by default nothing."""

    def candidate_of(self, result: StepResult) -> str | None:
        """Return the id of the candidate that a reused result is about."""
        del result
        return self.candidate_id


class StepResult:
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


RunStep: TypeAlias = Callable[[Step], Coroutine[Any, Any, StepResult]]
"""How a walk through a case takes each step: ``run_or_reuse``, or a dry run's way of noting it."""
