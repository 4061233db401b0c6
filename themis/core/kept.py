"""What a store is handed and gives back beside events, artifacts and snapshots: plain records."""

from __future__ import annotations

from dataclasses import dataclass

from themis.core.base import RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A case as a store keeps it: once by content."""

    case_id: str
    digest: bytes
    """16 bytes over the whole case."""
    raw: bytes
    """The case as JSON: input, expected_output, metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run in a store's list."""

    run_id: RunId
    created_at: float
    """Unix seconds at which its snapshot was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a run; start and namespace tell it from another process with its pid."""

    host: str
    boot_id: str
    pid: int
    process_start: str
    pid_namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to append to a run."""

    run_id: RunId
    owner: Owner
    epoch: int
    """Grows with each new owner; an append under an older one is refused."""
    since: float
    expires: float
    """Unix seconds."""
