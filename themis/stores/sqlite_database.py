"""One SQLite file and the one connection to it: opening, locking, transactions, plain errors.

It knows how to get at a file and how to say in one line why it cannot. It knows nothing of runs.
A write-ahead log serves many processes; where it is unsafe, a rollback journal serves one, which
locks the file for as long as it has it open.
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

from themis.core.errors import DefinitionError, StoreUnavailableError, did_you_mean
from themis.stores.filesystems import network_filesystem
from themis.stores.sqlite_schema import migrate, schema_number

Synchronous = Literal["full", "normal", "off"]
JournalMode = Literal["auto", "wal", "rollback"]
_LEVELS = ("full", "normal", "off")
_MODES = ("auto", "wal", "rollback")
_CHECKPOINT_PAGES = 4000
_WAL_KEPT_BYTES = 32 * 1024 * 1024
_CACHE_KIB = 16 * 1024
_BUSY_POLL_SECONDS = 0.02

_left_to_parents: list[sqlite3.Connection] = []
"""Connections a forked child came by: closing one there would touch what its parent works with."""


class Database:
    """A SQLite file, opened when first needed.

    Args:
        path: the file; made, with its folder, where there is none.
        synchronous: when SQLite syncs; "full" at every commit.
        busy_timeout: seconds to wait for another process's lock.
        journal: "wal" or "rollback"; "auto" chooses by where the file lies.

    Raises:
        DefinitionError: an argument is not of these.
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
        """Why one process has the file for itself, where it has."""
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0)
        self._lock = RLock()
        self._pid = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection alone for a few statements.

        Raises:
            StoreUnavailableError: the file cannot be opened or read.
        """
        self._leave_parent()
        with self._lock:
            try:
                yield self._connection or self._open()
            except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
                raise  # ours to answer for, not the file's
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection alone within one transaction: kept on leaving, undone on an error.

        Raises:
            StoreUnavailableError: the file cannot be written, or is no longer at its path; nothing
                was written.
        """
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                self._check_in_place()
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens the file anew."""
        self._leave_parent()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _leave_parent(self) -> None:
        """In a forked child, leave connection and lock to the parent."""
        if os.getpid() != self._pid:
            if self._connection is not None:
                _left_to_parents.append(self._connection)
                self._connection = None
            self._lock = RLock()
            self._pid = os.getpid()

    def _open(self) -> sqlite3.Connection:
        self._make_folder()
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
            self._opened = self._identity()
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db

    def _why_alone(self) -> str | None:
        if self._journal == "rollback":
            return "journal = 'rollback'"
        kind = network_filesystem(self.path) if self._journal == "auto" else None
        return None if kind is None else f"it lies on a network file system, {kind}"

    def _use_rollback(self, db: sqlite3.Connection) -> None:
        """Keep the file to this process; without a lock to wait for, no memory is shared."""
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        schema_number(db, self.path)
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("BEGIN EXCLUSIVE")  # or two that only read would shut each other out later
        db.execute("COMMIT")

    def _use_wal(self, db: sqlite3.Connection) -> None:
        """Switch to WAL. SQLite does not wait here for other processes that do the same."""
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
        """Return which file is at the path; (0, 0) where none can be seen."""
        try:
            found = os.stat(self.path)
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _check_in_place(self) -> None:
        """Refuse to go on with a file that has no name any more: it ends with its last user."""
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
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot make the folder of '{path}': {error.strerror or error}; "
                "choose a path in a folder that can be written"
            ) from error

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailableError:
        if self._connection is not None:
            self._check_in_place()  # what SQLite says of a file that is gone misleads
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        reason, way_out = _REASONS.get(code, (str(error), "check the disk and choose another path"))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            reason = f"{reason} for {self._busy_timeout:g} seconds"
            if self._alone is not None:
                reason += f" ({self._alone}, where one at a time may use it)"
        return StoreUnavailableError(f"store '{self.path}': {reason}; {way_out}")


_LOCKED = (
    "another process has kept it locked",
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
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "restore it from a copy, or save what is readable with sqlite3's .recover",
    ),
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
