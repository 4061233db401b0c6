"""The journal's one writer: a thread that owns the store while a run is open.

Events of many cases are gathered into one append (by count or by a few milliseconds, whichever is
first); key look-ups of many cases into one look-up. The loop never waits for a disk. What is told
to listeners, shown or counted has been committed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from themis.core.base import ArtifactKey
from themis.core.errors import StoreUnavailableError
from themis.core.events import Artifact, Event
from themis.core.store import RunStore
from themis.execution.lease import Heartbeat

T = TypeVar("T")
Committed = Callable[[Sequence[Event], Sequence[ArtifactKey]], None]

_BATCH = 512
_LINGER = 0.02
_BOUND = 8192
_LATE = 1.0
"""Seconds without a commit, while events wait for one, after which keeping has stopped."""
_GLANCE = 5.0
"""Seconds after which a writer that has nothing to do looks whether the run is still its own."""


class Journal(Protocol):
    """What is told of an open run, and what asks its store; all of it is called on the loop.

    Two things stand for it: the writer below, and where nothing is to be kept a journal that
    forgets what it is told (``unwritten.py``).
    """

    def append(self, event: Event) -> None:
        """Queue an event; it is committed soon, in the order of queueing."""
        ...

    async def lookup(self, key: ArtifactKey) -> Artifact | None:
        """Return the latest artifact under a key; many cases' questions go as one."""
        ...

    async def read_soon(self, function: Callable[[], T]) -> T:
        """Run a function that reads the store, soon: no commit is hurried for it.

        What is queued may be committed after it.
        """
        ...

    async def flush(self) -> None:
        """Wait until everything queued so far is committed.

        Raises:
            ThemisError: writing ended early.
        """
        ...

    def is_behind(self) -> bool:
        """Return whether keeping has stopped: commits fail, or are late."""
        ...

    def hurry(self) -> None:
        """Have what is queued committed at once."""
        ...

    async def next_commit(self) -> None:
        """Wait until something is committed, at once, or until waiting ends."""
        ...

    def end_waiting(self) -> None:
        """End all waits for the next commit."""
        ...


