"""A case in flight: what is known of it, and the candidates that pass between its stages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from themis.core.base import ArtifactKey, CaseKey
from themis.core.errors import InvalidResultError
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.models import Case, GenerationResult, ParsedOutput, ReducedCandidate
from themis.execution.engine import Engine
from themis.execution.failures import WorkStoppedError, as_storable
from themis.execution.step import Step, Taken
from themis.planning.keys import CaseDigests
from themis.planning.seeds import derived_seed
from themis.planning.work import Bound

T = TypeVar("T")
_CONTAINERS = frozenset({dict, list})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sample or the reduced candidate, as later stages see it.

    Attributes:
        sample: index of the sample; None for the reduced candidate.
        candidate_id: its id, unique in the case.
        shown: the candidate without evidence (artifacts, usage, latency): keys do not cover these.
        content: digest of output, trace and conversation, and of a refusal that it is one.
        refused: why it is no answer, where the model refused.
    """

    sample: int | None
    candidate_id: str
    shown: GenerationResult | ReducedCandidate
    content: bytes
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A candidate as a parser read it: a value, or why there is none."""

    output: ParsedOutput | None
    content: bytes
    category: str | None = None
    message: str | None = None
    outage: bool = False
    """Whether the machinery failed, not the model."""


class CaseRun:
    """A case in flight: what is known of its steps, and what they have in common."""

    __slots__ = (
        "_seed",
        "_views",
        "case",
        "case_key",
        "changed",
        "dataset_digest",
        "dataset_id",
        "dataset_metadata",
        "digests",
        "distrusted",
        "end",
        "engine",
        "found",
        "generate_keys",
        "generated",
        "index",
        "lost",
        "outages",
        "pending",
        "prior",
        "remade",
        "reusing",
        "said_finished",
        "seeds",
    )

    def __init__(
        self,
        engine: Engine,
        case: Case,
        *,
        index: int,
        dataset_id: str,
        dataset_metadata: Mapping[str, Any],
        dataset_digest: bytes,
        case_key: CaseKey,
        digests: CaseDigests,
        generate_keys: Sequence[ArtifactKey],
        seeds: Sequence[int],
    ) -> None:
        self.engine = engine
        self.case = case
        self.index = index
        self.dataset_id = dataset_id
        self.dataset_metadata = dataset_metadata
        self.dataset_digest = dataset_digest
        self.case_key = case_key
        self.digests = digests
        self.generate_keys = generate_keys
        self.seeds = seeds
        """One for each sample."""
        self.found: Mapping[ArtifactKey, Artifact] = {}
        """What the store has under the keys asked for beforehand."""
        self.prior: dict[StepAddress, Event] = {}
        """The newest event of each step that this run has already."""
        self.said_finished: Event | None = None
        self.reusing = False
        """Whether earlier work was found for this case, so that there may be more."""
        self.changed = False
        self.distrusted = False
        """Whether it was last gone through by other code than today's."""
        self.remade: set[int | None] = set()
        """Samples, or None for the whole case, of which this attempt has a step anew."""
        self.pending = 0
        """Events that are queued and not committed yet."""
        self.lost = False
        """Whether another process committed one of its steps first."""
        self.end: Event | None = None
        """The end of the case, once it was gone through and until its steps are committed."""
        self.outages = 0
        self.generated = 0
        self._views: dict[frozenset[str], Case] = {}
        self._seed: int | None = None

    def earlier(self, step: Step) -> Artifact | None:
        """Return what this run has of a step already, if it still holds."""
        event = self.prior.get(step.address) if self.prior else None
        if event is None or event.key != step.key or event.artifact is None:
            return None
        attempt = self.engine.attempt
        mine = event.attempt == attempt.number
        if not mine and attempt.redoes(step.address):
            return None
        if attempt.is_too_old(event.artifact) and (event.reused or not mine):
            return None
        return event.artifact if self.engine.may_reuse(event.artifact, step.bound) else None

    def was_redone(self, step: Step, artifact: Artifact) -> bool:
        """Return whether this run set out to replace an artifact since it was made, and failed."""
        event = self.prior.get(step.address) if self.prior else None
        if event is None or event.kind is not EventKind.STEP_FAILED:
            return False
        return event.key == step.key and artifact.at < event.at

    def instead_of_work(self, step: Step) -> Taken | None:
        """Return what stands for a step's work: nothing, unless the case is only looked at."""
        return None

    def emit(self, event: Event) -> None:
        """Queue an event of this case."""
        self.changed = True
        self.pending += 1
        if self.prior and event.kind is EventKind.STEP_DONE and event.address is not None:
            self.remade.add(event.address.sample)
        self.engine.journal.append(event)

    def close(self) -> None:
        """Queue the case's end, if it came to one and all its steps are committed.

        Not before: another process may have committed one of them first, and then the case is to
        be gone through again, even if this process dies in between.
        """
        if self.end is not None and not self.pending and not self.lost:
            self.engine.journal.append(self.end)
            self.end = None

    def view_for(self, bound: Bound) -> Case:
        """Return the case as a component is shown it: what it does not read blanked.

        A user's component gets lists and objects of its own: what it changes in them is neither
        another sample's nor the dataset's.
        """
        view = self.view(bound.reads)
        if bound.code is None:
            return view
        return Case.unchecked(
            case_id=view.case_id,
            input=_copied(view.input),
            expected_output=_copied(view.expected_output),
            metadata=_copied(view.metadata),
        )

    def view(self, reads: frozenset[str]) -> Case:
        """Return the case with what ``reads`` does not name blanked."""
        if len(reads) == 3:
            return self.case
        found = self._views.get(reads)
        if found is None:
            case = self.case
            found = self._views[reads] = Case.unchecked(
                case_id=case.case_id,
                input=case.input if "input" in reads else None,
                expected_output=case.expected_output if "expected_output" in reads else None,
                metadata=case.metadata if "metadata" in reads else {},
            )
        return found

    def common(self, bound: Bound) -> dict[str, Any]:
        """Return the arguments that every context of a component takes."""
        if self._seed is None:
            self._seed = derived_seed(self.case.case_id, "case")
        return {
            "run_id": self.engine.run_id,
            "case_id": self.case.case_id,
            "dataset_id": self.dataset_id,
            "case_key": self.case_key,
            "seed": self._seed,
            "metadata": own_copy(bound, self.case.metadata) if "metadata" in bound.reads else {},
        }

    def candidate_name(self, address: StepAddress, taken: Taken) -> str | None:
        """Return the unique id of a generated or reduced candidate, from what the step gave."""
        if address.stage is Stage.GENERATE and address.sample is not None:
            return self.sample_id(taken.payload["candidate_id"], address.sample)
        if address.stage is Stage.REDUCE:
            return str(taken.payload["candidate_id"])
        return None

    def sample_id(self, given: str, sample: int) -> str:
        """Return a sample's id: the generator's own, told apart where there are several."""
        return f"{given}#{sample}" if self.engine.num_samples > 1 else given

    def drop_beyond(self, until: Stage) -> int:
        """Journal that what later stages made of what is new in this case no longer holds.

        Returns:
            Outages of later stages that still hold.
        """
        outages = 0
        for address, event in self.prior.items():
            if address.stage.order <= until.order or event.kind is EventKind.STEP_DROPPED:
                continue
            # Of a sample that nothing became of again, all holds that came of it before.
            rests_on_new = address.sample in self.remade or (
                address.sample is None and bool(self.remade)
            )
            if self.distrusted or rests_on_new:
                self.emit(
                    Event(
                        kind=EventKind.STEP_DROPPED,
                        attempt=self.engine.attempt.number,
                        at=time.time(),
                        case_index=self.index,
                        address=address,
                    )
                )
            elif event.kind is EventKind.STEP_FAILED and address.call is None:
                outages += "settled" not in event.data
        return outages

    def finish(self) -> None:
        """Journal that the case went as far as the attempt goes."""
        attempt = self.engine.attempt
        said = self.said_finished
        if self.changed:
            self.outages += self.drop_beyond(attempt.until)
        elif (
            said is not None
            and not attempt.redo
            and Stage(said.data["through"]).order > attempt.until.order
        ):
            return  # nothing is new: it went farther, and that still holds
        data = {
            "through": self.engine.through,
            "outages": self.outages,
            "generated": self.generated,
        }
        known = said is not None and not self.changed and said.data == data
        if known and said is not None and (not attempt.redo or said.attempt == attempt.number):
            return
        self.changed = True
        self.end = Event(
            kind=EventKind.CASE_FINISHED,
            attempt=attempt.number,
            at=time.time(),
            case_index=self.index,
            data=data,
        )
        self.close()


