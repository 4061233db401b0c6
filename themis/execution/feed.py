"""The cases of a run, read once more, checked against what compile saw, and made ready in chunks.

A chunk costs one visit to the store: its cases are kept, what this run has of them is read, and the
keys of their generations are looked up together. Cases that are done are passed over unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from themis.core.base import ArtifactKey, CaseKey, RunId, case_key
from themis.core.errors import DefinitionError
from themis.core.events import Artifact, Event, EventKind
from themis.core.hashing import digest_value
from themis.core.models import Case, Dataset
from themis.core.store import RunStore, StoredCase
from themis.execution.case_run import CaseRun
from themis.execution.session import RunSession
from themis.planning.compiled_run import DatasetManifest
from themis.planning.datasets import stored_case
from themis.planning.keys import CaseDigests, generate_key, sample_seed

_FIRST_CHUNK = 16
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class _Source:
    """A dataset's place in the run."""

    dataset: Dataset
    manifest: DatasetManifest
    offset: int
    digest: bytes
    metadata: Mapping[str, Any]


class CaseReader:
    """Reads the cases of a run that are not done, checked and ready to be walked through.

    Args:
        session: the open run.
        store: where it is kept.
        done: for each case, whether there is nothing left to do.
        has_history: whether the run's journal has events of cases.
        stale: whether some cases were last gone through by other code than today's.
        keeps_cases: whether the store is to have the cases that are read.
    """

    def __init__(
        self,
        session: RunSession,
        store: RunStore,
        *,
        done: bytearray,
        has_history: bool = False,
        stale: bool = False,
        keeps_cases: bool = True,
    ) -> None:
        self._session = session
        self._store = store
        self._done = done
        self._has_history = has_history
        self._stale = stale
        self._keeps_cases = keeps_cases

    async def chunks(self, first: int, most: int) -> AsyncGenerator[list[CaseRun], None]:
        """Yield cases chunk by chunk, until the run is stopping.

        Args:
            first: how many cases are read for the first chunk; each next one is twice as large.
            most: for the largest.

        Raises:
            DefinitionError: the data changed since it was compiled.
            StoreError: the store cannot be asked.
        """
        size = first
        for source in self._sources():
            cases = enumerate(source.dataset)
            read = 0
            while not self._session.stopping:
                chunk = list(islice(cases, size))
                if not chunk:
                    break
                size = min(2 * size, most)
                read += len(chunk)
                yield await self._prepare(source, chunk)
            if not self._session.stopping and read != source.manifest.n_cases:
                raise _changed(source, f"it has {read} cases now and had {source.manifest.n_cases}")

    def _sources(self) -> Iterator[_Source]:
        offset = 0
        run = self._session.run
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
            if self._keeps_cases:
                stored.append(stored_case(case, digests))
            if position < source.manifest.n_cases and self._done[source.offset + position]:
                continue
            one = self._case_run(source, position, case, digests)
            made.append(one)
            keys.extend(one.generate_keys)
        start = chunk[0][0]
        span = (first, first + len(chunk)) if made and self._has_history else None
        found, events = await self._session.journal.read_soon(
            lambda: self._visit_store(source, start, stored, keys, span)
        )
        for one in made:
            one.found = found
            one.changed = one.stale = self._stale
            if one.index in events:
                load_prior_events(one, events[one.index])
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
        return self._session.run.run_id

    def _case_run(
        self, source: _Source, position: int, case: Case, digests: CaseDigests
    ) -> CaseRun:
        run = self._session.run
        identity = run.snapshot.identity
        read = digests.read_by(run.generator.reads)
        key: CaseKey = case_key(source.dataset.dataset_id, case.case_id)
        seeds = [
            sample_seed(identity.seeds, case.case_id, sample)
            for sample in range(identity.num_samples)
        ]
        return CaseRun(
            self._session,
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


class CaseFeed:
    """Hands out the cases of a reader, read ahead a little, to whoever walks through them next.

    Args:
        session: the open run.
        reader: of its cases.
    """

    def __init__(self, session: RunSession, reader: CaseReader) -> None:
        self._session = session
        self._reader = reader
        self._ready: asyncio.Queue[CaseRun | None] = asyncio.Queue(maxsize=2 * _CHUNK)
        self._closed = False

    async def fill(self) -> None:
        """Read all cases as fast as they are taken; then say that that was all."""
        ready = self._ready
        try:
            async with aclosing(self._reader.chunks(_FIRST_CHUNK, _CHUNK)) as chunks:
                async for chunk in chunks:
                    for case in chunk:
                        if ready.full():
                            await ready.put(case)
                        else:
                            ready.put_nowait(case)
        except asyncio.CancelledError:  # who still takes from the queue finds it closed
            self._closed = True
            with suppress(asyncio.QueueFull):  # and who waits at an empty one is let go
                self._ready.put_nowait(None)
            raise
        except BaseException:
            self._session.stop()  # what is queued is not begun: the error is to be heard soon
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


def _changed(source: _Source, what: str) -> DefinitionError:
    name = source.dataset.dataset_id
    return DefinitionError(
        f"dataset '{name}' changed since it was compiled: {what}; compile and run it anew",
        field="datasets",
        value=name,
    )


def load_prior_events(case: CaseRun, events: Sequence[Event]) -> None:
    """Tell a case what this run has of it already: the newest event of each step."""
    for event in events:
        if event.kind is EventKind.CASE_FINISHED:
            case.said_finished = event
        elif event.address is not None:
            case.prior[event.address] = event
