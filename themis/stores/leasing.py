"""What every store says of a lease: how an owner is kept, and how a refusal reads.

It takes no lease and knows no clock; that is each store's own, within its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from themis.core.base import RunId
from themis.core.errors import LeaseLostError, RunOwnedError
from themis.core.kept import Owner


def plain_owner(owner: Owner) -> dict[str, Any]:
    """Return an owner as plain JSON data."""
    return {
        "host": owner.host,
        "boot_id": owner.boot_id,
        "pid": owner.pid,
        "process_start": owner.process_start,
        "pid_namespace": owner.pid_namespace,
    }


def owner_of(data: Mapping[str, Any]) -> Owner:
    """Return the owner that ``plain_owner`` was given."""
    return Owner(**data)


def held(run_id: RunId, owner: Owner, epoch: int, since: float) -> RunOwnedError:
    """Return the refusal to lease a run that somebody holds."""
    moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return RunOwnedError(
        f"run '{run_id}' is being worked on by process {owner.pid} on {owner.host} "
        f"since {moment} (epoch {epoch}); wait for it to end, or stop it",
        owner=owner,
        since=since,
        epoch=epoch,
    )


def lost(run_id: RunId, epoch: int, newer: int | None) -> LeaseLostError:
    """Return the refusal to go on with a run under an old epoch."""
    taken = "was given back" if newer is None or newer <= epoch else f"has epoch {newer} by now"
    return LeaseLostError(
        f"run '{run_id}' was held under epoch {epoch} and {taken}: another process may be working "
        "on it; nothing was written, and running again goes on from what it has kept"
    )
