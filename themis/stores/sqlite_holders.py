"""Who keeps a SQLite file locked, for the message to those who waited for it in vain.

Linux tells in /proc/locks which process holds a lock of the file. Elsewhere, and where that process
is in another container, the owners of the runs that are at work in the file are named.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from themis.core.hashing import decode
from themis.core.store import Owner

_LOCKS = Path("/proc/locks")
_WAL_WRITER = 120
"""The byte of the shared-memory file that the writer of a write-ahead log locks
(https://www.sqlite.org/walformat.html#wal_locks)."""
_RESERVED = 0x40000001
"""The byte of the database file that a writer locks
(https://www.sqlite.org/fileformat2.html#the_lock_byte_page)."""


def holder(path: str, db: sqlite3.Connection | None) -> tuple[str, str | None]:
    """Return who has locked a file, in words, and how to make a stopped one let go of it."""
    for pid in _writers(path):
        if pid == os.getpid():
            return "another connection of this process", None
        if _is_stopped(pid):
            return f"process {pid}, which is stopped,", f"continue it (kill -CONT {pid}) or end it"
        return f"process {pid}", None
    owners = ", ".join(_owners(db))
    return f"another process{owners and f' (at work in it: {owners})'}", None


def _writers(path: str) -> Iterator[int]:
    """Yield the processes that hold a writer's lock, as /proc/locks tells it.

    Devices are not compared: on some file systems the two that are told differ.
    """
    wanted = {}
    for file, byte in ((f"{path}-shm", _WAL_WRITER), (path, _RESERVED)):
        with suppress(OSError):
            wanted[str(os.stat(file).st_ino)] = byte
    with suppress(OSError, ValueError):
        for line in _LOCKS.read_text().splitlines():
            match line.split():
                case [_, "POSIX", _, "WRITE", pid, file, first, last]:
                    byte = wanted.get(file.rpartition(":")[2], -1)
                    end = byte if last == "EOF" else int(last)
                    if int(first) <= byte <= end and int(pid) > 0:
                        yield int(pid)


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def _owners(db: sqlite3.Connection | None) -> list[str]:
    """Return the owners of runs; a write-ahead log can be read while another process writes."""
    with suppress(sqlite3.Error, ValueError, TypeError):
        if db is not None:
            rows = db.execute("SELECT owner FROM leases WHERE owner IS NOT NULL").fetchall()
            return sorted({str(Owner(**decode(row[0]))) for row in rows})
    return []
