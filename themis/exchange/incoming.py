"""From a bundle into a store: all of it is checked first, then it becomes an attempt at its run.

What the store has of the run already is left as it is, so that a bundle may come twice. A bundle
that contradicts what stands there is refused whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

from themis.core.base import ArtifactKey, RunId
from themis.core.errors import DefinitionError, RunNotFoundError
from themis.core.events import Artifact, Event, EventKind, Stage
from themis.core.hashing import encode
from themis.core.kept import Lease, StoredCase
from themis.core.protocols import RunStore
from themis.core.results import CorpusValue, RunStatus
from themis.core.snapshot import RunSnapshot
from themis.exchange.bundle import Bundle
from themis.exchange.records import (
    LAST_STAGE,
    BundleKind,
    Reading,
    address_of,
    artifact_of,
    case_of,
    finished_event,
    spans,
    step_event,
)
from themis.execution.corpus import corpus_values, loaded
from themis.execution.ownership import TTL, give_back, take
from themis.planning.datasets import stored_case
from themis.planning.keys import CaseDigests
from themis.views.headline import fold_journal, keep, keep_corpus
from themis.views.state import run_head
from themis.views.statistics import CaseStatistics
from themis.views.steps import PAGE, CaseSteps, read_steps

_EVENTS, _BYTES = 512, 1 << 20
"""What is appended at once, at most: events, and bytes of what they bring."""


def bring_in(store: RunStore, bundle: Bundle, kind: BundleKind) -> RunId:
    """Write a bundle's run into a store and return its id.

    Raises:
        DefinitionError: the bundle is of another kind, was changed, or contradicts the store.
        RunOwnedError: a process is working on the run.
    """
    if bundle.kind != kind:
        raise DefinitionError(
            f"{bundle.title} is of kind '{bundle.kind}', not '{kind}'", field="bundle"
        )
    snapshot = RunSnapshot.read(bundle.manifest.get("snapshot"), "bundle.snapshot")
    arriving = _Arriving(store, bundle, snapshot, kind)
    arriving.check()
    store.initialize()  # a bundle that is no good makes no store
    _check_same_run(store, snapshot)
    arriving.check_answers()
    store.save_snapshot(snapshot)
    arriving.save_cases()
    if arriving.has_news():
        lease = take(store, snapshot.run_id)
        try:
            arriving.append(lease)
        finally:
            give_back(store, lease)
    return snapshot.run_id


def _check_same_run(store: RunStore, snapshot: RunSnapshot) -> None:
    with suppress(RunNotFoundError):
        if store.load_snapshot(snapshot.run_id).identity != snapshot.identity:
            raise DefinitionError(
                f"run {snapshot.run_id} is in the store with another snapshot; "
                "import the bundle into another store",
                field="bundle",
            )


class _Arriving:
    """A bundle on its way into a store."""

    def __init__(
        self, store: RunStore, bundle: Bundle, snapshot: RunSnapshot, kind: BundleKind
    ) -> None:
        self._store = store
        self._bundle = bundle
        self._snapshot = snapshot
        self._last_stage = LAST_STAGE[kind]

    def check(self) -> None:
        """Check the run id, every record, and the cases against the snapshot."""
        if self._snapshot.run_id != self._bundle.run_id:
            raise self._refusal(f"its snapshot is that of run {self._snapshot.run_id}")
        reading = Reading(self._snapshot, self._last_stage)
        for number, record in enumerate(self._bundle.records(), start=2):
            try:
                reading.take(record)
            except DefinitionError as error:
                raise self._refusal(f"line {number}: {error}") from error
        try:
            reading.end()
        except DefinitionError as error:
            raise self._refusal(str(error)) from error

    def check_answers(self) -> None:
        """Refuse where the store has another answer under a key: numbers would change unseen."""
        for page in self._pages():
            self._check_page(page)

    def save_cases(self) -> None:
        """Keep the cases that the bundle has, in runs of neighbouring positions."""
        places = spans(self._snapshot)
        ref, first, beyond = next(places)
        chunk: list[StoredCase] = []
        start = 0
        for record in self._bundle.records():
            if record["record"] != "case":
                continue
            index = int(record["index"])
            if chunk and (index != start + len(chunk) or len(chunk) == PAGE or index >= beyond):
                self._store.save_cases(ref.fingerprint, start - first, chunk)
                chunk = []
            while index >= beyond:
                ref, first, beyond = next(places)
            if not chunk:
                start = index
            case = case_of(record)
            chunk.append(stored_case(case, CaseDigests(case)))
        if chunk:
            self._store.save_cases(ref.fingerprint, start - first, chunk)

    def has_news(self) -> bool:
        """Return whether the bundle has a step that the run has not, or an import was cut off."""
        head = run_head(self._store, self._snapshot.run_id)
        mode = head.attempts.get(head.attempt, {}).get("mode")
        if mode == "import" and head.status is RunStatus.RUNNING:
            return True
        for page in self._pages():
            standing = self._standing(page)
            for record in page:
                steps = standing.get(record["index"])
                if record["record"] == "step" and not _is_there(record, steps):
                    return True
                if record["record"] == "finished" and (steps is None or steps.finished is None):
                    return True
        return False

    def append(self, lease: Lease) -> None:
        """Journal the bundle as a fresh attempt."""
        attempt, seq = self._last()
        attempt += 1
        for batch in self._batches(attempt):
            for event in batch:
                seq += 1
                event.seq = seq
            self._store.append(self._snapshot.run_id, batch, epoch=lease.epoch)
            lease = self._store.renew(lease, TTL)

    def _batches(self, attempt: int) -> Iterator[list[Event]]:
        manifest = self._bundle.manifest
        begun = {
            "mode": "import",
            "until": manifest["through"] or self._last_stage.value,
            "redo": [],
            "metric_ids": None,
            "n_cases": self._snapshot.n_cases,
            "provenance": manifest["provenance"],
            "bundle": manifest["body_sha256"],
        }
        yield [_said(EventKind.RUN_STARTED, attempt, begun)]
        for page in self._pages():
            yield from self._events(page, attempt)
        ended = {"status": manifest["status"], "through": manifest["through"]}
        last = [
            *(_said(EventKind.NOTE, attempt, {"text": text}) for text in manifest["notes"]),
            _said(EventKind.RUN_FINISHED, attempt, ended),
        ]
        with suppress(Exception):  # what cannot be folded is for who looks at the run to hear of
            fold = fold_journal(self._store, self._snapshot)
            for event in last:
                fold.take_event(event)
            keep(last[-1], fold.headline())
            made = corpus_values(loaded(self._snapshot), fold.statistics())
            keep_corpus(last[-1], {**self._corpus(fold.statistics()), **made})
        yield last

    def _corpus(self, statistics: Mapping[str, CaseStatistics]) -> dict[str, CorpusValue]:
        """Return the bundle's corpus-level values that are made of what the store has now."""
        return {
            name: CorpusValue.read(told["value"])
            for name, told in self._bundle.manifest.get("corpus", {}).items()
            if name in statistics and statistics[name].digest() == told["statistics"]
        }

    def _events(self, page: list[dict[str, Any]], attempt: int) -> Iterator[list[Event]]:
        """Yield what a page adds, no more at a time than a store takes lightly."""
        standing, brought = self._standing(page), self._kept_for(page)
        batch: list[Event] = []
        size = 0
        for record in page:
            event = self._event(record, standing.get(record["index"]), attempt, brought)
            if event is None:
                continue
            batch.append(event)
            size += 0 if event.artifact is None else len(event.artifact.raw)
            if len(batch) == _EVENTS or size >= _BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _event(
        self,
        record: dict[str, Any],
        standing: CaseSteps | None,
        attempt: int,
        brought: dict[str, bytes],
    ) -> Event | None:
        if record["record"] == "finished":
            data = _farther(record["data"], standing)
            return finished_event(record, attempt=attempt, data=data)
        if _is_there(record, standing):
            return None
        event = step_event(record, attempt=attempt)
        event.artifact = _artifact(record, brought)
        return event

    def _kept_for(self, page: list[dict[str, Any]]) -> dict[str, bytes]:
        """Return what the store has by now under the keys of a page."""
        keys = {ArtifactKey(record["key"]) for record in page if "payload" in record}
        return {key: artifact.raw for key, artifact in self._store.lookup(keys).items()}

    def _check_page(self, page: list[dict[str, Any]]) -> None:
        steps = [record for record in page if "payload" in record]
        found = self._store.lookup({ArtifactKey(record["key"]) for record in steps})
        for record in steps:
            there = found.get(ArtifactKey(record["key"]))
            if there is None or there.code != record["code"]:
                continue
            if there.raw != encode(record["payload"]):
                raise self._refusal(
                    f"the store has another {record['stage']} result for case "
                    f"'{record['case_id']}'; import the bundle into another store"
                )

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the records of steps and ends, as many cases at a time as were exported at once."""
        work = (record for record in self._bundle.records() if record["record"] != "case")
        for _, page in groupby(work, key=lambda record: int(record["index"]) // PAGE):
            yield list(page)

    def _standing(self, page: list[dict[str, Any]]) -> Mapping[int, CaseSteps]:
        start = page[0]["index"] // PAGE * PAGE
        found = read_steps(self._store, self._snapshot.run_id, start, start + PAGE)
        return {steps.index: steps for steps in found}

    def _last(self) -> tuple[int, int]:
        """Return the number of the run's last attempt and of its last event."""
        attempt = seq = 0
        for event in self._store.events(self._snapshot.run_id):
            attempt, seq = max(attempt, event.attempt), event.seq
        return attempt, seq

    def _refusal(self, message: str) -> DefinitionError:
        return DefinitionError(f"{self._bundle.title}: {message}", field="bundle")


def _artifact(record: dict[str, Any], brought: dict[str, bytes]) -> Artifact | None:
    made = artifact_of(record)
    if made is None:
        return None
    # Where an attempt was cut short, cases of one run refer to two versions of one key.
    made.supersedes = brought.setdefault(made.key, made.raw) != made.raw
    brought[made.key] = made.raw
    return made


def _is_there(record: dict[str, Any], standing: CaseSteps | None) -> bool:
    """Return whether the store's run has a step: a failure says nothing against what stands."""
    known = None if standing is None else standing.newest.get(address_of(record))
    if known is None:
        return False
    return "payload" not in record or (known.artifact is not None and known.key == record["key"])


def _farther(data: dict[str, Any], standing: CaseSteps | None) -> dict[str, Any]:
    """Return which end of a case is the farther one, the bundle's or the store's."""
    known = None if standing is None else standing.finished
    if known is None or known.data.get("outages"):
        return data
    went, comes = Stage(known.data["through"]), Stage(data["through"])
    return known.data if went.order >= comes.order else data


def _said(kind: EventKind, attempt: int, data: dict[str, Any]) -> Event:
    return Event(kind=kind, attempt=attempt, at=time.time(), data=data)
