"""From a store into a bundle: a run's snapshot, its cases, and the newest state of each step.

Superseded attempts stay behind: a bundle is what a run came to, not how it got there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from themis.core.errors import DefinitionError
from themis.core.events import Event, EventKind, Stage
from themis.core.protocols import RunStore
from themis.core.results import RunStatus
from themis.core.snapshot import RunSnapshot
from themis.exchange.bundle import Bundle, BundleKind
from themis.planning.provenance import collect
from themis.views.attempts import as_of
from themis.views.cases import run_cases
from themis.views.state import RUN_KINDS, RunHead
from themis.views.steps import PAGE, CaseSteps, read_steps


def export(store: RunStore, run_id: str, kind: BundleKind) -> Bundle:
    """Return a bundle of a run, or of the run as of an attempt, named ``RUN@n``.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    store, run = as_of(store, run_id)
    snapshot = store.load_snapshot(run)
    head, started = RunHead(), None
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        head.take(event)
        if event.kind is EventKind.RUN_STARTED:
            started = event
    if started is None:
        raise DefinitionError(
            f"run {run_id} has not begun, so there is nothing to export", field="run_id"
        )
    leaving = _Leaving(store, snapshot, kind)
    records = list(leaving.records())
    status, through = leaving.ended(head)
    manifest = {
        "kind": kind,
        "themis": collect(environment={}, code={}).themis,
        "run_id": snapshot.run_id,
        "snapshot": snapshot.model_dump(mode="json"),
        "status": status.value,
        "through": through,
        "provenance": started.data.get("provenance") or {},
        "notes": head.notes if kind == "evaluation" else [],
        "counts": dict(sorted(leaving.counts.items())),
    }
    return Bundle.of(manifest, records)


class _Leaving:
    """A run on its way out."""

    def __init__(self, store: RunStore, snapshot: RunSnapshot, kind: BundleKind) -> None:
        self._store = store
        self._snapshot = snapshot
        self._kind = kind
        self._ended = 0
        self._whole = 0
        self.counts: Counter[str] = Counter({"cases": 0, "steps": 0})

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records: page by page the cases, then what was done of them."""
        for lower in range(0, self._snapshot.n_cases, PAGE):
            upper = min(lower + PAGE, self._snapshot.n_cases)
            names: dict[int, str] = {}
            for case in run_cases(self._store, self._snapshot, lower, upper):
                names[case.position] = case.case_id
                self.counts["cases"] += 1
                yield {
                    "record": "case",
                    "index": case.position,
                    "dataset_id": case.dataset_id,
                    **case.case.model_dump(mode="json"),
                }
            for steps in read_steps(self._store, self._snapshot.run_id, lower, upper):
                yield from self._case(steps, names.get(steps.index, ""))

    def ended(self, head: RunHead) -> tuple[RunStatus, str | None]:
        """Return the status that the bundle's run has, and the stage it went through."""
        if self._kind == "evaluation":
            is_open = head.status in (RunStatus.RUNNING, RunStatus.PENDING)
            return (RunStatus.INTERRUPTED if is_open else head.status), head.through
        if self._whole == self._snapshot.n_cases:
            return RunStatus.COMPLETED, Stage.GENERATE.value
        all_ended = self._ended == self._snapshot.n_cases
        status = RunStatus.PARTIAL_FAILURE if all_ended else RunStatus.INTERRUPTED
        return status, Stage.GENERATE.value

    def _case(self, steps: CaseSteps, case_id: str) -> Iterator[dict[str, Any]]:
        self._ended += steps.finished is not None
        # A failure upstream blocks only what came after it, so the order of events is kept.
        for event in sorted(steps.newest.values(), key=lambda event: event.seq):
            if self._leaves(event):
                self.counts["steps"] += 1
                yield _step(event, case_id)
        finished = steps.finished
        if self._kind == "evaluation":
            if finished is not None:
                yield _finished(steps.index, case_id, finished.at, finished.data)
            return
        samples = range(self._snapshot.identity.num_samples)
        made = [one for sample in samples if (one := steps.generated(sample)) is not None]
        if len(made) == len(samples) and all(one.artifact is not None for one in made):
            self._whole += 1
            data = {"through": Stage.GENERATE.value, "outages": 0, "generated": len(made)}
            yield _finished(steps.index, case_id, max(one.at for one in made), data)

    def _leaves(self, event: Event) -> bool:
        if self._kind == "evaluation":
            return True
        address = event.address
        is_generation = address is not None and address.stage is Stage.GENERATE
        return is_generation and event.artifact is not None


def _step(event: Event, case_id: str) -> dict[str, Any]:
    assert event.address is not None
    record: dict[str, Any] = {
        "record": "step",
        "index": event.case_index,
        "case_id": case_id,
        "stage": event.address.stage.value,
        "sample": event.address.sample,
        "component": event.address.component,
        "call": event.address.call,
        "candidate_id": event.candidate_id,
        "key": event.key,
        "at": event.at,
        "reused": event.reused,
        "data": event.data,
    }
    made = event.artifact
    if made is not None:
        record |= {"payload": made.payload, "made_at": made.at, "code": made.code}
    return record


def _finished(index: int, case_id: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
    return {"record": "finished", "index": index, "case_id": case_id, "at": at, "data": data}
