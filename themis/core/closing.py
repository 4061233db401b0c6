"""Stores that are closed when a piece of work is over, whoever opened them and however it ends.

A store is its opener's to close; a command line, though, ends in many places, and its verbs open
stores through experiments as well. It closes no store that nobody told of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from themis.core.protocols import RunStore

StoreT = TypeVar("StoreT", bound="RunStore")
_opened: ContextVar[list[RunStore] | None] = ContextVar("opened stores", default=None)


@contextmanager
def closing_stores() -> Iterator[None]:
    """Close at the end every store that was opened within.

    What was committed is on disk by then, so that a store which cannot be closed is no failure.
    """
    opened: list[RunStore] = []
    token = _opened.set(opened)
    try:
        yield
    finally:
        _opened.reset(token)
        for store in reversed(opened):
            with suppress(Exception):
                store.close()


def close_in_time(store: StoreT) -> StoreT:
    """Return a store, which is closed with the others where somebody does so."""
    opened = _opened.get()
    if opened is not None:
        opened.append(store)
    return store
