"""Where runs are kept: stores that implement ``themis.core.store.RunStore``.

A store keeps runs, events, cases and blobs without interpreting them, which ``themis.views`` does.
Register a store of your own with ``register_store``, and test it with the contract suite in
``themis.testing.store_contract``. A store's module is loaded on first use: ``themis --help`` loads
none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from themis.stores.factory import check_storage as check_storage
    from themis.stores.factory import open_store as open_store
    from themis.stores.factory import register_store as register_store
    from themis.stores.factory import sqlite_store as sqlite_store
    from themis.stores.memory import InMemoryRunStore as InMemoryRunStore
    from themis.stores.sqlite import SqliteRunStore as SqliteRunStore

_HOMES = {
    "InMemoryRunStore": "memory",
    "SqliteRunStore": "sqlite",
    "check_storage": "factory",
    "open_store": "factory",
    "register_store": "factory",
    "sqlite_store": "factory",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names are the table's


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'themis.stores' has no attribute '{name}'")
    return getattr(import_module(f"themis.stores.{home}"), name)
