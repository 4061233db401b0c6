"""One SQLite file and the connection to it: opening, locking, transactions, error messages.

With a write-ahead log, several processes can use the file. Where that is unsafe, a rollback journal
is used, and one process locks the file for as long as it has it open.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Literal

from themis.core.errors import (
    DefinitionError,
    StoreDamagedError,
    StoreError,
    StoreUnavailableError,
    did_you_mean,
)
from themis.stores.filesystems import network_filesystem
from themis.stores.sqlite_checks import Damage
from themis.stores.sqlite_holders import holder
from themis.stores.sqlite_schema import MIGRATIONS, migrate, schema_number, transaction

Synchronous = Literal["full", "normal", "off"]
JournalMode = Literal["auto", "wal", "rollback"]
_LEVELS = ("full", "normal", "off")
_MODES = ("auto", "wal", "rollback")
_CHECKPOINT_PAGES = 4000
_WAL_KEPT_BYTES = 32 * 1024 * 1024
_CACHE_KIB = 16 * 1024
_BUSY_POLL_SECONDS = 0.02

_left_to_parents: list[sqlite3.Connection] = []
"""Connections inherited by a forked child: closing them there would disturb the parent."""


class Database:
    """A SQLite file, opened when first needed.

    Args:
        path: the file; made, with its folder, if there is none.
        synchronous: when SQLite syncs; "full" at every commit.
        busy_timeout: seconds to wait for another process's lock.
        journal: "wal", "rollback", or "auto": "rollback" on a network file system, else "wal".

    Raises:
        DefinitionError: an argument has another value.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous,
        busy_timeout: float,
        journal: JournalMode,
    ) -> None:
        self.path = _checked_path(path)
        _check_one_of("synchronous", synchronous, _LEVELS)
        _check_one_of("journal", journal, _MODES)
        if type(busy_timeout) not in (int, float) or not 0 <= busy_timeout <= 86_400:
            raise DefinitionError(
                f"busy_timeout = {busy_timeout!r}: must be seconds, from 0 to 86400",
                field="busy_timeout",
                value=busy_timeout,
            )
        self._synchronous = synchronous
        self._busy_timeout = float(busy_timeout)
        self._journal = journal
        self._alone: str | None = None
        """Why only one process may use the file at a time; None if several may."""
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0)
        self._read_only = False
        self._lock = RLock()
        self._pid = os.getpid()

    def open(self) -> None:
        """Open the file, if it is not open; raises as ``reading`` does."""
        with self._held():
            pass

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection's lock for statements that read; they all see the same moment.

        Raises:
            StoreUnavailableError: the file cannot be opened or read.
        """
        with self._held() as db, transaction(db, "BEGIN"):
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection's lock for one transaction; an error rolls it back.

        Raises:
            StoreUnavailableError: the file cannot be written, or is no longer at its path; nothing
                was written.
        """
        with self._held() as db:
            if self._read_only:
                raise self._told(sqlite3.SQLITE_READONLY, "it is read-only")
            with transaction(db, "BEGIN IMMEDIATE"):
                yield db
                self._check_in_place()

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        self._leave_parent()
        with self._lock:
            try:
                yield self._connection or self._open()
            except sqlite3.ProgrammingError:
                raise  # a fault of this code, not of the file
            except Damage as damage:
                raise self.damaged(damage) from None
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def damaged(self, found: object) -> StoreDamagedError:
        """Return the error that says what of the file is not as it was written."""
        return StoreDamagedError(self.path, str(found))

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens the file again."""
        self._leave_parent()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _leave_parent(self) -> None:
        """In a forked child, drop the parent's connection and lock without closing them."""
        if os.getpid() != self._pid:
            if self._connection is not None:
                _left_to_parents.append(self._connection)
                self._connection = None
            self._lock = RLock()
            self._pid = os.getpid()

    def _open(self) -> sqlite3.Connection:
        """Open the file, for reading only where it or its folder cannot be written."""
        self._make_folder()
        self._read_only = False
        try:
            db = self._open_to_write()
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in _NOT_WRITABLE or not os.access(self.path, os.R_OK):
                raise
            db = self._open_to_read()
            self._read_only = True
        self._opened = self._identity()
        self._connection = db
        return db

    def _open_to_read(self) -> sqlite3.Connection:
        """Open a file that cannot be written; of a log beside it SQLite may need to make an index.

        Raises:
            StoreUnavailableError: its tables are an older Themis's.
            sqlite3.Error: it cannot be read.
        """
        ways = ["mode=ro", "mode=ro&immutable=1"]
        log = Path(f"{self.path}-wal")
        if log.exists() and log.stat().st_size:
            ways[1] = "mode=ro&vfs=unix-none"  # nobody locks here; the index is kept in memory
        for way in ways:
            db = sqlite3.connect(
                f"{Path(self.path).as_uri()}?{way}",
                uri=True,
                timeout=self._busy_timeout,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                if way != ways[0]:
                    db.execute("PRAGMA locking_mode = EXCLUSIVE")
                found = schema_number(db, self.path)
            except sqlite3.OperationalError:
                db.close()
                if way == ways[-1]:
                    raise
                continue
            except BaseException:
                db.close()
                raise
            if found == len(MIGRATIONS):
                return db
            db.close()
            raise StoreUnavailableError(
                f"store '{self.path}' has schema {found} of {len(MIGRATIONS)} and is read-only, so "
                "that it cannot be brought up to date; copy it to a folder that can be written"
            )
        raise AssertionError("the last way returns or raises")

    def _open_to_write(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            self._alone = self._why_alone()
            if self._alone is None:
                schema_number(db, self.path)
                self._use_wal(db)
            else:
                self._use_rollback(db)
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._synchronous == "full":
                db.execute("PRAGMA fullfsync = 1")  # else macOS leaves commits in the disk's cache
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            migrate(db, self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _why_alone(self) -> str | None:
        if self._journal == "rollback":
            return "journal = 'rollback'"
        kind = network_filesystem(self.path) if self._journal == "auto" else None
        return None if kind is None else f"it lies on a network file system, {kind}"

    def _use_rollback(self, db: sqlite3.Connection) -> None:
        """Lock the file for this process, so that SQLite needs no shared memory."""
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        schema_number(db, self.path)
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("BEGIN EXCLUSIVE")  # else two readers would block each other later
        db.execute("COMMIT")

    def _use_wal(self, db: sqlite3.Connection) -> None:
        """Switch to WAL, retrying: SQLite does not wait for other processes that switch too."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_BUSY_POLL_SECONDS)

    def _identity(self) -> tuple[int, int]:
        """Return device and inode of the file at the path; (0, 0) if there is none."""
        try:
            found = os.stat(self.path)
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _check_in_place(self) -> None:
        """Raise if the file was deleted, moved or replaced: rows written to it would be lost."""
        now = self._identity()
        if now != self._opened or now == (0, 0):
            happened = "was deleted or moved" if now == (0, 0) else "was replaced by another"
            raise StoreUnavailableError(
                f"store '{self.path}': the file {happened} while in use, so that the rows written "
                "since are in no file; put it back if you moved it, and run again to go on from "
                "what is there"
            )

    def _make_folder(self) -> None:
        path = Path(self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise StoreUnavailableError(
                    f"'{path}' is a folder; name a file in it, such as '{path / 'runs.db'}'"
                )
        except (OSError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "too many folders in one another"
            raise StoreUnavailableError(
                f"cannot make the folder of '{path}': {reason}; "
                "choose a path in a folder that can be written"
            ) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        if self._connection is not None:
            self._check_in_place()  # SQLite's message for a deleted file misleads
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGES:
            return self.damaged(error)
        if code == sqlite3.SQLITE_IOERR and self._is_full():
            code = sqlite3.SQLITE_FULL  # of the files beside it, SQLite says no more than that
        return self._told(code, str(error))

    def _told(self, code: int, said: str) -> StoreUnavailableError:
        reason, way_out = _REASONS.get(code, (said, "check the disk and choose another path"))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            who, remedy = holder(self.path, self._connection)
            reason = f"{who} has kept it locked for {self._busy_timeout:g} seconds"
            way_out = remedy or way_out
            if self._alone is not None:
                reason += f" ({self._alone}, where one at a time may use it)"
        return StoreUnavailableError(f"store '{self.path}': {reason}; {way_out}")

    def _is_full(self) -> bool:
        try:
            return os.statvfs(Path(self.path).parent).f_bavail == 0
        except (OSError, AttributeError):
            return False


_DAMAGES = frozenset(
    {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT}
    | {sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE}
)
"""What SQLite says of tables or values that are not as they were written; 0 where sqlite3 cannot
read one as text. Every statement is known to be right for the tables that were made."""
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_LOCKED = (
    "it is locked",
    "let that process finish and run again, or raise the store's busy_timeout",
)
_REASONS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run again to go on"),
    sqlite3.SQLITE_IOERR: (
        "the disk does not read or write (disk I/O error)",
        "see that it is there and that neither it nor your quota is full, and run again to go on",
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "make the file and its folder writable, or choose another path",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "check its permissions, or choose another path"),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        "choose a path in a folder that can be written",
    ),
    sqlite3.SQLITE_NOTADB: ("the file is not a SQLite database", "choose another path"),
}


def _check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DefinitionError(
            f"{name} = {value!r} is not one of {', '.join(known)}{did_you_mean(str(value), known)}",
            field=name,
            value=value,
        )


def _checked_path(path: object) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise DefinitionError(
            f"path = {path!r}: must be the path of a file", field="path", value=path
        )
    name = os.fspath(path)
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise DefinitionError(
            f"path = {name!r}: must be the path of a file", field="path", value=name
        )
    if name == ":memory:":
        raise DefinitionError(
            "path = ':memory:': use the store 'memory' for a store without a file",
            field="path",
            value=name,
        )
    return os.path.abspath(os.path.expanduser(name))  # a later chdir does not move the store
