"""Who works on a run: one process at a time, told apart from one that is gone.

Whoever comes second is refused, or waits its turn where it was told to. It does not ask how far the
first one is: that is in the journal. Nor does it trust a clock: an owner that surely runs keeps its
run, one that surely does not loses it at once, and of any other only its silence tells.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from themis.core.base import RunId
from themis.core.errors import RunOwnedError, StoreUnavailableError
from themis.core.shown_text import logger
from themis.core.store import Lease, RunStore
from themis.execution.owners import is_alive, is_same, this_process
from themis.execution.signals import Stopper

TTL = 30.0
"""Seconds without a renewal after which an owner is given up that cannot be asked after."""

_POLL = 0.25
"""Seconds between two looks at whether a run has become free."""

_LOG = logger()
_HELD: Counter[tuple[RunId, int]] = Counter()
"""Runs that this process works on, by epoch: a lease of its own that is not here was forgotten."""


async def wait_and_acquire(
    store: RunStore,
    run_id: RunId,
    *,
    wait: float | None,
    stopper: Stopper,
    take_over: bool = False,
) -> Lease | None:
    """Take a run, waiting for another process that works on it to end or to be gone.

    Args:
        store: where the run is kept.
        run_id: the run.
        wait: seconds to wait at most; None for as long as it takes. Of an owner that may be gone it
            takes up to half a minute to know.
        stopper: asked to stop, it waits no longer.
        take_over: whether an owner that cannot be asked after counts as gone.

    Returns:
        The lease; None where a stop was asked for.

    Raises:
        RunOwnedError: the other one is still at work; says who, where, since when and until when.
    """
    claim = _Claim(store, run_id, wait=wait, take_over=take_over)
    while not stopper.asked:
        if (lease := claim.take()) is not None:
            return lease
        await asyncio.sleep(claim.pause())
    return None


def acquire(store: RunStore, run_id: RunId) -> Lease:
    """Take a run, without waiting for an owner that is known to be at work.

    Raises:
        RunOwnedError: somebody is working on it; says who, where, since when and until when.
    """
    claim = _Claim(store, run_id, wait=0.0, take_over=False)
    while (lease := claim.take()) is None:
        time.sleep(claim.pause())
    return lease


class Heartbeat:
    """Renews a lease, from a thread of its own: neither a busy loop nor a slow disk may lose it.

    Attributes:
        lease: the lease, as it was acquired.
        lost: why it ended early, where the run was lost to another process.
    """

    def __init__(self, store: RunStore, lease: Lease) -> None:
        self.lost: Exception | None = None
        self._store = store
        self.lease = lease
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="themis-lease", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Renew no more; what is being written has been when this returns."""
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(TTL / 3):
            try:
                self._store.renew(self.lease, TTL)
            except StoreUnavailableError:
                continue
            except Exception as error:  # noqa: BLE001 - handed to whoever writes the run
                self.lost = error
                return


@contextmanager
def held(store: RunStore, lease: Lease) -> Iterator[Heartbeat]:
    """Keep a run for as long as the block takes, then give it back.

    Where the store is gone at the end, the run is at least not taken for held.
    """
    heartbeat = Heartbeat(store, lease)
    try:
        yield heartbeat
    finally:
        _HELD[lease.run_id, lease.epoch] -= 1  # first of all: an interruption may end this here
        heartbeat.end()
        with suppress(Exception):
            store.release(lease)


class _Claim:
    """One process's wish for a run, and what it has seen of who holds it."""

    def __init__(
        self, store: RunStore, run_id: RunId, *, wait: float | None, take_over: bool
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._take_over = take_over
        self._deadline = None if wait is None else time.monotonic() + wait
        self._silence = _Silence()
        self._told: str | None = None

    def take(self) -> Lease | None:
        """Return the lease; None where another holds it for whom this process is to wait.

        Raises:
            RunOwnedError: another holds it, and the time to wait is over.
        """
        takeover = None
        while True:
            try:
                lease = self._store.lease(self._run_id, this_process(), TTL, takeover=takeover)
            except RunOwnedError as error:
                found: Lease = error.lease
            else:
                _HELD[lease.run_id, lease.epoch] += 1
                return lease
            alive = self._lives(found)
            if alive is False:
                takeover = found
                continue
            # Whether an owner lives that cannot be asked after is known by its renewals, or
            # believed of a lease that is not over. One that is, or that a wrong clock wrote, is
            # watched until it renews or was silent for long enough.
            known = alive or self._silence.was_broken or 0 < found.expires - time.time() <= 2 * TTL
            if known and self._is_over():
                raise _refusal(found, alive)
            self._tell(
                found, "to end" if known else f"for {TTL:g} seconds, to see if it still works"
            )
            return None

    def pause(self) -> float:
        """Return how many seconds to let pass before the next look."""
        if self._deadline is None or self._is_over():
            return _POLL
        return min(_POLL, self._deadline - time.monotonic())

    def _lives(self, found: Lease) -> bool | None:
        if is_same(found.owner, this_process()):
            return _HELD[self._run_id, found.epoch] > 0
        alive = is_alive(found.owner)
        if alive is None and (self._silence.after(found) >= TTL or self._take_over):
            return False
        return alive

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _tell(self, found: Lease, what_for: str) -> None:
        if self._told != what_for:
            self._told = what_for
            _LOG.warning("run %s: waiting for %s %s", self._run_id, found.owner, what_for)


class _Silence:
    """How long a lease has been looked at without a sign of life.

    Attributes:
        was_broken: whether there has been one.
    """

    def __init__(self) -> None:
        self.was_broken = False
        self._seen: tuple[int, int] | None = None
        self._at = self._seconds = 0.0

    def after(self, lease: Lease) -> float:
        """Return the seconds, now that this is how the lease stands.

        What passes between two looks counts for a second at most: who did not look, because it was
        stopped or its store was locked, knows nothing of an owner that may have fared alike.
        """
        now, seen = time.monotonic(), (lease.epoch, lease.beat)
        if seen == self._seen:
            self._seconds += min(now - self._at, 1.0)
        else:
            self.was_broken = self._seen is not None
            self._seconds = 0.0
        self._at, self._seen = now, seen
        return self._seconds


def _refusal(lease: Lease, alive: bool | None) -> RunOwnedError:
    now = time.time()
    user = f" (user {lease.owner.user})" if lease.owner.user else ""
    until = (
        f"it is alive{user}, and holds the run until it ends"
        if alive
        else f"it{user} holds the run until {_moment(min(max(lease.expires, now), now + TTL))}, or "
        "longer if it lives; where it surely does not: themis run --take-over, or take_over=True"
    )
    return RunOwnedError(
        f"run {lease.run_id} is being worked on by {lease.owner} since {_moment(lease.since)}; "
        f"{until}; wait for it (themis run --wait, or RuntimeConfig.owner_wait), or stop it",
        lease=lease,
    )


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):  # a clock may be wrong by any amount
        return "a moment that no calendar has"
