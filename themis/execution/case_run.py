"""A case in flight: what is known of it, and the candidates that pass between its stages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from themis.core.base import ArtifactKey, CaseKey
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.models import Case
from themis.execution.candidates import copied, own_copy
from themis.execution.session import RunSession
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import CaseDigests, derived_seed


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
        "end",
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
        "session",
        "stale",
    )

    def __init__(
        self,
        session: RunSession,
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
        self.session = session
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
        self.stale = False
        """Whether the case was last executed by other code than today's."""
        self.remade: set[StepAddress] = set()
        """Steps that this attempt executed again, where the case has events of earlier attempts."""
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

    def record(
        self,
        kind: EventKind,
        address: StepAddress,
        *,
        at: float | None = None,
        candidate_id: str | None = None,
        key: ArtifactKey | None = None,
        version: int = 0,
        reused: bool = False,
        data: dict[str, Any] | None = None,
        artifact: Artifact | None = None,
        found: Artifact | None = None,
    ) -> None:
        """Queue an event of a step of this case, dated now if no time is given; see ``Event``."""
        session = self.session
        self.changed = True
        self.pending += 1
        if self.prior and kind is EventKind.STEP_DONE:
            self.remade.add(address)
        session.journal.append(
            Event(
                kind=kind,
                attempt=session.attempt.number,
                at=time.time() if at is None else at,
                case_index=self.index,
                address=address,
                candidate_id=candidate_id,
                key=key,
                version=version,
                reused=reused,
                data={} if data is None else data,
                artifact=artifact,
                found=found,
            )
        )

    def close(self) -> None:
        """Queue the case's end, if it came to one and all its steps are committed.

        Not before: another process may have committed one of them first, and then the case is to
        be gone through again, even if this process dies in between.
        """
        if self.end is not None and not self.pending and not self.lost:
            self.session.journal.append(self.end)
            self.end = None

    def view_for(self, bound: BoundComponent) -> Case:
        """Return the case as a component sees it: parts that it does not read are empty.

        A user's component gets copies of lists and objects: changes to them reach neither other
        samples nor the dataset.
        """
        view = self.view(bound.reads)
        if bound.code is None:
            return view
        return Case.unchecked(
            case_id=view.case_id,
            input=copied(view.input),
            expected_output=copied(view.expected_output),
            metadata=copied(view.metadata),
        )

    def view(self, reads: frozenset[str]) -> Case:
        """Return the case with the parts that ``reads`` names; the others are empty."""
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

    def common(self, bound: BoundComponent) -> dict[str, Any]:
        """Return the arguments that every context of a component takes."""
        if self._seed is None:
            self._seed = derived_seed(self.case.case_id, "case")
        return {
            "run_id": self.session.run_id,
            "case_id": self.case.case_id,
            "dataset_id": self.dataset_id,
            "case_key": self.case_key,
            "seed": self._seed,
            "metadata": own_copy(bound, self.case.metadata) if "metadata" in bound.reads else {},
        }

    def sample_id(self, given: str, sample: int) -> str:
        """Return a sample's id: the generator's own, told apart where there are several."""
        return f"{given}#{sample}" if self.session.num_samples > 1 else given

    def invalidate_downstream(self, until: Stage) -> int:
        """Journal as dropped what later stages made of steps that were executed again.

        Returns:
            Outages of later stages that still hold.
        """
        outages = 0
        pipeline = self.session.run.pipeline
        for address, event in self.prior.items():
            if address.stage.order <= until.order or event.kind is EventKind.STEP_DROPPED:
                continue
            if self.stale or not self.remade.isdisjoint(pipeline.upstream(address)):
                self.record(EventKind.STEP_DROPPED, address)
            elif event.kind is EventKind.STEP_FAILED and address.call is None:
                outages += "settled" not in event.data
        return outages

    def finish(self) -> None:
        """Journal that the case is finished up to the attempt's last stage."""
        attempt = self.session.attempt
        said = self.said_finished
        if self.changed:
            if self.prior:
                self.outages += self.invalidate_downstream(attempt.until)
        elif (
            said is not None
            and not attempt.redo
            and Stage(said.data["through"]).order > attempt.until.order
        ):
            return  # nothing is new: it went farther, and that still holds
        data = {
            "through": self.session.through,
            "outages": self.outages,
            "generated": self.generated,
        }
        known = said is not None and not self.changed and said.data == data
        if known and said is not None and (not attempt.redo or said.attempt == attempt.number):
            return
        self.changed = True
        self.end = self.session.event(EventKind.CASE_FINISHED, data, case_index=self.index)
        if not self.pending:
            self.close()
