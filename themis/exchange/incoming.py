"""Importing a bundle: it is checked as a whole, then written as a new attempt of its run.

Steps that the store's run has already are left unchanged, so that a bundle may be imported twice. A
bundle that contradicts the store is refused as a whole.
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
from themis.core.results import CorpusValue, RunStatus
from themis.core.snapshot import RunSnapshot
from themis.core.store import Lease, RunStore, StoredCase
from themis.exchange.bundle import Bundle
from themis.exchange.records import (
    LAST_STAGE,
    BundleCheck,
    BundleKind,
    address_of,
    artifact_of,
    case_of,
    finished_event,
    step_event,
)
from themis.execution.corpus_values import corpus_values, loaded
from themis.execution.lease import acquire, held
from themis.planning.datasets import stored_case
from themis.planning.keys import CaseDigests
from themis.views.headline import fold_journal, keep, keep_corpus
from themis.views.state import run_head
from themis.views.statistics import CaseStatistics
from themis.views.steps import PAGE, CaseSteps, read_steps

_EVENTS, _BYTES = 512, 1 << 20
"""The most events, and bytes of artifacts, in one append."""


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
    store.initialize()  # after the checks: an invalid bundle creates no store
    _check_same_run(store, snapshot)
    arriving.check_answers()
    store.save_snapshot(snapshot)
    arriving.save_cases()
    if arriving.has_news():
        with held(store, acquire(store, snapshot.run_id)) as heartbeat:
            arriving.append(heartbeat.lease)
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
    """The import of one bundle."""

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
        check = BundleCheck(self._snapshot, self._last_stage)
        for number, record in enumerate(self._bundle.records(), start=2):
            try:
                check.add(record)
            except DefinitionError as error:
                raise self._refusal(f"line {number}: {error}") from error
        try:
            check.end()
        except DefinitionError as error:
            raise self._refusal(str(error)) from error

    def check_answers(self) -> None:
        """Raise if the store has another artifact under a key: scores would silently change."""
        for page in self._pages():
            kept = self._kept_for(page)
            for record in page:
                there = kept.get(record["key"]) if "payload" in record else None
                if there is None or there.code != record["code"]:
                    continue
                if there.raw != encode(record["payload"]):
                    raise self._refusal(
                        f"the store has another {record['stage']} result for case "
                        f"'{record['case_id']}'; import the bundle into another store"
                    )

    def save_cases(self) -> None:
        """Store the bundle's cases, consecutive positions together."""
        places = self._snapshot.identity.placed_datasets()
        first, ref = next(places)
        chunk: list[StoredCase] = []
        start = 0
        for record in self._bundle.records():
            if record["record"] != "case":
                continue
            index = int(record["index"])
            if chunk and (
                index != start + len(chunk) or len(chunk) == PAGE or index >= first + ref.n_cases
            ):
                self._store.save_cases(ref.fingerprint, start - first, chunk)
                chunk = []
            while index >= first + ref.n_cases:
                first, ref = next(places)
            if not chunk:
                start = index
            case = case_of(record)
            chunk.append(stored_case(case, CaseDigests(case)))
        if chunk:
            self._store.save_cases(ref.fingerprint, start - first, chunk)

    def has_news(self) -> bool:
        """Return whether the bundle has a step that the run lacks, or an import was interrupted."""
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
        """Append the bundle's steps as a new attempt."""
        attempt, seq = self._last()
        attempt += 1
        for batch in self._batches(attempt):
            for event in batch:
                seq += 1
                event.seq = seq
            self._store.append(self._snapshot.run_id, batch, epoch=lease.epoch)

    def _batches(self, attempt: int) -> Iterator[list[Event]]:
        manifest = self._bundle.manifest
        started = {
            "mode": "import",
            "until": manifest["through"] or self._last_stage.value,
            "redo": [],
            "metric_ids": None,
            "n_cases": self._snapshot.n_cases,
            "provenance": manifest["provenance"],
            "bundle": manifest["body_sha256"],
        }
        yield [_said(EventKind.RUN_STARTED, attempt, started)]
        for page in self._pages():
            yield from self._events(page, attempt)
        ended = {"status": manifest["status"], "through": manifest["through"]}
        last = [
            *(_said(EventKind.NOTE, attempt, {"text": text}) for text in manifest["notes"]),
            _said(EventKind.RUN_FINISHED, attempt, ended),
        ]
        with suppress(Exception):  # an error shows when the run is read
            fold = fold_journal(self._store, self._snapshot)
            for event in last:
                fold.take_event(event)
            keep(last[-1], fold.headline())
            made = corpus_values(loaded(self._snapshot), fold.statistics())
            keep_corpus(last[-1], {**self._corpus(fold.statistics()), **made})
        yield last

    def _corpus(self, statistics: Mapping[str, CaseStatistics]) -> dict[str, CorpusValue]:
        """Return the bundle's corpus-level values whose statistics equal the store's."""
        return {
            name: CorpusValue.read(told["value"])
            for name, told in self._bundle.manifest.get("corpus", {}).items()
            if name in statistics and statistics[name].digest() == told["statistics"]
        }

    def _events(self, page: list[dict[str, Any]], attempt: int) -> Iterator[list[Event]]:
        """Yield the events that a page adds, in batches for one append each."""
        standing = self._standing(page)
        brought: dict[str, bytes] = {key: one.raw for key, one in self._kept_for(page).items()}
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

    def _kept_for(self, page: list[dict[str, Any]]) -> Mapping[ArtifactKey, Artifact]:
        """Return what the store has under the keys of a page."""
        return self._store.lookup({record["key"] for record in page if "payload" in record})

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the records of steps and case ends, in the pages in which they were exported."""
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
    # After an interrupted attempt, cases of one run may refer to two versions of one key.
    made.supersedes = brought.setdefault(made.key, made.raw) != made.raw
    brought[made.key] = made.raw
    return made


def _is_there(record: dict[str, Any], standing: CaseSteps | None) -> bool:
    """Return whether a record need not be imported, since the store's run has its step.

    A result is there if the store has it under the same key. A failure is there if the store has
    any event of the step: it never replaces a result.
    """
    known = None if standing is None else standing.newest.get(address_of(record))
    if known is None:
        return False
    return "payload" not in record or (known.artifact is not None and known.key == record["key"])


def _farther(data: dict[str, Any], standing: CaseSteps | None) -> dict[str, Any]:
    """Return the bundle's or the store's end of a case, whichever is of a later stage."""
    known = None if standing is None else standing.finished
    if known is None or known.data.get("outages"):
        return data
    went, comes = Stage(known.data["through"]), Stage(data["through"])
    return known.data if went.order >= comes.order else data


def _said(kind: EventKind, attempt: int, data: dict[str, Any]) -> Event:
    return Event(kind=kind, attempt=attempt, at=time.time(), data=data)