def own_copy(bound: Bound, value: Any) -> Any:
    """Return data as a component is shown it; a user's component gets a copy of its own."""
    return value if bound.code is None else _copied(value)


def check_id(candidate_id: str) -> None:
    """Refuse an id that no store can keep.

    Raises:
        InvalidResultError: it holds a lone surrogate.
    """
    if not candidate_id.isascii() and as_storable(candidate_id) != candidate_id:
        raise InvalidResultError(f"candidate_id {candidate_id!a} holds a lone surrogate")


def shown_to(bound: Bound, candidate: Candidate) -> GenerationResult | ReducedCandidate:
    """Return a candidate as a component is shown it; a user's component gets one of its own."""
    shown = candidate.shown
    if bound.code is None or not _is_container(shown.final_output):
        return shown
    return shown.model_copy(update={"final_output": _copied(shown.final_output)})


def parsed_for(bound: Bound, output: ParsedOutput) -> ParsedOutput:
    """Return a parsed output as a component is shown it; a user's component gets one of its own."""
    if bound.code is None or not _is_container(output.value):
        return output
    return output.model_copy(update={"value": _copied(output.value)})


def _is_container(value: Any) -> bool:
    return type(value) in _CONTAINERS


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {
            key: _copied(item) if type(item) in _CONTAINERS else item for key, item in value.items()
        }
    if type(value) is list:
        return [_copied(item) if type(item) in _CONTAINERS else item for item in value]
    return value


async def gather(promises: Sequence[Awaitable[T]]) -> list[T]:
    """Await all of them side by side, to the end of each; then raise the first error, if any.

    A step that is not taken any more must not cost its siblings a call that is in flight.
    """
    if len(promises) == 1:
        return [await promises[0]]
    if not promises:
        return []
    tasks = [asyncio.ensure_future(promise) for promise in promises]
    try:
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    errors = [one for one in ended if isinstance(one, BaseException)]
    if errors:
        raise next((one for one in errors if not isinstance(one, WorkStoppedError)), errors[0])
    return [one for one in ended if not isinstance(one, BaseException)]
