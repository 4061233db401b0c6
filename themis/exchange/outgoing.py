"""Exporting a run as a bundle: its snapshot, its cases, and the newest state of each step.

Events of superseded attempts are left out. A bundle of a stage has the run up to that stage,
failures included, and the store that imports it can continue from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from themis.core.errors import DefinitionError
from themis.core.events import Event, EventKind, Stage
from themis.core.pipeline import Pipeline
from themis.core.results import CorpusValue, RunStatus
from themis.core.snapshot import RunSnapshot
from themis.core.store import RunStore
from themis.exchange.bundle import Bundle
from themis.exchange.records import LAST_STAGE, BundleKind
from themis.execution.corpus_values import loaded
from themis.planning.provenance import collect
from themis.views.attempts import as_of
from themis.views.cases import run_cases
from themis.views.headline import corpus_kept
from themis.views.scores import ScoresFold
from themis.views.state import RUN_KINDS, RunHead
from themis.views.steps import PAGE, CaseSteps, read_steps


def export(store: RunStore, run_id: str, kind: BundleKind) -> Bundle:
    """Return a bundle of a run, or of the run as of an attempt, named ``RUN@n``.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    store, run = as_of(store, run_id)
    snapshot = store.load_snapshot(run)
    head, started, last = RunHead(), None, None
    for event in store.events(snapshot.run_id, kinds=RUN_KINDS):
        head.add(event)
        last = event
        if event.kind is EventKind.RUN_STARTED:
            started = event
    if started is None or last is None:
        raise DefinitionError(
            f"run {run_id} has not begun, so there is nothing to export", field="run_id"
        )
    kept: dict[str, CorpusValue] = {}
    if LAST_STAGE[kind].order >= Stage.SCORE.order:
        kept = corpus_kept(store, snapshot.run_id, last)
    remade = loaded(snapshot).keys() if kept else ()
    leaving = _Leaving(
        store, snapshot, kind, {name: one for name, one in kept.items() if name not in remade}
    )
    manifest: dict[str, Any] = {
        "kind": kind,
        "themis": collect(environment={}, code={}).themis,
        "run_id": snapshot.run_id,
        "snapshot": snapshot.model_dump(mode="json"),
    }
    provenance = started.data.get("provenance") or {}

    def records() -> Iterator[dict[str, Any]]:
        yield from leaving.records()
        status, through = leaving.ended(head)
        manifest.update(
            status=status.value,
            through=through,
            provenance=provenance,
            notes=head.notes,
            counts=dict(sorted(leaving.counts.items())),
        )
        if leaving.corpus:
            manifest["corpus"] = leaving.corpus_told()

    return Bundle.of(manifest, records())


class _Leaving:
    """The export of one run, up to the bundle's stage.

    Args:
        store: the store of the run.
        snapshot: the run.
        kind: kind of the bundle.
        corpus: by metric, the corpus-level values that were stored when the run ended.
    """

    def __init__(
        self,
        store: RunStore,
        snapshot: RunSnapshot,
        kind: BundleKind,
        corpus: Mapping[str, CorpusValue],
    ) -> None:
        self.corpus = corpus
        self._scores = ScoresFold(snapshot, corpus) if corpus else None
        self._store = store
        self._snapshot = snapshot
        self._last = LAST_STAGE[kind]
        self._pipeline = Pipeline(snapshot.identity)
        self._ended = 0
        self._broken = 0
        self._generated = False
        self._through = Stage.JUDGE
        self.counts: Counter[str] = Counter({"cases": 0, "steps": 0})

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records, page by page: cases, then their steps."""
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
                if self._scores is not None:
                    self._scores.add(steps)
                yield from self._case(steps, names.get(steps.index, ""))

    def corpus_told(self) -> dict[str, Any]:
        """Return the corpus-level values, each with the digest of its statistics."""
        made_of = {} if self._scores is None else self._scores.statistics
        return {
            name: {"value": one.plain(), "statistics": made_of[name].digest()}
            for name, one in self.corpus.items()
        }

    def ended(self, head: RunHead) -> tuple[RunStatus, str | None]:
        """Return the status of the bundle's run, and the last stage that it completed."""
        if self._last is Stage.JUDGE:
            is_open = head.status in (RunStatus.RUNNING, RunStatus.PENDING)
            return (RunStatus.INTERRUPTED if is_open else head.status), head.through
        if self._ended < self._snapshot.n_cases:
            return RunStatus.INTERRUPTED, None
        if not self._generated:
            return RunStatus.FAILED, self._through.value
        status = RunStatus.PARTIAL_FAILURE if self._broken else RunStatus.COMPLETED
        return status, self._through.value

    def _case(self, steps: CaseSteps, case_id: str) -> Iterator[dict[str, Any]]:
        outages = 0
        # A failure upstream blocks only later events, so the order of events must be kept.
        for event in sorted(steps.newest.values(), key=lambda event: event.seq):
            if event.address is not None and self._pipeline.is_within(event.address, self._last):
                self.counts["steps"] += 1
                outages += _is_outage(event)
                yield _step(event, case_id)
        finished = steps.finished
        if finished is None:
            return
        data = finished.data
        if Stage(data["through"]).order > self._last.order:
            data = {**data, "through": self._last.value, "outages": outages}
        self._ended += 1
        self._broken += bool(data["outages"])
        self._generated = self._generated or bool(data["generated"])
        self._through = min(self._through, Stage(data["through"]), key=lambda stage: stage.order)
        yield _finished(steps.index, case_id, finished.at, data)


def _is_outage(event: Event) -> bool:
    """Return whether a step failed by an outage, as a case's end counts them."""
    if event.kind is not EventKind.STEP_FAILED or event.address is None:
        return False
    return event.address.call is None and "settled" not in event.data


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
