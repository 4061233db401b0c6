"""Checksums of rows, so that a byte that changed in a file is told, and is never another score.

A mark is the CRC-32 (ISO 3309, as in zlib) of a row's content and of its place: its run, number or
key. So a row that was changed tells it, and one that stands in another's place. Rows that are not
there any more have no mark to be asked; their number is kept apart (``Tallies`` in
``sqlite_tallies.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from zlib import crc32

from themis.stores.rows import Cell

_event_numbers = Struct("<qqqqqd").pack
_artifact_numbers = Struct("<qd").pack


def run_seed(run_id: str) -> int:
    """Return what the marks of a run's events begin with."""
    return crc32(run_id.encode())


def event_mark(
    seed: int,
    seq: int,
    attempt: int,
    kind: int,
    case_index: int | None,
    key: Cell | None,
    version: int,
    at: float,
    meta: bytes | None,
) -> int:
    """Return the mark of an event's row; ``seed`` is its run's.

    Raises:
        struct.error: a value has another type than the column, as only damage makes one.
        TypeError: as well.
    """
    case = -1 if case_index is None else case_index
    numbers = _event_numbers(seq, attempt, kind, case, version, at)
    return crc32(meta or b"", crc32(_bytes(key), crc32(numbers, seed)))


def artifact_mark(
    key: Cell,
    version: int,
    code: Cell | None,
    at: float,
    run: int | None,
    payload: bytes | None,
    blob: bytes | None,
) -> int:
    """Return the mark of an artifact's row; raises as ``event_mark`` does.

    The number of the run that made it is added, so that SQL can take it away with the run.
    """
    begun = crc32(_bytes(code), crc32(_bytes(key), crc32(_artifact_numbers(version, at))))
    mark = crc32(blob or b"", begun) + 1 if payload is None else crc32(payload, begun)
    return mark + (run or 0)


def mark_of(*values: Cell | float | None) -> int:
    """Return the mark of any other row: of its values, in order, with their types."""
    said: list[bytes] = []
    for value in values:
        if type(value) is bytes:
            said += (b"b%d:" % len(value), value)
        else:
            data = repr(value).encode()
            said += (b"%s%d:" % (type(value).__name__.encode(), len(data)), data)
    return crc32(b"".join(said))


def marked(rows: Iterable[tuple[Cell | float | None, ...]]) -> list[tuple[object, ...]]:
    """Return rows, each with its mark at the end."""
    return [(*row, mark_of(*row)) for row in rows]


def _bytes(cell: Cell | None) -> bytes:
    if cell is None:
        return b""
    return cell if isinstance(cell, bytes) else cell.encode()
