"""The journal's one writer: a thread that owns the store while a run is open.

Events of many cases are gathered into one append (by count or by a few milliseconds, whichever is
first); key look-ups of many cases into one look-up. The loop never waits for a disk. What is told
to listeners, shown or counted has been committed. The lease is renewed from here, so that a busy
loop cannot lose it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from themis.core.base import ArtifactKey
from themis.core.errors import StoreUnavailableError
from themis.core.events import Artifact, Event
from themis.core.kept import Lease
from themis.core.protocols import RunStore
from themis.execution.ownership import TTL

T = TypeVar("T")
Committed = Callable[[Sequence[Event], Sequence[ArtifactKey]], None]

_BATCH = 512
_LINGER = 0.02
_BOUND = 8192


class Journal:
    """Queues events and store requests from the loop, and carries them out in one thread."""

    def __init__(
        self,
        store: RunStore,
        lease: Lease,
        *,
        last_seq: int,
        committed: Committed,
        retry_attempts: int,
        retry_delay: float,
    ) -> None:
        self._store = store
        self._lease = lease
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
        self._closing = False
        self._sleeping = False
        self._lingering = False
        self.error: BaseException | None = None
        """Why writing ended early: a store that stayed away, a lease that was lost."""
        self.failed = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="themis-journal", daemon=True)
        self._renewed = time.monotonic()
        self._thread.start()

    def append(self, event: Event) -> None:
        """Queue an event; it is committed soon, in the order of queueing."""
        self._events.append(event)
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
        """Return the latest artifact under a key; many cases' questions go as one."""
        future: asyncio.Future[Artifact | None] = self._loop.create_future()
        self._lookups.append((key, future))
        if self._sleeping or self._lingering:
            self._rouse()
        return await future

    async def ask(self, function: Callable[[], T]) -> T:
        """Run a function of the store in the journal's thread, soon: no commit is hurried for it.

        What is queued may be committed after it.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._questions.append((function, future))
        if self._sleeping or self._lingering:
            self._rouse()
        return await future

    async def request(self, function: Callable[[], T]) -> T:
        """Run a function of the store in the journal's thread, after what was queued before it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.append((function, future))
        self._rouse()
        return await future

    async def flush(self) -> None:
        """Wait until everything queued so far is committed.

        Raises:
            ThemisError: writing ended early.
        """
        await self.request(lambda: None)
        if self.error is not None:
            raise self.error

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
                    self._sleeping = True
                    if not (self._events or self._is_awaited()):
                        self._wake.wait(timeout=TTL / 6)
                    self._sleeping = False
                closing = self._closing
            self._renew()
            self._answer_questions()
            self._commit_gathered(linger=not closing)
            self._carry_out_requests()
            if closing and not (self._events or self._requests or self._lookups or self._questions):
                return

    def _is_awaited(self) -> bool:
        return bool(self._lookups or self._questions or self._requests or self._closing)

    def _commit_gathered(self, *, linger: bool) -> None:
        if not self._events:
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
        while len(self._events) < _BATCH and not (self._requests or self._closing):
            with self._wake:
                self._lingering = True
                left = deadline - time.monotonic()
                if left > 0 and len(self._events) < _BATCH and not self._is_awaited():
                    self._wake.wait(timeout=left)
                self._lingering = False
            if left <= 0:
                return
            self._answer_questions()

    def _commit(self, batch: list[Event]) -> None:
        lost: Sequence[ArtifactKey] = ()
        if self.error is None:
            for number, event in enumerate(batch, start=self._seq + 1):
                event.seq = number
            try:
                lost = self._patiently(partial(self._append, batch))
                self._seq += len(batch)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                self.error = error
        self._call(self._settled, batch, lost)

    def _append(self, batch: list[Event]) -> Sequence[ArtifactKey]:
        return self._store.append(self._lease.run_id, batch, epoch=self._lease.epoch)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the store, again where it is away."""
        for attempt in range(1, self._retries + 1):
            try:
                return ask()
            except StoreUnavailableError:
                if attempt == self._retries:
                    raise
                time.sleep(self._retry_delay * attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def _settled(self, batch: list[Event], lost: Sequence[ArtifactKey]) -> None:
        self._in_flight -= len(batch)
        if self._in_flight <= _BOUND:
            self._room.set()
        if self.error is not None:
            self.failed.set()
        else:
            self._committed(batch, lost)

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

    def _renew(self) -> None:
        if self.error is not None or time.monotonic() - self._renewed < TTL / 3:
            return
        try:
            self._lease = self._store.renew(self._lease, TTL)
            self._renewed = time.monotonic()
        except StoreUnavailableError:
            return  # tried again at the next turn; an append would notice a lease that is lost
        except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
            self.error = error
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
