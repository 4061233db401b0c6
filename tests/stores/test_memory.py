"""The memory store keeps the contract of every store, and keeps to itself.

Covers: themis.core.store, themis.stores.closing, themis.stores.leasing, themis.stores.memory,
themis.stores.rows, themis.testing.store_contract, themis.testing.store_journal_contract,
themis.testing.store_lease_contract, themis.testing.store_samples
"""

from __future__ import annotations

from themis.core.store import RunStore
from themis.stores import InMemoryRunStore
from themis.testing.store_contract import StoreContract
from themis.testing.store_samples import RUN, artifact, done, key


class TestInMemoryRunStore(StoreContract):
    test_what_was_kept_is_there_after_reopening = None  # nothing is promised of it

    def make_store(self) -> RunStore:
        return InMemoryRunStore()


def test_two_memory_stores_share_nothing() -> None:
    one, two = InMemoryRunStore(), InMemoryRunStore()
    one.append(RUN, [done(1, artifact("a"))], epoch=0)
    assert not two.lookup([key("a")])


def test_closing_a_memory_store_loses_nothing() -> None:
    store = InMemoryRunStore()
    store.append(RUN, [done(1, artifact("a"))], epoch=0)
    store.close()
    assert set(store.lookup([key("a")])) == {key("a")}


def test_what_is_read_can_be_changed_without_changing_what_is_kept() -> None:
    store = InMemoryRunStore()
    store.append(RUN, [done(1, artifact("a"))], epoch=0)
    (event,) = store.events(RUN)
    event.data["ms"] = None
    store.lookup([key("a")])[key("a")].raw = b"{}"
    (again,) = store.events(RUN)
    assert again.data == {"ms": 1.5}
    assert store.lookup([key("a")])[key("a")].payload == {"value": "answer"}
