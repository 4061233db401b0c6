"""What a bundle may say: the shape of its manifest and records, and that a run can be read of them.

Hashes tell of damage, and not whether whoever wrote the records knew what Themis reads. So each is
held to its shape, and each case is read as the views read it, before anything of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from themis.core.base import ArtifactKey, DatasetId, Model, case_key
from themis.core.errors import DefinitionError, ThemisError
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.hashing import encode
from themis.core.models import Case
from themis.core.results import CorpusValue, RunStatus
from themis.core.snapshot import DatasetRef, Provenance, RunSnapshot
from themis.planning.datasets import DatasetDigest
from themis.planning.keys import CaseDigests
from themis.views.cases import RunCase
from themis.views.headline import HeadlineFold
from themis.views.results import fold_case
from themis.views.steps import CaseSteps

_YEAR_10000 = 253_402_300_800
Seconds = Annotated[float, Field(ge=0, lt=_YEAR_10000)]
"""Unix seconds, up to the year 9999."""
StageName = Literal["generate", "select", "reduce", "parse", "score", "judge"]
Count = Annotated[int, Field(ge=0)]
BundleKind = Literal["generation", "reduction", "parse", "score", "evaluation"]
_CASE_FIELDS = tuple(Case.model_fields)
_OPEN = frozenset({RunStatus.RUNNING, RunStatus.PENDING})


class ToldCorpus(Model):
    """A value over the whole run, and the digest of the statistics that it was made of."""

    value: CorpusValue
    statistics: str


class Manifest(Model):
    """A bundle's first line."""

    format: str
    kind: str
    themis: str
    run_id: str
    snapshot: dict[str, Any]
    status: str
    through: StageName | None
    provenance: dict[str, Any]
    notes: list[str]
    counts: dict[str, Count]
    corpus: dict[str, ToldCorpus] = Field(default_factory=dict)
    body_sha256: str


class CaseRecord(Model):
    """A case at its place in the run."""

    record: Literal["case"]
    index: int
    dataset_id: str
    case_id: str
    input: Any
    expected_output: Any
    metadata: dict[str, Any]


class FailedRecord(Model):
    """A step that failed."""

    record: Literal["step"]
    index: Count
    case_id: str
    stage: StageName
    sample: Count | None
    component: str | None
    call: str | None
    candidate_id: str | None
    key: Annotated[str, Field(pattern=r"^[0-9a-z]+:[0-9a-f]{16,}$")] | None
    at: Seconds
    reused: bool
    data: dict[str, Any]


class StepRecord(FailedRecord):
    """A step that is done."""

    key: Annotated[str, Field(pattern=r"^[0-9a-z]+:[0-9a-f]{16,}$")]
    payload: dict[str, Any]
    made_at: Seconds
    code: str | None


class Ended(Model):
    """How far a case went."""

    through: StageName
    outages: Count
    generated: Count


class FinishedRecord(Model):
    """A case that was gone through to the end."""

    record: Literal["finished"]
    index: Count
    case_id: str
    at: Seconds
    data: Ended


def check_manifest(manifest: dict[str, Any], *, name: str) -> None:
    """Check a bundle's manifest.

    Raises:
        DefinitionError: it lacks something, or says what no run could.
    """
    read = Manifest.read(manifest, f"{name}: manifest")
    if read.status not in set(RunStatus) - _OPEN:
        raise DefinitionError(
            f"{name}: manifest.status = {read.status!r} is no status of a run that has ended",
            field="status",
            value=read.status,
        )
    if read.provenance:
        origin = Provenance.read(read.provenance, f"{name}: manifest.provenance")
        if not 0 <= origin.at < _YEAR_10000:
            raise DefinitionError(
                f"{name}: manifest.provenance.at = {origin.at!r} is no date", field="at"
            )
    for metric, told in read.corpus.items():
        if not _may_be(told.value):
            raise DefinitionError(
                f"{name}: manifest.corpus of '{metric}' is no value that a run could have kept: "
                f"{told.value.plain()!r}",
                field="corpus",
            )


