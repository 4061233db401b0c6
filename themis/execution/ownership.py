"""Who works on a run: one process at a time, told apart from one that is gone.

Whoever comes second is refused, or waits its turn where it was told to. It does not ask how far the
first one is: that is in the journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from themis.core.base import RunId
from themis.core.errors import RunOwnedError
from themis.core.kept import Lease, Owner
from themis.core.protocols import RunStore
from themis.execution.stopping import Stopper

TTL = 30.0
"""Seconds a lease lasts without renewal."""

_POLL = 0.25
"""Seconds between two looks at whether a run has become free."""

_LOG = logging.getLogger("themis")
_HELD: Counter[tuple[RunId, int]] = Counter()
"""Runs that this process works on, by epoch: a lease of its own that is not here was forgotten."""


def this_process() -> Owner:
    """Return what this process says of itself in a lease."""
    return Owner(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid=os.getpid(),
        process_start=_started(os.getpid()) or "unknown",
        pid_namespace=_pid_namespace(),
    )


async def take_in_turn(
    store: RunStore, run_id: RunId, *, wait: float | None, stopper: Stopper
) -> Lease | None:
    """Take a run, waiting for another process that works on it to end or to be gone.

    Args:
        store: where the run is kept.
        run_id: the run.
        wait: seconds to wait at most; None for as long as it takes.
        stopper: asked to stop, it waits no longer.

    Returns:
        The lease; None where a stop was asked for.

    Raises:
        RunOwnedError: the other one is still at work; says who, where and since when.
    """
    deadline = None if wait is None else time.monotonic() + wait
    told = False
    while not stopper.asked:
        try:
            return take(store, run_id)
        except RunOwnedError as error:
            left = _POLL if deadline is None else min(_POLL, deadline - time.monotonic())
            if left <= 0:
                raise
            if not told:
                told = True
                _LOG.warning("run %s: waiting for %s to end", run_id, _described(error.owner))
            await asyncio.sleep(left)
    return None


def take(store: RunStore, run_id: RunId) -> Lease:
    """Take a run, at once from an owner on this host that is gone.

    Raises:
        RunOwnedError: somebody is working on it; says who, where and since when.
    """
    me = this_process()
    try:
        return _held(store.lease(run_id, me, TTL))
    except RunOwnedError as error:
        owner = error.owner
        forgotten = owner == me and _HELD[run_id, error.epoch] <= 0
        if isinstance(owner, Owner) and (forgotten or is_gone(owner)):
            return _held(store.lease(run_id, me, TTL, takeover=error.epoch))
        raise RunOwnedError(
            f"run {run_id} is being worked on by {_described(owner)} since "
            f"{datetime.fromtimestamp(error.since, UTC):%Y-%m-%d %H:%M:%S} UTC; "
            "wait for it (themis run --wait, or RuntimeConfig.owner_wait), or stop it",
            owner=owner,
            since=error.since,
            epoch=error.epoch,
        ) from None


def give_back(store: RunStore, lease: Lease) -> None:
    """Give a run back; where the store is gone, it is at least not taken for held."""
    _HELD[lease.run_id, lease.epoch] -= 1
    with suppress(Exception):
        store.release(lease)


def _held(lease: Lease) -> Lease:
    _HELD[lease.run_id, lease.epoch] += 1
    return lease


def is_gone(owner: Owner) -> bool:
    """Return whether an owner surely runs no more; False where that cannot be known from here."""
    me = this_process()
    if owner.host != me.host:
        return False
    if owner.boot_id != me.boot_id:
        return bool(owner.boot_id and me.boot_id)
    if owner.pid_namespace != me.pid_namespace:  # its pid is somebody else's here
        return False
    return _started(owner.pid) != owner.process_start


def _described(owner: object) -> str:
    if isinstance(owner, Owner):
        return f"process {owner.pid} on {owner.host}"
    return str(owner)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return when a process began, as the system tells it; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: only the pid can be asked after
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "unknown"
    return "unknown"
