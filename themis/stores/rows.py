"""The encoding of events as rows, for stores that keep rows: numbers and small JSON.

It is shared, so that all such stores return exactly the same events. The numbers below are in
existing files: new ones may be added, but none may change or get another meaning.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from themis.core.base import ArtifactKey
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.hashing import SCHEME, decode, encode

Cell: TypeAlias = "bytes | str"
"""A digest in a row: 16 raw bytes, or the text itself if it has another form."""

KIND_NUMBERS = {
    EventKind.RUN_STARTED: 1,
    EventKind.STEP_DONE: 2,
    EventKind.STEP_FAILED: 3,
    EventKind.CASE_FINISHED: 4,
    EventKind.RUN_FINISHED: 5,
    EventKind.NOTE: 6,
    EventKind.STEP_DROPPED: 7,
    EventKind.BUDGET_DRAWN: 8,
}
STAGE_NUMBERS = {
    Stage.GENERATE: 1,
    Stage.SELECT: 2,
    Stage.REDUCE: 3,
    Stage.PARSE: 4,
    Stage.SCORE: 5,
    Stage.JUDGE: 6,
}
_KINDS = {number: kind for kind, number in KIND_NUMBERS.items()}
_STAGES = {number: stage for stage, number in STAGE_NUMBERS.items()}
_PREFIX = f"{SCHEME}:"
_PREFIX_LENGTH = len(_PREFIX)
_DIGEST_LENGTH = _PREFIX_LENGTH + 32


class EventRow(NamedTuple):
    """An event without its artifact."""

    seq: int
    attempt: int
    kind: int
    case_index: int | None
    key: Cell | None
    """Key of the event's artifact; a key without an artifact is part of ``meta``."""
    version: int
    at: float
    meta: bytes | None
    """JSON ``[stage, sample, component, candidate_id, data]``, followed by ``[call, reused, key]``
    if any of these is set; None if nothing is set."""


def cell_of(digest: str) -> Cell:
    """Return a digest's cell: 16 bytes if the text has the usual form, else the text."""
    if len(digest) == _DIGEST_LENGTH and digest.startswith(_PREFIX):
        tail = digest[_PREFIX_LENGTH:]
        try:
            raw = bytes.fromhex(tail)
        except ValueError:
            return digest
        if raw.hex() == tail:  # capitals and blanks would be lost
            return raw
    return digest


def text_of(cell: Cell) -> str:
    """Return the digest that ``cell_of`` converted."""
    return cell if isinstance(cell, str) else _PREFIX + cell.hex()


def row_of(event: Event) -> EventRow:
    """Return an event as a row, referring to version 0 of the artifact that it brings.

    Raises:
        TypeError: the event's data is not JSON.
    """
    artifact = event.artifact
    key = event.key
    loose_key = None
    version = event.version
    cell: Cell | None = None
    if artifact is not None:
        cell = cell_of(artifact.key)
        version = 0
    elif key is not None:
        # A failed step has a key without an artifact; another run may commit one later.
        if event.kind is EventKind.STEP_DONE:
            cell = cell_of(key)
        else:
            loose_key = key
    address = event.address
    meta: list[Any] | None = None
    if address is not None:
        stage, sample, component, call = address
        number = STAGE_NUMBERS[stage]
        meta = [number, sample, component, event.candidate_id, event.data]
        if call is not None or event.reused or loose_key is not None:
            meta += (call, event.reused, loose_key)
    elif event.candidate_id is not None or event.data or event.reused or loose_key is not None:
        meta = [None, None, None, event.candidate_id, event.data, None, event.reused, loose_key]
    return EventRow(
        event.seq,
        event.attempt,
        KIND_NUMBERS[event.kind],
        event.case_index,
        cell,
        version,
        event.at,
        None if meta is None else encode(meta),
    )


def event_of(
    seq: int,
    attempt: int,
    kind: int,
    case_index: int | None,
    key: Cell | None,
    version: int,
    at: float,
    meta: bytes | None,
) -> Event:
    """Return the event of a row, without its artifact."""
    address = candidate_id = call = loose_key = None
    reused = False
    data: dict[str, Any] = {}
    if meta is not None:
        parts = decode(meta)
        if len(parts) == 5:
            stage, sample, component, candidate_id, data = parts
        else:
            stage, sample, component, candidate_id, data, call, reused, loose_key = parts
        if stage is not None:
            address = StepAddress(_STAGES[stage], sample, component, call)
    return Event(
        kind=_KINDS[kind],
        attempt=attempt,
        at=at,
        seq=seq,
        case_index=case_index,
        address=address,
        candidate_id=candidate_id,
        key=ArtifactKey(text_of(key)) if key is not None else loose_key,
        version=version,
        reused=reused,
        data=data,
    )
