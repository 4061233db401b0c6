"""Who works on a run: one process at a time, told apart from one that is gone."""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from themis.core.base import RunId
from themis.core.errors import RunOwnedError
from themis.core.kept import Lease, Owner
from themis.core.protocols import RunStore

TTL = 30.0
"""Seconds a lease lasts without renewal."""

_HELD: Counter[tuple[RunId, int]] = Counter()
"""Runs that this process works on, by epoch: a lease of its own that is not here was forgotten."""


def this_process() -> Owner:
    """Return what this process says of itself in a lease."""
    return Owner(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid=os.getpid(),
        process_start=_started(os.getpid()) or "unknown",
    )


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
            "wait for it or stop it",
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