def _may_be(found: CorpusValue) -> bool:
    """Return whether a corpus-level value is one: a number with what goes along, or a reason."""
    if min(found.n_cases, found.n_rows, found.n_without) < 0:
        return False
    if (found.value is None) is (found.failure is None):
        return False
    if found.interval is None:
        return found.interval_method is None
    return (
        found.value is not None
        and found.interval_failure is None
        and len(found.interval) == 2
        and found.interval[0] <= found.interval[1]
        and found.interval_method is not None
        and (found.resamples or 0) > 0
        and found.seed is not None
    )


LAST_STAGE: Mapping[BundleKind, Stage] = {
    "generation": Stage.GENERATE,
    "reduction": Stage.REDUCE,
    "parse": Stage.PARSE,
    "score": Stage.SCORE,
    "evaluation": Stage.JUDGE,
}
"""The last stage that a bundle of each kind has."""


def leaves(address: StepAddress, last: Stage, *, reduces: bool) -> bool:
    """Return whether a step is of a bundle's stages, or what one of them rests on."""
    if address.stage.order <= last.order:
        return True
    # What a reducer is given of the samples' answers is read before it reduces.
    return (
        last is Stage.REDUCE
        and reduces
        and address.stage is Stage.PARSE
        and address.sample is not None
    )


class Reading:
    """Reads a bundle's records as an import will, and writes nothing.

    Args:
        snapshot: the run.
        last_stage: the last stage that the bundle may have.
    """

    def __init__(self, snapshot: RunSnapshot, last_stage: Stage) -> None:
        self._snapshot = snapshot
        self._last_stage = last_stage
        self._reduces = snapshot.identity.reducer is not None
        self._datasets = {
            ref.dataset_id: Span(ref, first, beyond) for ref, first, beyond in spans(snapshot)
        }
        self._fold = HeadlineFold(snapshot)
        self._cases: dict[int, RunCase] = {}
        self._steps: CaseSteps | None = None
        self._at = -1
        self._seq = 0

    def take(self, record: dict[str, Any]) -> None:
        """Take the next record.

        Raises:
            DefinitionError: saying what is wrong with it.
        """
        what = record.get("record")
        if what == "case":
            self._take_case(record)
        elif what == "step":
            (StepRecord if "payload" in record else FailedRecord).read(record, "step")
            self._take_event(record, step_event(record, attempt=1))
        elif what == "finished":
            FinishedRecord.read(record, "finished")
            self._take_event(record, finished_event(record, attempt=1, data=record["data"]))
        else:
            raise DefinitionError(f"a record of kind {what!r} is not understood")

    def end(self) -> None:
        """Take note that there are no further records.

        Raises:
            DefinitionError: the cases are not the run's, or no figures can be made of them.
        """
        self._settle()
        for name, found in self._datasets.items():
            if not found.may_be_the_dataset():
                raise DefinitionError(f"its cases are not those of dataset '{name}'")
        self._told("it", self._fold.headline)

    def _take_case(self, record: dict[str, Any]) -> None:
        CaseRecord.read(record, "case")
        self._settle()
        if self._at >= 0:  # a page of cases begins
            self._cases.clear()
            self._at = -1
        name, index = record["dataset_id"], record["index"]
        dataset = self._datasets.get(name)
        if dataset is None or not dataset.has_place_for(index):
            raise DefinitionError(
                f"case '{record['case_id']}' stands at a place that is not its dataset's"
            )
        case = case_of(record)
        dataset.take(index, case)
        key = case_key(name, case.case_id)
        self._cases[index] = RunCase(index, DatasetId(name), key, case)

    def _take_event(self, record: dict[str, Any], event: Event) -> None:
        index = record["index"]
        case = self._cases.get(index)
        if case is None or index < self._at or case.case_id != record["case_id"]:
            raise DefinitionError(
                f"the record of case '{record['case_id']}' does not follow that case"
            )
        if not self._is_of_the_bundle(event):
            raise DefinitionError(
                f"a {record['stage']} step of case '{record['case_id']}' is beyond its stages"
            )
        if index != self._at:
            self._settle()
            self._at, self._steps = index, CaseSteps(index)
        assert self._steps is not None
        self._seq += 1
        event.seq = self._seq
        self._steps.take(event)

    def _is_of_the_bundle(self, event: Event) -> bool:
        return event.address is None or leaves(
            event.address, self._last_stage, reduces=self._reduces
        )

    def _settle(self) -> None:
        """Read the case whose records are all there."""
        steps, self._steps = self._steps, None
        if steps is None:
            return
        case = self._cases[steps.index]
        name = f"case '{case.case_id}'"
        self._told(name, lambda: fold_case(self._snapshot, case, steps))
        self._told(name, lambda: self._fold.take(steps))

    @staticmethod
    def _told(name: str, read: Callable[[], object]) -> None:
        try:
            read()
        except ThemisError as error:
            raise DefinitionError(f"{name} cannot be read: {error}") from error
        except Exception as error:
            raise DefinitionError(
                f"{name} cannot be read: what its records say makes no sense "
                f"({type(error).__name__}: {error})"
            ) from error


