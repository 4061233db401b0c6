"""The cases of a run, read once more, checked against what compile saw, and made ready in chunks.

A chunk costs one visit to the store: its cases are kept, what this run has of them is read, and the
keys of their generations are looked up together. Cases that are done are passed over unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from themis.core.base import ArtifactKey, CaseKey, RunId, case_key
from themis.core.errors import DefinitionError
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import digest_value
from themis.core.kept import StoredCase
from themis.core.models import Case, Dataset
from themis.core.protocols import RunStore
from themis.execution.engine import Engine
from themis.execution.flight import CaseRun
from themis.planning.datasets import stored_case
from themis.planning.keys import CaseDigests, generate_key
from themis.planning.seeds import sample_seed
from themis.planning.work import Manifest

_FIRST_CHUNK = 16
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class _Source:
    """A dataset's place in the run."""

    dataset: Dataset
    manifest: Manifest
    offset: int
    digest: bytes
    metadata: Mapping[str, Any]


class CaseFeed:
    """Reads the run's cases and hands them out ready to be walked."""

    case_type: type[CaseRun] = CaseRun
    keeps_cases = True
    """Whether the store is to have the cases that are read."""

    def __init__(
        self,
        engine: Engine,
        store: RunStore,
        *,
        done: bytearray,
        has_history: bool,
        stale: bool = False,
    ) -> None:
        self._engine = engine
        self._store = store
        self._done = done
        self._has_history = has_history
        self._stale = stale
        self._ready: asyncio.Queue[CaseRun | None] = asyncio.Queue(maxsize=2 * _CHUNK)
        self._closed = False

    async def fill(self) -> None:
        """Read all cases, chunk by chunk, as fast as they are taken; then say that that was all."""
        size = _FIRST_CHUNK
        try:
            for source in self._sources():
                cases = enumerate(source.dataset)
                read = 0
                while not self._engine.stopping:
                    chunk = list(islice(cases, size))
                    if not chunk:
                        break
                    size = min(2 * size, _CHUNK)
                    read += len(chunk)
                    for case in await self._prepare(source, chunk):
                        if self._ready.full():
                            await self._ready.put(case)
                        else:
                            self._ready.put_nowait(case)
                if not self._engine.stopping and read != source.manifest.n_cases:
                    raise _changed(
                        source, f"it has {read} cases now and had {source.manifest.n_cases}"
                    )
        except asyncio.CancelledError:  # who still takes from the queue finds it closed
            self._closed = True
            with suppress(asyncio.QueueFull):  # and who waits at an empty one is let go
                self._ready.put_nowait(None)
            raise
        except BaseException:
            self._engine.stop()  # what is queued is not begun: the error is to be heard soon
            await self._ready.put(None)
            raise
        await self._ready.put(None)

    async def __aiter__(self) -> AsyncIterator[CaseRun]:
        """Yield ready cases; several may iterate at once, and each case goes to one of them."""
        ready = self._ready
        while not self._closed:
            case = await ready.get() if ready.empty() else ready.get_nowait()
            if case is None:
                break
            yield case
        if not self._ready.full():
            self._ready.put_nowait(None)  # for the next one who waits

    def _sources(self) -> Iterator[_Source]:
        offset = 0
        run = self._engine.run
        for dataset, manifest in zip(run.datasets, run.manifests, strict=True):
            digest = digest_value("dataset metadata", dataset.metadata)
            yield _Source(dataset, manifest, offset, digest, dataset.metadata)
            offset += manifest.n_cases

    async def _prepare(self, source: _Source, chunk: list[tuple[int, Case]]) -> list[CaseRun]:
        """Check a chunk against the manifest and make ready its cases that are not done."""
        first = source.offset + chunk[0][0]
        if all(self._done[first : first + len(chunk)]):
            return []
        made: list[CaseRun] = []
        stored: list[StoredCase] = []
        keys: list[ArtifactKey] = []
        for position, case in chunk:
            digests = CaseDigests(case)
            if digests.whole != source.manifest.digest_at(position):
                raise _changed(
                    source, f"case '{case.case_id}' (number {position + 1}) reads differently"
                )
            if self.keeps_cases:
                stored.append(stored_case(case, digests))
            if position < source.manifest.n_cases and self._done[source.offset + position]:
                continue
            one = self._case_run(source, position, case, digests)
            made.append(one)
            keys.extend(one.generate_keys)
        start = chunk[0][0]
        span = (first, first + len(chunk)) if made and self._has_history else None
        found, events = await self._engine.journal.ask(
            lambda: self._visit_store(source, start, stored, keys, span)
        )
        for one in made:
            one.found = found
            one.changed = one.distrusted = self._stale
            recall(one, events.get(one.index, ()))
        return made

    def _visit_store(
        self,
        source: _Source,
        start: int,
        stored: Sequence[StoredCase],
        keys: Sequence[ArtifactKey],
        span: tuple[int, int] | None,
    ) -> tuple[Mapping[ArtifactKey, Artifact], dict[int, list[Event]]]:
        """Runs in the journal's thread."""
        if stored:
            self._store.save_cases(source.manifest.fingerprint, start, stored)
        found = self._store.lookup(keys) if keys else {}
        events: dict[int, list[Event]] = {}
        if span is not None:
            for event in self._store.case_events(self._run_id, *span):
                if event.case_index is not None:
                    events.setdefault(event.case_index, []).append(event)
        return found, events

    @property
    def _run_id(self) -> RunId:
        return self._engine.run.run_id

    def _case_run(
        self, source: _Source, position: int, case: Case, digests: CaseDigests
    ) -> CaseRun:
        run = self._engine.run
        identity = run.snapshot.identity
        read = digests.read_by(run.generator.reads)
        key: CaseKey = case_key(source.dataset.dataset_id, case.case_id)
        seeds = [
            sample_seed(identity.seeds, case.case_id, sample)
            for sample in range(identity.num_samples)
        ]
        return self.case_type(
            self._engine,
            case,
            index=source.offset + position,
            dataset_id=source.dataset.dataset_id,
            dataset_metadata=source.metadata,
            dataset_digest=source.digest,
            case_key=key,
            digests=digests,
            generate_keys=[
                generate_key(run.generator.digest, run.prompt, read, sample, seed)
                for sample, seed in enumerate(seeds)
            ],
            seeds=seeds,
        )


def _changed(source: _Source, what: str) -> DefinitionError:
    name = source.dataset.dataset_id
    return DefinitionError(
        f"dataset '{name}' changed since it was compiled: {what}; compile and run it anew",
        field="datasets",
        value=name,
    )


def recall(case: CaseRun, events: Sequence[Event]) -> None:
    """Tell a case what this run has of it already: the newest event of each step."""
    for event in events:
        if event.kind is EventKind.CASE_FINISHED:
            case.said_finished = event
        elif event.address is not None:
            case.prior[event.address] = event
