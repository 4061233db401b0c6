"""Why a step cannot be reused: which input of its key differs from that in another run.

Only what enters a step's key is a reason for it: a changed gold answer is none for a generator that
does not read it. ``planning.keys`` names the parts of a key; this module compares each part between
two runs. Where all parts are equal, the other run's journal says what happened to the step there.
Nothing here decides whether a step runs; that is done by its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from themis.core.events import EventKind, Stage, StepAddress
from themis.core.models import Case
from themis.core.run_plan import Difference
from themis.core.snapshot import ComponentRef, RunSnapshot
from themis.core.store import RunStore
from themis.planning.compare.case_index import KeptCases
from themis.planning.compare.closest_run import matched_datasets
from themis.planning.compare.fields import (
    component_differences,
    counterpart,
    equal_seeds,
    field_differences,
    judging_differences,
    prompt_differences,
)
from themis.planning.compiled_run import BoundComponent, CompiledRun
from themis.planning.keys import component_digest, key_kind, prompt_digest
from themis.views.steps import CaseSteps, read_steps

_NEAR = 16
"""The greatest distance between two cases that are read in one pass, with those between them."""
_OF_METRICS = (Stage.SCORE, Stage.JUDGE)


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
    bound: BoundComponent
    dataset_id: str
    case: Case


class RunComparison:
    """Compares what is asked now with a kept run.

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
        self._datasets = {
            ref.dataset_id: (first, ref) for first, ref in self._now.identity.placed_datasets()
        }
        self._kept: dict[str, KeptCases] = {}
        self._metrics = {one.name: one for one in run.metrics}
        self._of_parts: dict[
            tuple[Stage, str | None, str, bool], tuple[Collection[str], Causes]
        ] = {}
        self._of_datasets: dict[str, Causes] = {}

    def causes(self, steps: Sequence[tuple[int, Looked]]) -> Iterator[Causes]:
        """Yield for each step why the store has no result to reuse.

        Args:
            steps: each with the position of its case in the run.
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
        """Return the case's place in the kept run and what of it changed; None if it had none."""
        match = self._matched.get(looked.dataset_id)
        if match is None:
            return None
        offset, ref = match
        first, now = self._datasets[looked.dataset_id]
        if ref.fingerprint == now.fingerprint:
            return _Place(offset + index - first, frozenset())
        if looked.dataset_id not in self._kept:
            self._kept[looked.dataset_id] = KeptCases(self._store, ref)
        found = self._kept[looked.dataset_id].find(looked.case)
        return None if found is None else _Place(offset + found[0], found[1])

    def _changes(self, looked: Looked, place: _Place | None) -> Causes:
        """Return which inputs of a step's key changed."""
        address, bound = looked.address, looked.bound
        if place is None:
            return self._unmatched(looked.dataset_id)
        samples = self.before.identity.num_samples
        if address.stage is Stage.GENERATE and (address.sample or 0) >= samples:
            last = self._now.identity.num_samples - 1
            which = f"index {last} is" if last == samples else f"indices {samples} to {last} are"
            return (Cause("new_sample", f"sample {which} new"),)
        names, found = self._parts(address, bound)
        if "dataset" in names:
            found += self._dataset(looked.dataset_id)
        if place.changed:
            reads = (self._metric(address) or bound).reads
            found += tuple(
                Cause("case_changed", f"the case's {part} changed")
                for part in sorted(reads & place.changed)
            )
        return found

    def _unmatched(self, dataset_id: str) -> Causes:
        if dataset_id not in self._matched:
            return (Cause("new_dataset", f"dataset '{dataset_id}' is new"),)
        if self._kept[dataset_id].whole:
            return NEW_CASE
        return (Cause("new_case", "cases that the run compared with has not, or did not come to"),)

    def _metric(self, address: StepAddress) -> BoundComponent | None:
        return self._metrics.get(address.component or "") if address.stage in _OF_METRICS else None

    def _parts(self, address: StepAddress, bound: BoundComponent) -> tuple[Collection[str], Causes]:
        """Return the names of the parts of a step's key, and what changed in those of the run."""
        which = (address.stage, address.component, bound.name, address.call is not None)
        if which not in self._of_parts:
            metric = self._metric(address)
            folds = metric is not None and metric.name in self._run.pipeline.folded
            names = key_kind(address, folds=folds).parts
            asked = _Asked(address, bound, metric)
            changed = [cause for name in names for cause in self._changed(name, asked)]
            self._of_parts[which] = (names, tuple(changed))
        return self._of_parts[which]

    def _changed(self, part: str, asked: _Asked) -> Iterator[Cause]:
        """Yield what of the run changed in a part of a key, by the part's name.

        The case and the dataset differ from step to step and are compared elsewhere; parts without
        a branch here are results of earlier steps.
        """
        match part:
            case "generator" | "selector" | "reducer" | "parser" | "metric" | "judge":
                yield from self._changed_component(asked.bound.ref)
            case "prompt":
                yield from self._changed_prompt()
            case "draw":
                yield from self._changed_seeds()
            case "judges":
                yield from self._changed_judges()
            case "workflow":
                yield from self._changed_settings(asked.address)
            case "candidate" | "scores":
                yield from self._changed_candidate()
            case "parsed" if asked.metric is not None:
                yield from self._changed_candidate()
                yield from self._changed_parser(asked.metric.ref)
            case "question" if asked.metric is not None:  # which its metric makes of these
                yield from self._changed_component(asked.metric.ref)
                yield from self._changed_settings(asked.address)
                yield from self._changed_candidate()

    def _changed_component(self, ref: ComponentRef) -> Iterator[Cause]:
        known = counterpart(self.before.identity, ref)
        if known is None:
            yield Cause("component_new", f"{ref.role} '{ref.name}' is new")
        elif component_digest(known) != component_digest(ref):
            found = component_differences(self.before, self._now, known, ref)
            pairing = f"{ref.role}:{ref.name}.parser"
            yield from _told("component_changed", (one for one in found if one.field != pairing))

    def _changed_prompt(self) -> Iterator[Cause]:
        if prompt_digest(self.before.identity.prompt_spec) != self._run.prompt:
            yield from _told("prompt_changed", prompt_differences(self.before, self._now))

    def _changed_seeds(self) -> Iterator[Cause]:
        before, now = self.before.identity, self._now.identity
        if not equal_seeds(before, now):
            yield from _told("seeds_changed", field_differences("seeds", before.seeds, now.seeds))

    def _changed_judges(self) -> Iterator[Cause]:
        before, now = self.before.identity.judges, self._now.identity.judges
        if [component_digest(one) for one in before] != [component_digest(one) for one in now]:
            sides = [[one.name for one in side] for side in (before, now)]
            yield from _told("component_changed", field_differences("judges", *sides))
            for ref in now:
                yield from self._changed_component(ref)

    def _changed_settings(self, address: StepAddress) -> Iterator[Cause]:
        """Yield what changed in judging; a call depends on its own metric's overrides only."""
        own = f"workflow_overrides.{address.component}"
        found = (
            one
            for one in judging_differences(self.before, self._now)
            if address.call is None
            or not one.field.startswith("workflow_overrides")
            or one.field.startswith(own)
        )
        yield from _told("settings_changed", found)

    def _changed_candidate(self) -> Iterator[Cause]:
        """Yield whether candidates were samples and are now reduced or selected, or the reverse."""
        for role in ("reducer", "selector"):
            before, now = (getattr(one.identity, role) for one in (self.before, self._now))
            if (before is None) is not (now is None):
                what = "is new" if before is None else "was taken out"
                yield Cause(
                    "component_new" if before is None else "component_changed", f"the {role} {what}"
                )

    def _changed_parser(self, ref: ComponentRef) -> Iterator[Cause]:
        """Yield whether another parser now reads the value that a metric scores."""
        known = counterpart(self.before.identity, ref)
        if known is not None and known.parser != ref.parser:
            found = field_differences(f"metric:{ref.name}.parser", known.parser, ref.parser)
            yield from _told("component_changed", found)

    def _dataset(self, dataset_id: str) -> Causes:
        """Return what changed in the dataset's own metadata, which metrics are shown."""
        if dataset_id not in self._of_datasets:
            _, ref = self._matched[dataset_id]
            _, now = self._datasets[dataset_id]
            found = field_differences(f"dataset:{dataset_id}.metadata", ref.metadata, now.metadata)
            self._of_datasets[dataset_id] = tuple(_told("dataset_changed", found))
        return self._of_datasets[dataset_id]

    def _read(self, indices: Sequence[int]) -> Iterator[CaseSteps]:
        """Yield the kept run's steps of some cases, reading cases near each other in one pass."""
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
        """Return what happened in the kept run to a step whose inputs are all unchanged."""
        event = None if steps is None else steps.newest.get(address)
        if event is None:
            return (Cause("never_finished", f"run {self.before.run_id} did not come to it"),)
        if event.kind is EventKind.STEP_FAILED:
            return (failed_before(event.data["failure"]["category"]),)
        return (Cause("input_changed", "what it is given came out otherwise"),)


class _Asked(NamedTuple):
    """A kind of step whose key is explained."""

    address: StepAddress
    bound: BoundComponent
    metric: BoundComponent | None
    """The metric that the step belongs to, if any."""


class _Place(NamedTuple):
    """Where a case stood in a kept run."""

    case_index: int
    changed: frozenset[str]
    """Parts of the case that changed."""


def failed_before(category: str) -> Cause:
    """Return the reason of a step that failed and is tried again."""
    return Cause("failed_before", f"failed before ({category}), and is tried again")


def _told(code: str, differences: Iterable[Difference]) -> Iterator[Cause]:
    for one in differences:
        yield Cause(code, one.text())