class JournalWriter:
    """Queues events and store requests from the loop, and carries them out in one thread.

    What holds the two threads apart: the loop only adds to the end of the queues, and the thread
    only takes from their beginning, as many as it has copied; each is one step of the interpreter.
    ``_seq`` and the store are the thread's alone; ``_in_flight``, ``_room`` and the
    futures are the loop's, which the thread reaches through ``call_soon_threadsafe``. ``error`` is
    written by the thread, once.
    """

    def __init__(
        self,
        store: RunStore,
        heartbeat: Heartbeat,
        *,
        last_seq: int,
        committed: Committed,
        retry_attempts: int,
        retry_delay: float,
    ) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._seq = last_seq
        self._committed = committed
        self._retries = retry_attempts
        self._retry_delay = retry_delay
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._events: list[Event] = []
        self._lookups: list[tuple[ArtifactKey, asyncio.Future[Artifact | None]]] = []
        self._questions: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._requests: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._in_flight = 0
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._settled_at = 0.0
        """When the last commit was, or when the first event after it was queued."""
        self._failing = False
        """Whether the last commit that was tried failed."""
        self._hurried = False
        self._progress = asyncio.Event()
        self._closing = False
        self._sleeping = False
        self._lingering = False
        self.error: BaseException | None = None
        """Why writing ended early: a store that stayed away, a lease that was lost."""
        self.unkept: list[Event] = []
        """What was queued and not committed when writing had ended, in order."""
        self.failed = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="themis-journal", daemon=True)
        self._thread.start()

    def append(self, event: Event) -> None:
        """Queue an event. See ``Journal.append``."""
        self._events.append(event)
        if not self._in_flight:
            self._settled_at = self._loop.time()
        self._in_flight += 1
        if self._in_flight > _BOUND:
            self._room.clear()
        if self._sleeping or (self._lingering and len(self._events) >= _BATCH):
            self._rouse()

    async def room(self) -> None:
        """Wait while too much is queued."""
        if self._in_flight > _BOUND:
            await self._room.wait()

    async def lookup(self, key: ArtifactKey) -> Artifact | None:
        """Return the latest artifact under a key. See ``Journal.lookup``."""
        future: asyncio.Future[Artifact | None] = self._loop.create_future()
        self._lookups.append((key, future))
        if self._sleeping or self._lingering:
            self._rouse()
        return await future

    async def read_soon(self, function: Callable[[], T]) -> T:
        """Run a function in the journal's thread, soon. See ``Journal.read_soon``."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._questions.append((function, future))
        if self._sleeping or self._lingering:
            self._rouse()
        return await future

    async def run_after_commits(self, function: Callable[[], T]) -> T:
        """Run a function of the store in the journal's thread, after what was queued before it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.append((function, future))
        self._rouse()
        return await future

    async def flush(self) -> None:
        """Wait until everything queued so far is committed. See ``Journal.flush``."""
        await self.run_after_commits(lambda: None)
        if self.error is not None:
            raise self.error

    def is_behind(self) -> bool:
        """Return whether keeping has stopped. See ``Journal.is_behind``."""
        late = self._in_flight > 0 and self._loop.time() - self._settled_at > _LATE
        return late or self._failing

    def hurry(self) -> None:
        """Have what is queued committed at once. See ``Journal.hurry``."""
        if not self._hurried:
            self._hurried = True
            if self._sleeping or self._lingering:
                self._rouse()

    async def next_commit(self) -> None:
        """Wait until something is committed. See ``Journal.next_commit``."""
        self.hurry()
        progress = self._progress
        await progress.wait()

    def end_waiting(self) -> None:
        """End all waits for the next commit. See ``Journal.end_waiting``."""
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    def numbered_unkept(self) -> list[Event]:
        """Return what was not committed when writing had ended, numbered; once it is closed."""
        for number, event in enumerate(self.unkept, start=self._seq + 1):
            event.seq = number
        return self.unkept

    async def close(self) -> None:
        """Commit what is queued and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        while self._thread.is_alive():
            await asyncio.sleep(0.001)

    # The loop's side ends here; what follows runs in the thread.

    def _rouse(self) -> None:
        with self._wake:
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                if not (self._events or self._is_awaited()):
                    # The loop does not take the lock for each event that it queues. It queues, then
                    # looks at ``_sleeping``; here that is set, then the queues are looked at once
                    # more. So one of the two sees what the other did, and nothing lies in the queue
                    # of a thread that sleeps on. Whoever has to rouse it waits for the lock, which
                    # is given up only within ``wait``.
                    self._sleeping = True
                    if not (self._events or self._is_awaited()):
                        self._wake.wait(timeout=_GLANCE)
                    self._sleeping = False
                closing = self._closing
            self._look_at_the_lease()
            self._answer_questions()
            self._commit_gathered(linger=not closing)
            self._carry_out_requests()
            if closing and not (self._events or self._requests or self._lookups or self._questions):
                return

    def _is_awaited(self) -> bool:
        return bool(
            self._lookups or self._questions or self._requests or self._closing or self._hurried
        )

    def _commit_gathered(self, *, linger: bool) -> None:
        if not self._events:
            self._hurried = False
            return
        if linger:
            self._linger()
        while self._events:
            batch = self._events[:_BATCH]
            del self._events[: len(batch)]
            self._commit(batch)
            if len(self._events) < _BATCH:
                break

    def _linger(self) -> None:
        """Wait a little for more events, or for somebody who waits; answer questions meanwhile."""
        deadline = time.monotonic() + _LINGER
        while len(self._events) < _BATCH and not (self._requests or self._closing or self._hurried):
            with self._wake:
                self._lingering = True  # then look again, as above
                left = deadline - time.monotonic()
                if left > 0 and len(self._events) < _BATCH and not self._is_awaited():
                    self._wake.wait(timeout=left)
                self._lingering = False
            if left <= 0:
                return
            self._answer_questions()

    def _commit(self, batch: list[Event]) -> None:
        self._hurried = False
        lost: Sequence[ArtifactKey] = ()
        if self.error is None:
            for number, event in enumerate(batch, start=self._seq + 1):
                event.seq = number
            try:
                lost = self._patiently(partial(self._append, batch))
                self._seq += len(batch)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                self.error = error
        if self.error is not None:
            self.unkept += batch
        self._call(self._settled, batch, lost)

    def _append(self, batch: list[Event]) -> Sequence[ArtifactKey]:
        lease = self._heartbeat.lease
        try:
            lost = self._store.append(lease.run_id, batch, epoch=lease.epoch)
        except StoreUnavailableError:
            self._failing = True
            raise
        self._failing = False
        return lost

    def _patiently(self, read_soon: Callable[[], T]) -> T:
        """Ask the store, again where it is away."""
        for attempt in range(1, self._retries + 1):
            try:
                return read_soon()
            except StoreUnavailableError:
                if attempt == self._retries:
                    raise
                time.sleep(self._retry_delay * attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def _settled(self, batch: list[Event], lost: Sequence[ArtifactKey]) -> None:
        self._in_flight -= len(batch)
        self._settled_at = self._loop.time()
        if self._in_flight <= _BOUND:
            self._room.set()
        if self.error is not None:
            self.failed.set()
        else:
            self._committed(batch, lost)
        self.end_waiting()

    def _answer_questions(self) -> None:
        self._answer_lookups()
        waiting = self._questions[:]
        del self._questions[: len(waiting)]
        self._answer_each(waiting)

    def _answer_lookups(self) -> None:
        waiting = self._lookups[:]
        if not waiting:
            return
        del self._lookups[: len(waiting)]
        try:
            keys = {key for key, _ in waiting}
            found = self._patiently(lambda: self._store.lookup(keys))
        except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
            self._call(_refuse, [future for _, future in waiting], error)
            return
        self._call(_answer, [(future, found.get(key)) for key, future in waiting])

    def _carry_out_requests(self) -> None:
        waiting = self._requests[:]
        if not waiting:
            return
        # What was queued before a request is committed before it.
        while self._events:
            batch = self._events[:_BATCH]
            del self._events[: len(batch)]
            self._commit(batch)
        del self._requests[: len(waiting)]
        self._answer_each(waiting)

    def _answer_each(
        self, waiting: Sequence[tuple[Callable[[], Any], asyncio.Future[Any]]]
    ) -> None:
        for function, future in waiting:
            try:
                value = self._patiently(function)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                self._call(_refuse, [future], error)
            else:
                self._call(_answer, [(future, value)])

    def _look_at_the_lease(self) -> None:
        if self.error is None and self._heartbeat.lost is not None:
            self.error = self._heartbeat.lost
            self._call(self.failed.set)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _answer(answers: Collection[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, value in answers:
        if not future.done():
            future.set_result(value)


def _refuse(futures: Collection[asyncio.Future[Any]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
