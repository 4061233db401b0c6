"""Why a step is not there to be reused: which input of its key is not what it was in another run.

Only what enters a step's key is a reason for it: a changed gold answer is none for a generator that
does not read it. Where every input is as it was, the other run's own journal says what became of
the step there. Nothing here decides whether a step runs; that is done by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from themis.core.events import EventKind, Stage, StepAddress
from themis.core.models import Case
from themis.core.plans import Difference
from themis.core.protocols import RunStore
from themis.core.snapshot import ComponentRef, RunSnapshot
from themis.planning.differences import (
    component_differences,
    field_differences,
    judging_differences,
    prompt_differences,
)
from themis.planning.kept_cases import KeptCases
from themis.planning.keys import component_digest, prompt_digest
from themis.planning.related import matched_datasets
from themis.planning.work import Bound, CompiledRun
from themis.views.steps import CaseSteps, read_steps

_NEAR = 16
"""Cases between two that are worth reading along rather than asking again."""
_METADATA = frozenset({"metadata"})


class Cause(NamedTuple):
    """One reason why a step would run."""

    code: str
    """What kind of reason, as ``PlanReason.causes`` has it."""
    text: str


Causes = tuple[Cause, ...]
NOTHING_KNOWN: Causes = (Cause("unknown", "the store knows nothing of it"),)
NEW_CASE: Causes = (Cause("new_case", "new cases"),)


class Looked(NamedTuple):
    """A step that is to run, and what is needed to say why."""

    address: StepAddress
    bound: Bound
    dataset_id: str
    case: Case


class Comparison:
    """What is asked now, held against a kept run.

    Args:
        store: where the kept run is.
        before: the kept run.
        run: what is asked now.
    """

    def __init__(self, store: RunStore, before: RunSnapshot, run: CompiledRun) -> None:
        self.before = before
        self._store = store
        self._run = run
        self._now = run.snapshot
        self._matched = matched_datasets(before.identity, self._now.identity)
        self._fingerprints = {
            ref.dataset_id: ref.fingerprint for ref in self._now.identity.datasets
        }
        self._offsets = _offsets(self._now)
        self._kept: dict[str, KeptCases] = {}
        self._of_parts: dict[tuple[Stage, str | None, str, bool], Causes] = {}
        self._of_datasets: dict[str, Causes] = {}

    def causes(self, steps: Sequence[tuple[int, Looked]]) -> Iterator[Causes]:
        """Yield, for each of some steps, why it is not there.

        Args:
            steps: with each the position of its case in the run.
        """
        placed = [self._place(index, looked) for index, looked in steps]
        found = [
            self._changes(looked, place) for (_, looked), place in zip(steps, placed, strict=True)
        ]
        unexplained = {
            place.case_index
            for place, causes in zip(placed, found, strict=True)
            if place and not causes
        }
        known = {one.index: one for one in self._read(sorted(unexplained))}
        for (_, looked), place, causes in zip(steps, placed, found, strict=True):
            if causes or place is None:
                yield causes
            else:
                yield self._became(looked.address, known.get(place.case_index))

    def _place(self, index: int, looked: Looked) -> _Place | None:
        """Return where the case stood in the kept run and what of it changed; None if nowhere."""
        match = self._matched.get(looked.dataset_id)
        if match is None:
            return None
        offset, ref = match
        if ref.fingerprint == self._fingerprints[looked.dataset_id]:
            return _Place(offset + index - self._offsets[looked.dataset_id], frozenset())
        if looked.dataset_id not in self._kept:
            self._kept[looked.dataset_id] = KeptCases(self._store, ref)
        found = self._kept[looked.dataset_id].find(looked.case)
        return None if found is None else _Place(offset + found[0], found[1])

    def _changes(self, looked: Looked, place: _Place | None) -> Causes:
        """Return the inputs of a step's key that are not what they were."""
        address, bound = looked.address, looked.bound
        if place is None:
            return self._unmatched(looked.dataset_id)
        samples = self.before.identity.num_samples
        if address.stage is Stage.GENERATE and (address.sample or 0) >= samples:
            last = self._now.identity.num_samples - 1
            which = f"index {last} is" if last == samples else f"indices {samples} to {last} are"
            return (Cause("new_sample", f"sample {which} new"),)
        metric = self._metric(address)
        reads = bound.reads if metric is None else metric.reads
        if address.stage is Stage.PARSE:
            reads &= _METADATA
        changed = tuple(
            Cause("case_changed", f"the case's {part} changed")
            for part in sorted(reads & place.changed)
        )
        return (*self._parts(address, bound), *self._dataset(address, looked.dataset_id), *changed)

    def _unmatched(self, dataset_id: str) -> Causes:
        if dataset_id not in self._matched:
            return (Cause("new_dataset", f"dataset '{dataset_id}' is new"),)
        if self._kept[dataset_id].whole:
            return NEW_CASE
        return (Cause("new_case", "cases that the run compared with has not, or did not come to"),)

    def _metric(self, address: StepAddress) -> Bound | None:
        if address.stage not in (Stage.SCORE, Stage.JUDGE):
            return None
        return next(one for one in self._run.metrics if one.name == address.component)

    def _parts(self, address: StepAddress, bound: Bound) -> Causes:
        """Return what changed in the parts of the run that enter a step's key."""
        key = (address.stage, address.component, bound.name, address.call is not None)
        if key not in self._of_parts:
            self._of_parts[key] = tuple(self._changed_parts(address, bound))
        return self._of_parts[key]

    def _changed_parts(self, address: StepAddress, bound: Bound) -> Iterator[Cause]:
        stage, before, now = address.stage, self.before.identity, self._now.identity
        metric = self._metric(address)
        for one in {id(part): part for part in (metric, bound) if part is not None}.values():
            yield from self._changed_part(one.ref)
        if stage is Stage.GENERATE:
            yield from self._changed_prompt()
            if before.seeds[: now.num_samples] != now.seeds[: before.num_samples]:
                yield from _told(
                    "seeds_changed", field_differences("seeds", before.seeds, now.seeds)
                )
        if stage is Stage.SELECT:
            yield from self._changed_judges()
        if stage is Stage.JUDGE:
            yield from _told("settings_changed", self._changed_settings(address))
        if stage in (Stage.PARSE, Stage.SCORE, Stage.JUDGE):
            yield from self._changed_subjects()
        if stage is Stage.SCORE and metric is not None:
            yield from self._changed_reading(metric.ref)

    def _changed_part(self, ref: ComponentRef) -> Iterator[Cause]:
        known = _named(self.before, ref)
        if known is None:
            yield Cause("component_new", f"{ref.role} '{ref.name}' is new")
        elif component_digest(known) != component_digest(ref):
            found = component_differences(self.before, self._now, known, ref)
            pairing = f"{ref.role}:{ref.name}.parser"
            yield from _told("component_changed", (one for one in found if one.field != pairing))

    def _changed_prompt(self) -> Iterator[Cause]:
        if prompt_digest(self.before.identity.prompt_spec) != self._run.prompt:
            yield from _told("prompt_changed", prompt_differences(self.before, self._now))

    def _changed_judges(self) -> Iterator[Cause]:
        before, now = self.before.identity.judges, self._now.identity.judges
        if [component_digest(one) for one in before] != [component_digest(one) for one in now]:
            sides = [[one.name for one in side] for side in (before, now)]
            yield from _told("component_changed", field_differences("judges", *sides))
            for ref in now:
                yield from self._changed_part(ref)

    def _changed_settings(self, address: StepAddress) -> Iterator[Difference]:
        """Yield what changed in the judging; a call sees the overrides of its own metric only."""
        own = f"workflow_overrides.{address.component}"
        for one in judging_differences(self.before, self._now):
            others = one.field.startswith("workflow_overrides") and not one.field.startswith(own)
            if address.call is None or not others:
                yield one

    def _changed_subjects(self) -> Iterator[Cause]:
        """Tell where what is scored is another thing: samples, or what a reducer makes of them."""
        for role in ("reducer", "selector"):
            before, now = (getattr(one.identity, role) for one in (self.before, self._now))
            if (before is None) is not (now is None):
                what = "is new" if before is None else "was taken out"
                yield Cause(
                    "component_new" if before is None else "component_changed", f"the {role} {what}"
                )

    def _changed_reading(self, ref: ComponentRef) -> Iterator[Cause]:
        known = _named(self.before, ref)
        if known is not None and known.parser != ref.parser:
            found = field_differences(f"metric:{ref.name}.parser", known.parser, ref.parser)
            yield from _told("component_changed", found)

    def _dataset(self, address: StepAddress, dataset_id: str) -> Causes:
        """Return what changed in the dataset's own metadata, which metrics are shown."""
        if address.stage not in (Stage.SCORE, Stage.JUDGE) or address.call is not None:
            return ()
        if dataset_id not in self._of_datasets:
            _, ref = self._matched[dataset_id]
            now = next(one for one in self._now.identity.datasets if one.dataset_id == dataset_id)
            found = field_differences(f"dataset:{dataset_id}.metadata", ref.metadata, now.metadata)
            self._of_datasets[dataset_id] = tuple(_told("dataset_changed", found))
        return self._of_datasets[dataset_id]

    def _read(self, indices: Sequence[int]) -> Iterator[CaseSteps]:
        """Read what became of some cases in the kept run, near ones together."""
        wanted = set(indices)
        start = 0
        for end in range(1, len(indices) + 1):
            if end < len(indices) and indices[end] - indices[end - 1] <= _NEAR:
                continue
            for steps in read_steps(
                self._store, self.before.run_id, indices[start], indices[end - 1] + 1
            ):
                if steps.index in wanted:
                    yield steps
            start = end

    def _became(self, address: StepAddress, steps: CaseSteps | None) -> Causes:
        """Return what became of a step in the kept run, all of its inputs being what they were."""
        event = None if steps is None else steps.newest.get(address)
        if event is None:
            return (Cause("never_finished", f"run {self.before.run_id} did not come to it"),)
        if event.kind is EventKind.STEP_FAILED:
            return (failed_before(event.data["failure"]["category"]),)
        return (Cause("input_changed", "what it is given came out otherwise"),)


class _Place(NamedTuple):
    """Where a case stood in a kept run."""

    case_index: int
    changed: frozenset[str]
    """Parts of it that are not what they were."""


def _offsets(snapshot: RunSnapshot) -> dict[str, int]:
    """Return the position in the run of each dataset's first case."""
    found: dict[str, int] = {}
    offset = 0
    for ref in snapshot.identity.datasets:
        found[ref.dataset_id] = offset
        offset += ref.n_cases
    return found


def failed_before(category: str) -> Cause:
    """Return the reason of a step that failed and is tried again."""
    return Cause("failed_before", f"failed before ({category}), and is tried again")


def _told(code: str, differences: Iterable[Difference]) -> Iterator[Cause]:
    for one in differences:
        yield Cause(code, one.text())


def _named(snapshot: RunSnapshot, ref: ComponentRef) -> ComponentRef | None:
    """Return the kept run's part of the same role and, where there may be several, name."""
    identity = snapshot.identity
    single: Mapping[str, ComponentRef | None] = {
        "generator": identity.generator,
        "selector": identity.selector,
        "reducer": identity.reducer,
    }
    if ref.role in single:
        return single[ref.role]
    return snapshot.component_refs.get(f"{ref.role}:{ref.name}")
