"""The contract suite of stores: a test for each promise of ``RunStore``.

Subclass ``StoreContract`` and override ``make_store``; pytest then runs all tests::

    class TestMyStore(StoreContract):
        def make_store(self):
            return MyRunStore(...)

The tests use a store through the protocol alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from themis.core.base import RunId
from themis.core.errors import LeaseLostError, RunNotFoundError, RunOwnedError
from themis.core.store import RunStore
from themis.testing.store_journal_contract import JournalContract
from themis.testing.store_lease_contract import LeaseContract
from themis.testing.store_samples import (
    OTHER_RUN,
    RUN,
    artifact,
    done,
    facts,
    key,
    note,
    owner,
    reused,
    snapshot,
    stored_case,
)


class _KeepingContract:
    """Tests of snapshots, cases and blobs."""

    def test_a_store_meets_the_protocol(self, store: RunStore) -> None:
        assert isinstance(store, RunStore)

    def test_initializing_again_changes_nothing(self, store: RunStore) -> None:
        store.save_snapshot(snapshot("a"))
        store.initialize()
        assert len(store.runs()) == 1

    def test_a_snapshot_comes_back_with_its_run_id(self, store: RunStore) -> None:
        kept = store.save_snapshot(snapshot("naïve ☃ \0", seed=2**80))
        loaded = store.load_snapshot(kept.run_id)
        assert loaded == kept
        assert loaded.run_id == snapshot("naïve ☃ \0", seed=2**80).run_id

    def test_the_first_snapshot_of_a_run_wins(self, store: RunStore) -> None:
        first = store.save_snapshot(snapshot("a"))
        later = snapshot("a")
        later = later.model_copy(
            update={"provenance": later.provenance.model_copy(update={"host": "elsewhere"})}
        )
        assert later.run_id == first.run_id
        assert store.save_snapshot(later).provenance.host == "here"
        assert store.load_snapshot(first.run_id).provenance.host == "here"

    def test_a_missing_snapshot_is_named(self, store: RunStore) -> None:
        with pytest.raises(RunNotFoundError) as caught:
            store.load_snapshot(RunId("absent"))
        assert caught.value.run_id == "absent"
        assert "absent" in str(caught.value)

    def test_runs_are_listed_oldest_first(self, store: RunStore) -> None:
        names = [store.save_snapshot(snapshot(name)).run_id for name in ("c", "a", "b")]
        records = store.runs()
        assert [record.run_id for record in records] == names
        assert [r.created_at for r in records] == sorted(r.created_at for r in records)

    def test_events_without_a_snapshot_make_no_listed_run(self, store: RunStore) -> None:
        store.append(RUN, [note(1)], epoch=0)
        assert list(store.runs()) == []
        with pytest.raises(RunNotFoundError):
            store.load_snapshot(RUN)

    def test_a_snapshot_saved_after_events_is_kept(self, store: RunStore) -> None:
        made = snapshot("a")
        store.append(made.run_id, [note(1)], epoch=0)
        store.save_snapshot(made)
        assert [record.run_id for record in store.runs()] == [made.run_id]
        assert len(list(store.events(made.run_id))) == 1

    def test_cases_come_back_by_position(self, store: RunStore) -> None:
        store.save_cases("t1:data", 0, [stored_case("a"), stored_case("b")])
        store.save_cases("t1:data", 2, [stored_case("c", metadata={"n": 2**70, "s": "\0ü"})])
        found = list(store.cases("t1:data", 1, 3))
        assert [position for position, _ in found] == [1, 2]
        assert [case.case_id for _, case in found] == ["b", "c"]
        assert found[0][1].input == "question b"
        assert found[0][1].expected_output == "yes"
        assert found[1][1].metadata == {"n": 2**70, "s": "\0ü"}

    def test_cases_beyond_the_manifest_are_simply_not_there(self, store: RunStore) -> None:
        store.save_cases("t1:data", 0, [stored_case("a")])
        assert [position for position, _ in store.cases("t1:data", 0, 10**15)] == [0]
        assert list(store.cases("t1:data", 1, 1)) == []
        assert list(store.cases("t1:other", 0, 10)) == []

    def test_saving_cases_again_is_no_change(self, store: RunStore) -> None:
        for _ in range(2):
            store.save_cases("t1:data", 0, [stored_case("a"), stored_case("b")])
        assert [case.case_id for _, case in store.cases("t1:data", 0, 9)] == ["a", "b"]

    def test_a_case_is_found_by_its_id(self, store: RunStore) -> None:
        store.save_cases("t1:data", 0, [stored_case("a"), stored_case("b", input="x" * 200_000)])
        store.save_cases("t1:data", 7, [stored_case("ü\0")])
        store.save_cases("t1:other", 3, [stored_case("a")])
        assert store.find_case("t1:data", "a") == 0
        assert store.find_case("t1:data", "b") == 1
        assert store.find_case("t1:data", "ü\0") == 7
        assert store.find_case("t1:other", "a") == 3
        assert store.find_case("t1:other", "b") is None
        assert store.find_case("t1:none", "a") is None

    def test_datasets_share_cases_of_equal_content(self, store: RunStore) -> None:
        same = stored_case("a")
        store.save_cases("t1:one", 0, [same])
        store.save_cases("t1:two", 5, [same])
        assert [(at, case.case_id) for at, case in store.cases("t1:two", 0, 9)] == [(5, "a")]

    def test_many_and_large_cases_stream_in_order(self, store: RunStore) -> None:
        store.save_cases("t1:data", 0, [stored_case(f"c{n}") for n in range(1500)])
        store.save_cases("t1:data", 1500, [stored_case("big", input="x" * 3_000_000)])
        found = list(store.cases("t1:data", 0, 1501))
        assert [position for position, _ in found] == list(range(1501))
        assert found[-1][1].input == "x" * 3_000_000

    @pytest.mark.parametrize("data", [b"", b"\0\xff" * 10, b"x" * 1_000_000])
    def test_a_blob_comes_back_by_its_reference(self, store: RunStore, data: bytes) -> None:
        ref = store.put_blob(data)
        assert store.put_blob(data) == ref
        assert store.put_blob(data + b"!") != ref
        assert store.get_blob(ref) == data

    @pytest.mark.parametrize("ref", ["", "nothing", "t1:" + "0" * 32])
    def test_a_missing_blob_is_a_key_error(self, store: RunStore, ref: str) -> None:
        with pytest.raises(KeyError):
            store.get_blob(ref)

    def test_closing_twice_does_nothing(self, store: RunStore) -> None:
        store.close()
        store.close()


class _ClearingContract:
    """Tests of clearing a run."""

    def test_a_cleared_run_is_gone(self, store: RunStore) -> None:
        made = store.save_snapshot(snapshot("a"))
        store.append(made.run_id, [done(1, artifact("a")), note(2)], epoch=0)
        store.clear_run(made.run_id)
        assert list(store.events(made.run_id)) == []
        assert list(store.case_events(made.run_id, 0, 9)) == []
        assert list(store.runs()) == []
        assert not store.lookup([key("a")])
        with pytest.raises(RunNotFoundError):
            store.load_snapshot(made.run_id)

    def test_a_cleared_run_can_begin_again(self, store: RunStore) -> None:
        made = store.save_snapshot(snapshot("a"))
        store.append(made.run_id, [done(1, artifact("a", "old"))], epoch=0)
        store.clear_run(made.run_id)
        store.save_snapshot(made)
        assert store.append(made.run_id, [done(1, artifact("a", "new"))], epoch=0) in ([], ())
        assert store.lookup([key("a")])[key("a")].payload == {"value": "new"}

    def test_clearing_a_run_that_is_not_there_does_nothing(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a"))], epoch=0)
        store.clear_run(OTHER_RUN)
        assert len(list(store.events(RUN))) == 1

    def test_clearing_keeps_artifacts_that_other_runs_refer_to(self, store: RunStore) -> None:
        big = "x" * 200_000
        store.append(RUN, [done(1, artifact("a", big)), done(2, artifact("b", big))], epoch=0)
        store.append(OTHER_RUN, [reused(1, "a")], epoch=0)
        store.clear_run(RUN)
        (event,) = store.events(OTHER_RUN)
        assert event.artifact is not None
        assert event.artifact.payload == {"value": big}
        assert event.artifact.run_id is None
        assert set(store.lookup([key("a"), key("b")])) == {key("a")}

    def test_clearing_keeps_the_very_version_that_is_referred_to(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
        store.append(OTHER_RUN, [reused(1, "a")], epoch=0)
        store.append(RUN, [done(2, artifact("a", "second", supersedes=True))], epoch=0)
        store.clear_run(RUN)
        assert store.lookup([key("a")])[key("a")].payload == {"value": "first"}
        assert [event.version for event in store.events(OTHER_RUN)] == [0]

    def test_a_later_version_that_is_kept_still_stands(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
        later = done(1, artifact("a", "second", supersedes=True))
        store.append(OTHER_RUN, [later], epoch=0)
        store.clear_run(RUN)
        assert store.append(RUN, [done(1, artifact("a", "third"))], epoch=0) == [key("a")]
        (event,) = store.events(RUN)
        assert event.artifact is not None
        assert event.artifact.payload == {"value": "second"}
        assert event.version == later.version == 1

    def test_clearing_keeps_cases_of_other_snapshots(self, store: RunStore) -> None:
        first = store.save_snapshot(snapshot("a", ["t1:shared", "t1:own"]))
        store.save_snapshot(snapshot("b", ["t1:shared"]))
        store.save_cases("t1:shared", 0, [stored_case("s")])
        store.save_cases("t1:own", 0, [stored_case("s"), stored_case("o")])
        store.clear_run(first.run_id)
        assert [case.case_id for _, case in store.cases("t1:shared", 0, 9)] == ["s"]
        assert list(store.cases("t1:own", 0, 9)) == []

    def test_clearing_leaves_blobs_that_were_put(self, store: RunStore) -> None:
        ref = store.put_blob(b"evidence")
        store.append(RUN, [note(1)], epoch=0)
        store.clear_run(RUN)
        assert store.get_blob(ref) == b"evidence"

    def test_a_cleared_run_is_free_and_its_former_owner_stays_out(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        store.append(RUN, [note(1)], epoch=first.epoch)
        store.clear_run(RUN)
        with pytest.raises(LeaseLostError):
            store.append(RUN, [note(2)], epoch=first.epoch)
        assert store.lease(RUN, owner(2), 60).epoch > first.epoch
        assert list(store.events(RUN)) == []


class StoreContract(JournalContract, _KeepingContract, LeaseContract, _ClearingContract):
    """All tests that a store must pass; subclass it and override ``make_store``.

    Attributes:
        durable: whether the data outlive the store object. The suite of a durable store also
            overrides ``reopen``.
    """

    durable: ClassVar[bool] = False

    def make_store(self) -> RunStore:
        """Return a new, empty store; the suite initializes and closes it."""
        raise NotImplementedError

    def reopen(self, store: RunStore) -> RunStore:
        """Close a durable store and return a new one over the same data."""
        raise NotImplementedError

    @pytest.fixture
    def store(self) -> Iterator[RunStore]:
        """The store under test."""
        made = self.make_store()
        made.initialize()
        yield made
        made.close()

    def test_what_was_kept_is_there_after_reopening(self, store: RunStore) -> None:
        if not self.durable:
            pytest.skip("not a durable store")
        made = store.save_snapshot(snapshot("a"))
        lease = store.lease(made.run_id, owner(1), 60)
        store.append(made.run_id, [note(1), done(2, artifact("a"))], epoch=lease.epoch)
        store.save_cases("t1:data", 0, [stored_case("a")])
        ref = store.put_blob(b"bytes")
        before = [facts(event) for event in store.events(made.run_id)]
        again = self.reopen(store)
        again.initialize()
        try:
            assert again.load_snapshot(made.run_id) == made
            assert [facts(event) for event in again.events(made.run_id)] == before
            assert [case.case_id for _, case in again.cases("t1:data", 0, 1)] == ["a"]
            assert again.get_blob(ref) == b"bytes"
            with pytest.raises(RunOwnedError):
                again.lease(made.run_id, owner(2), 60)
        finally:
            again.close()
