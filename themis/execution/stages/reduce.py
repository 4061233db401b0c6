"""Reduction: one candidate made of several samples."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import ReduceContext
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, StepAddress
from themis.core.models import ReducedCandidate
from themis.execution.candidates import Candidate, Parsed, check_id, shown_to
from themis.execution.case_run import CaseRun
from themis.execution.step import Payload, Step, StepResult
from themis.planning.keys import content_digest, reduce_key, refused_digest


class ReduceStep(Step):
    """The step that makes one candidate of a case's samples.

    Args:
        case: the case.
        candidates: the samples that go on.
        parsed: they, as the run's parser read them, for a reducer that reads parsed values.
    """

    category = "reduction"

    def __init__(
        self,
        case: CaseRun,
        candidates: Sequence[Candidate],
        parsed: Sequence[Parsed],
    ) -> None:
        reducer = case.session.run.reducer
        assert reducer is not None  # else there is no such step
        key = reduce_key(
            reducer.digest,
            [one.content for one in candidates],
            [one.content for one in parsed],
            case.digests.read_by(reducer.reads),
        )
        super().__init__(case, StepAddress(Stage.REDUCE), key, reducer)
        self._candidates = candidates
        self._parsed = parsed
        self._ids = [CandidateId(one.candidate_id) for one in candidates]
        method = reducer.component.reduce
        self.in_thread = case.session.runs_in_thread(reducer, method)
        # A reducer of the user's may call out; the shipped ones compute.
        self.paid = reducer.code is not None or inspect.iscoroutinefunction(method)
        self.timeout = case.session.runtime.generation_timeout

    def call(self) -> Any:
        """Call the reducer."""
        outputs = [one.output for one in self._parsed]
        context = ReduceContext(
            **self.case.common(self.bound),
            candidate_ids=self._ids,
            parsed=dict(zip(self._ids, outputs, strict=False)),
        )
        shown = [shown_to(self.bound, one) for one in self._candidates]
        return self.bound.component.reduce(shown, context)

    def to_payload(self, value: Any) -> Payload:
        """Check a reduced candidate, and return it as it is stored."""
        payload = _to_payload(value, self._ids)
        self.candidate_id = value.candidate_id
        return payload

    def candidate_of(self, result: StepResult) -> str:
        """Return the id of the reduced candidate that an artifact has."""
        return str(result.payload["candidate_id"])

    def candidate(self, result: StepResult) -> Candidate | None:
        """Return the reduced candidate as later stages see it; None where there is none."""
        if result.failure is not None:
            return None
        payload = result.payload
        reduced = ReducedCandidate(
            candidate_id=payload["candidate_id"],
            source_candidate_ids=[self._ids[place] for place in payload["sources"]],
            final_output=payload["final_output"],
            metadata=payload.get("metadata", {}),
        )
        content = content_digest(reduced.final_output)
        refused = _refusal(content, [self._candidates[place] for place in payload["sources"]])
        return Candidate(
            sample=None,
            candidate_id=reduced.candidate_id,
            shown=reduced,
            content=content if refused is None else refused_digest(content, refused),
            refused=refused,
        )


def _refusal(content: bytes, sources: Sequence[Candidate]) -> str | None:
    """Return why a reduced candidate is no answer: only refusals said it, or went into it."""
    if all(one.refused is None for one in sources):
        return None
    said = [one for one in sources if content_digest(one.shown.final_output) == content]
    refused = [one.refused for one in said or sources]
    return None if None in refused else refused[0]


def _to_payload(value: Any, ids: Sequence[str]) -> Payload:
    """Store sources by position: ids may differ where the same content is reduced again."""
    if not isinstance(value, ReducedCandidate):
        raise InvalidResultError(
            f"reduce() returned {type(value).__name__}, not a ReducedCandidate"
        )
    for source in value.source_candidate_ids:
        if source not in ids:
            raise InvalidResultError(
                f"reduce() names the source '{source}', which it was not given"
            )
    check_id(value.candidate_id)
    content_digest(value.final_output)  # refuses what is not JSON
    payload: Payload = {
        "candidate_id": value.candidate_id,
        "final_output": value.final_output,
        "sources": [ids.index(source) for source in value.source_candidate_ids],
    }
    if value.metadata:
        payload["metadata"] = value.metadata
    return payload
