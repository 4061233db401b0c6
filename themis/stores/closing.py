"""Closing every store that was opened during a block, however the block ends.

Normally, the code that opens a store closes it. The command line ends in many places and opens
stores through experiments as well; it closes them all with this. Stores that were not passed to
``close_in_time`` are not closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from themis.core.store import RunStore

StoreT = TypeVar("StoreT", bound="RunStore")
_opened: ContextVar[list[RunStore] | None] = ContextVar("opened stores", default=None)


@contextmanager
def closing_stores() -> Iterator[None]:
    """On leaving the block, close every store that was opened in it.

    A store that cannot be closed is no failure, since committed data is on disk already.
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
    """Register a store to be closed by an enclosing ``closing_stores``, and return it."""
    opened = _opened.get()
    if opened is not None:
        opened.append(store)
    return store
