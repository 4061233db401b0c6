"""What all stores share about leases: the error messages.

Acquiring a lease is implemented by each store, within its transaction.
"""

from __future__ import annotations

from themis.core.base import RunId
from themis.core.errors import LeaseLostError, RunOwnedError
from themis.core.store import Lease


def held(lease: Lease) -> RunOwnedError:
    """Return the error for a run whose lease another process holds."""
    return RunOwnedError(
        f"run '{lease.run_id}' is being worked on by {lease.owner} (epoch {lease.epoch}); "
        "wait for it to end, or stop it",
        lease=lease,
    )


def is_same(lease: Lease, other: Lease | None) -> bool:
    """Return whether a lease is as it was seen: of the same epoch, and not renewed since."""
    return other is not None and (lease.epoch, lease.beat) == (other.epoch, other.beat)


def lost(run_id: RunId, epoch: int, newer: int | None) -> LeaseLostError:
    """Return the error for writing to a run under an old epoch."""
    taken = "was given back" if newer is None or newer <= epoch else f"has epoch {newer} by now"
    return LeaseLostError(
        f"run '{run_id}' was held under epoch {epoch} and {taken}: another process may be working "
        "on it; nothing was written, and running again goes on from what it has kept"
    )
