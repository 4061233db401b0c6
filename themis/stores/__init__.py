"""Where runs are kept: stores that implement ``themis.core.protocols.RunStore``.

A store keeps runs, events, cases and blobs and folds nothing; what they mean is the views' to say.
A store of your own is registered by name with ``register_store``, and proves itself with the
contract suite in ``themis.testing.store_contract``.
"""

from themis.stores.factory import check_storage, open_store, register_store, sqlite_store
from themis.stores.memory import InMemoryRunStore
from themis.stores.sqlite import SqliteRunStore

__all__ = [
    "InMemoryRunStore",
    "SqliteRunStore",
    "check_storage",
    "open_store",
    "register_store",
    "sqlite_store",
]
