"""One case on its way through the stages, in order, up to where the attempt goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from themis.core.base import ArtifactKey, CandidateId, CaseId, CaseKey, DatasetId
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.models import Case, GenerationResult, ParsedOutput, ReducedCandidate
from themis.core.results import StepFailure
from themis.execution.engine import Engine
from themis.execution.stage import Payload, Step
from themis.planning.keys import CaseDigests
from themis.planning.seeds import derived_seed

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sample or the reduced candidate, as later stages see it.

    Attributes:
        sample: index of the sample; None for the reduced candidate.
        candidate_id: its id, unique in the case.
        shown: the candidate without evidence (artifacts, usage, latency): keys do not cover these.
        content: digest of output, trace and conversation.
    """

    sample: int | None
    candidate_id: str
    shown: GenerationResult | ReducedCandidate
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A candidate as a parser read it: a value, or the category and message of why there is none."""

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
        "dataset_digest",
        "dataset_id",
        "dataset_metadata",
        "digests",
        "engine",
        "found",
        "generate_keys",
        "generated",
        "index",
        "outages",
        "prior",
        "reusing",
        "said_finished",
        "changed",
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
        self.found: Mapping[ArtifactKey, Artifact] = {}
        """What the store has under the keys asked for beforehand."""
        self.prior: dict[StepAddress, Event] = {}
        """The newest event of each step that this run has already."""
        self.said_finished: Event | None = None
        self.reusing = False
        """Whether earlier work was found for this case, so that there may be more."""
        self.changed = False
        self.outages = 0
        self.generated = 0
        self._views: dict[frozenset[str], Case] = {}
        self._seed: int | None = None

    def earlier(self, step: Step) -> Artifact | None:
        """Return what this run has of a step already, if it still holds."""
        event = self.prior.get(step.address)
        if event is None or event.key != step.key or event.artifact is None:
            return None
        attempt = self.engine.attempt
        if attempt.redoes(step.address) and event.attempt != attempt.number:
            return None
        return event.artifact if self.engine.may_reuse(event.artifact, step.bound) else None

    def emit(self, event: Event) -> None:
        """Queue an event of this case."""
        self.changed = True
        self.engine.journal.append(event)

    def view(self, reads: frozenset[str]) -> Case:
        """Return the case with what ``reads`` does not name blanked."""
        if len(reads) == 3:
            return self.case
        found = self._views.get(reads)
        if found is None:
            case = self.case
            found = self._views[reads] = Case.model_construct(
                case_id=case.case_id,
                input=case.input if "input" in reads else None,
                expected_output=case.expected_output if "expected_output" in reads else None,
                metadata=case.metadata if "metadata" in reads else {},
            )
        return found

    def common(self, reads: frozenset[str]) -> dict[str, Any]:
        """Return the arguments that every context takes."""
        if self._seed is None:
            self._seed = derived_seed(self.case.case_id, "case")
        return {
            "run_id": self.engine.run.run_id,
            "case_id": CaseId(self.case.case_id),
            "dataset_id": DatasetId(self.dataset_id),
            "case_key": self.case_key,
            "seed": self._seed,
            "metadata": self.case.metadata if "metadata" in reads else {},
        }

    def candidate_name(self, address: StepAddress, payload: Payload) -> str | None:
        """Return the unique id of a generated or reduced candidate, from what the step gave."""
        if address.stage is Stage.GENERATE and address.sample is not None:
            return self.sample_id(payload["candidate_id"], address.sample)
        if address.stage is Stage.REDUCE:
            return str(payload["candidate_id"])
        return None

    def sample_id(self, given: str, sample: int) -> str:
        """Return a sample's id: the generator's own, told apart where there are several."""
        several = self.engine.run.snapshot.identity.num_samples > 1
        return CandidateId(f"{given}#{sample}" if several else given)

    def finish(self) -> None:
        """Journal that the case went as far as the attempt goes."""
        attempt = self.engine.attempt
        data = {
            "through": attempt.until.value,
            "outages": self.outages,
            "generated": self.generated,
        }
        said = self.said_finished
        if said is not None and not self.changed and said.data == data:
            if not attempt.redo or said.attempt == attempt.number:
                return
        self.emit(
            Event(
                kind=EventKind.CASE_FINISHED,
                attempt=attempt.number,
                at=time.time(),
                case_index=self.index,
                data=data,
            )
        )


async def walk(case: CaseRun) -> None:
    """Carry a case through the stages."""
    from themis.execution.stages.generate import generate
    from themis.execution.stages.reduce import reduce
    from themis.execution.stages.select import select

    run, attempt = case.engine.run, case.engine.attempt
    case.outages = 0
    samples = run.snapshot.identity.num_samples
    candidates = await gather([generate(case, sample) for sample in range(samples)])
    made = [one for one in candidates if isinstance(one, Candidate)]
    case.generated = len(made)
    subjects = made
    whole = len(made) == len(candidates)
    if run.selector is not None and attempt.reaches(Stage.SELECT):
        chosen = await select(case, made) if whole else None
        subjects, whole = chosen or [], chosen is not None
    if run.reducer is not None and attempt.reaches(Stage.REDUCE):
        # A vote over what happens to be there would be another vote than the one asked for.
        reduced = await reduce(case, subjects) if whole else None
        subjects = [] if reduced is None else [reduced]
    if attempt.reaches(Stage.PARSE):
        await evaluate(case, subjects, made if whole or run.selector is None else [])
    case.finish()


async def evaluate(
    case: CaseRun, subjects: Sequence[Candidate], samples: Sequence[Candidate]
) -> None:
    """Parse, score and judge the subjects, and judge the samples together where a metric does."""
    await gather([evaluate_subject(case, subject) for subject in subjects])
    if case.engine.attempt.reaches(Stage.JUDGE) and len(samples) == len(case.generate_keys):
        from themis.execution.stages.judge import judge

        together = [one for one in case.engine.run.metrics if one.facts.subject == "candidates"]
        await gather([judge(case, metric, samples, None) for metric in together])


async def evaluate_subject(case: CaseRun, subject: Candidate) -> None:
    """Take every parse, score and judge step of one subject."""
    from themis.execution.stages.judge import judge
    from themis.execution.stages.parse import parse, unparsed
    from themis.execution.stages.score import score

    run, attempt = case.engine.run, case.engine.attempt
    parsed: dict[str | None, Parsed] = {}
    for name, parser in run.parsers.items():
        parsed[name] = await parse(case, parser, subject)
    judged = []
    for metric in run.metrics:
        if metric.facts.judged:
            if metric.facts.subject != "candidates" and attempt.reaches(Stage.JUDGE):
                judged.append(judge(case, metric, [subject], subject.sample))
        elif attempt.reaches(Stage.SCORE):
            reads_from = metric.ref.parser
            if reads_from not in parsed:
                parsed[reads_from] = unparsed(subject)
            await score(case, metric, subject, parsed[reads_from])
    if judged:
        await gather(judged)


async def gather(promises: Sequence[Awaitable[T]]) -> list[T]:
    """Await all of them side by side; the first error cancels the rest and is raised as it is."""
    if len(promises) == 1:
        return [await promises[0]]
    if not promises:
        return []
    tasks = [asyncio.ensure_future(promise) for promise in promises]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