class Span:
    """A dataset's place in the run, and how far the bundle has its cases."""

    def __init__(self, ref: DatasetRef, first: int, beyond: int) -> None:
        self._ref = ref
        self._next = first
        self._beyond = beyond
        self._n_cases = 0
        self._digest = DatasetDigest(ref.revision, ref.metadata)

    def has_place_for(self, index: int) -> bool:
        """Return whether a case may stand at a position: cases come in the run's order."""
        return self._next <= index < self._beyond

    def take(self, index: int, case: Case) -> None:
        """Take the case at a position."""
        self._next = index + 1
        self._n_cases += 1
        self._digest.update(CaseDigests(case).whole)

    def may_be_the_dataset(self) -> bool:
        """Return whether it is the run's; a run that was cut short had not stored all of it."""
        if self._n_cases < self._ref.n_cases:
            return True
        return self._digest.fingerprint() == self._ref.fingerprint


def spans(snapshot: RunSnapshot) -> Iterator[tuple[DatasetRef, int, int]]:
    """Yield each dataset with the run's positions of its first case and of what follows it."""
    first = 0
    for ref in snapshot.identity.datasets:
        yield ref, first, first + ref.n_cases
        first += ref.n_cases


def case_of(record: dict[str, Any]) -> Case:
    """Return the case that a record says."""
    return Case(**{name: record[name] for name in _CASE_FIELDS})


def address_of(record: dict[str, Any]) -> StepAddress:
    """Return the address of the step that a record says."""
    return StepAddress(
        Stage(record["stage"]), record["sample"], record["component"], record["call"]
    )


def artifact_of(record: dict[str, Any]) -> Artifact | None:
    """Return what a step gave; None where it failed."""
    if "payload" not in record:
        return None
    return Artifact(
        key=ArtifactKey(record["key"]),
        raw=encode(record["payload"]),
        at=record["made_at"],
        code=record["code"],
    )


def step_event(record: dict[str, Any], *, attempt: int) -> Event:
    """Return the event of the step that a record says."""
    made = artifact_of(record)
    return Event(
        kind=EventKind.STEP_FAILED if made is None else EventKind.STEP_DONE,
        attempt=attempt,
        at=record["at"],
        case_index=record["index"],
        address=address_of(record),
        candidate_id=record["candidate_id"],
        key=record["key"],
        reused=record["reused"],
        data=record["data"],
        artifact=made,
    )


def finished_event(record: dict[str, Any], *, attempt: int, data: dict[str, Any]) -> Event:
    """Return the event of the end of a case that a record says, with this data."""
    return Event(
        kind=EventKind.CASE_FINISHED,
        attempt=attempt,
        at=record["at"],
        case_index=record["index"],
        data=data,
    )
