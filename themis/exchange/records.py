"""The form of a bundle's manifest and records, and the check that they make a readable run.

Hashes reveal damage, but a valid hash does not make a record valid. So each record is checked
against its model, and each case is read in the way the views read it, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from themis.core.base import ArtifactKey, DatasetId, Model, case_key
from themis.core.errors import DefinitionError, ThemisError
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.hashing import encode
from themis.core.models import Case
from themis.core.pipeline import Pipeline
from themis.core.results import CorpusValue, RunStatus
from themis.core.snapshot import DatasetRef, Provenance, RunSnapshot
from themis.planning.datasets import DatasetDigest
from themis.planning.keys import CaseDigests
from themis.views.case_results import fold_case
from themis.views.cases import RunCase
from themis.views.headline import HeadlineFold
from themis.views.steps import CaseSteps

_YEAR_10000 = 253_402_300_800
Seconds = Annotated[float, Field(ge=0, lt=_YEAR_10000)]
"""Unix seconds, up to the year 9999."""
StageName = Literal["generate", "select", "reduce", "parse", "score", "judge"]
Count = Annotated[int, Field(ge=0)]
Key = Annotated[str, Field(pattern=r"^[0-9a-z]+:[0-9a-f]{16,}$")]
BundleKind = Literal["generation", "reduction", "parse", "score", "evaluation"]
_CASE_FIELDS = tuple(Case.model_fields)
_OPEN = frozenset({RunStatus.RUNNING, RunStatus.PENDING})


class ToldCorpus(Model):
    """A corpus-level value, and the digest of the statistics of which it was computed."""

    value: CorpusValue
    statistics: str


class BundleManifest(Model):
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
    """A case at its position in the run."""

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
    key: Key | None
    at: Seconds
    reused: bool
    data: dict[str, Any]


class StepRecord(FailedRecord):
    """A step that is done."""

    key: Key
    payload: dict[str, Any]
    made_at: Seconds
    code: str | None


class CaseProgress(Model):
    """Up to which stage a case was done."""

    through: StageName
    outages: Count
    generated: Count


class FinishedRecord(Model):
    """The end of a case."""

    record: Literal["finished"]
    index: Count
    case_id: str
    at: Seconds
    data: CaseProgress


def check_manifest(manifest: dict[str, Any], *, name: str) -> None:
    """Check a bundle's manifest.

    Raises:
        DefinitionError: a field is missing or has a value that no run could have.
    """
    read = BundleManifest.read(manifest, f"{name}: manifest")
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
    """Return whether a corpus-level value is consistent: a number, or a reason for none."""
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
"""The last stage in a bundle, by kind."""


class BundleCheck:
    """Checks a bundle's records by reading them as an import does, without writing.

    Args:
        snapshot: the run.
        last_stage: the last stage that the bundle may have.
    """

    def __init__(self, snapshot: RunSnapshot, last_stage: Stage) -> None:
        self._snapshot = snapshot
        self._last_stage = last_stage
        self._pipeline = Pipeline(snapshot.identity)
        self._datasets = {
            ref.dataset_id: Span(ref, first) for first, ref in snapshot.identity.placed_datasets()
        }
        self._fold = HeadlineFold(snapshot)
        self._cases: dict[int, RunCase] = {}
        self._steps: CaseSteps | None = None
        self._at = -1
        self._seq = 0

    def add(self, record: dict[str, Any]) -> None:
        """Check the next record.

        Raises:
            DefinitionError: the record is invalid; the message says why.
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
        """Finish the check after the last record.

        Raises:
            DefinitionError: the cases are not the run's, or no scores can be computed of them.
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
        dataset.add(index, case)
        key = case_key(name, case.case_id)
        self._cases[index] = RunCase(index, DatasetId(name), key, case)

    def _take_event(self, record: dict[str, Any], event: Event) -> None:
        index = record["index"]
        case = self._cases.get(index)
        if case is None or index < self._at or case.case_id != record["case_id"]:
            raise DefinitionError(
                f"the record of case '{record['case_id']}' does not follow that case"
            )
        address = event.address
        if address is not None and not self._pipeline.is_within(address, self._last_stage):
            raise DefinitionError(
                f"a {record['stage']} step of case '{record['case_id']}' is beyond its stages"
            )
        if index != self._at:
            self._settle()
            self._at, self._steps = index, CaseSteps(index)
        assert self._steps is not None
        self._seq += 1
        event.seq = self._seq
        self._steps.add(event)

    def _settle(self) -> None:
        """Read the case whose records are complete."""
        steps, self._steps = self._steps, None
        if steps is None:
            return
        case = self._cases[steps.index]
        name = f"case '{case.case_id}'"
        self._told(name, lambda: fold_case(self._pipeline, case, steps))
        self._told(name, lambda: self._fold.add(steps))

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
    """A dataset's positions in the run, and the cases of it that the bundle had so far."""

    def __init__(self, ref: DatasetRef, first: int) -> None:
        self._ref = ref
        self._next = first
        self._beyond = first + ref.n_cases
        self._n_cases = 0
        self._digest = DatasetDigest(ref.revision, ref.metadata)

    def has_place_for(self, index: int) -> bool:
        """Return whether a case may have a position: cases must come in the run's order."""
        return self._next <= index < self._beyond

    def add(self, index: int, case: Case) -> None:
        """Add the case at a position."""
        self._next = index + 1
        self._n_cases += 1
        self._digest.update(CaseDigests(case).whole)

    def may_be_the_dataset(self) -> bool:
        """Return whether the cases are the run's dataset, or a part that an early stop stored."""
        if self._n_cases < self._ref.n_cases:
            return True
        return self._digest.fingerprint() == self._ref.fingerprint


def case_of(record: dict[str, Any]) -> Case:
    """Return a record's case."""
    return Case(**{name: record[name] for name in _CASE_FIELDS})


def address_of(record: dict[str, Any]) -> StepAddress:
    """Return the address of a record's step."""
    return StepAddress(
        Stage(record["stage"]), record["sample"], record["component"], record["call"]
    )


def artifact_of(record: dict[str, Any]) -> Artifact | None:
    """Return the artifact of a record's step; None if it failed."""
    if "payload" not in record:
        return None
    return Artifact(
        key=ArtifactKey(record["key"]),
        raw=encode(record["payload"]),
        at=record["made_at"],
        code=record["code"],
    )


def step_event(record: dict[str, Any], *, attempt: int) -> Event:
    """Return the event of a record's step."""
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
    """Return the event of a record's case end, with the data given."""
    return Event(
        kind=EventKind.CASE_FINISHED,
        attempt=attempt,
        at=record["at"],
        case_index=record["index"],
        data=data,
    )
