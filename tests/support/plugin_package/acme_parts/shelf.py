"""A store: a file on a shelf, or nothing but memory."""

from __future__ import annotations

from pathlib import Path

from themis import InMemoryRunStore, RunStore, SqliteRunStore


class Shelf(InMemoryRunStore):
    """Keeps runs in memory."""


def open_shelf(*, path: str) -> RunStore:
    """Return the store of a file in a folder."""
    return SqliteRunStore(Path(path) / "shelf.db")
