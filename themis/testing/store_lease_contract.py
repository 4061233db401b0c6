"""The contract suite of stores, on leases: one process holds a run, and no clock takes it away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from themis.core.errors import LeaseLostError, RunOwnedError
from themis.core.store import RunStore
from themis.testing.store_samples import OTHER_RUN, RUN, artifact, done, key, note, owner

HOUR = 3_600.0
CLOCKS = pytest.mark.parametrize("wrong", [-HOUR, HOUR, 240 * HOUR, -400_000 * HOUR])
"""By how many seconds another clock is wrong: hours, ten days, and one that begins in 1980."""


class LeaseContract:
    """Tests of leases."""

    @pytest.fixture
    def set_clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """A function that puts the wall clock wrong by some seconds."""
        right = time.time

        def put_wrong(by: float) -> None:
            monkeypatch.setattr(time, "time", lambda: right() + by)

        return put_wrong

    def test_a_leased_run_is_refused_to_others(self, store: RunStore) -> None:
        mine = replace(owner(1), user="ada", machine="m", pid_namespace="pid:[1]")
        lease = store.lease(RUN, mine, 60)
        with pytest.raises(RunOwnedError) as caught:
            store.lease(RUN, owner(2), 60)
        assert caught.value.lease == lease
        assert caught.value.lease.owner == mine
        assert store.lease(OTHER_RUN, owner(2), 60).owner == owner(2)

    def test_a_lease_says_until_when_it_holds(self, store: RunStore) -> None:
        lease = store.lease(RUN, owner(1), 60)
        assert lease.run_id == RUN
        assert lease.expires == pytest.approx(lease.since + 60)

    def test_a_released_lease_is_replaced_under_a_newer_epoch(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        store.release(first)
        store.release(first)
        assert store.lease(RUN, owner(2), 60).epoch > first.epoch

    def test_a_takeover_names_the_lease_it_replaces(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        with pytest.raises(RunOwnedError):
            store.lease(RUN, owner(2), 60, takeover=replace(first, epoch=first.epoch + 1))
        second = store.lease(RUN, owner(2), 60, takeover=first)
        assert second.epoch > first.epoch
        with pytest.raises(RunOwnedError):  # only one of two can acquire it
            store.lease(RUN, owner(3), 60, takeover=first)

    def test_who_has_renewed_its_lease_since_it_was_looked_at_keeps_it(
        self, store: RunStore
    ) -> None:
        first = store.lease(RUN, owner(1), 60)
        renewed = store.renew(first, 60)
        with pytest.raises(RunOwnedError) as caught:
            store.lease(RUN, owner(2), 60, takeover=first)
        assert caught.value.lease == renewed
        assert store.lease(RUN, owner(2), 60, takeover=renewed).epoch > first.epoch

    def test_renewing_counts_a_beat_and_says_how_much_longer_it_holds(
        self, store: RunStore
    ) -> None:
        lease = store.lease(RUN, owner(1), 0)
        renewed = store.renew(lease, 60)
        assert replace(renewed, beat=lease.beat, expires=lease.expires) == lease
        assert renewed.expires > lease.expires
        assert renewed.beat > lease.beat
        assert store.renew(lease, 60).beat > renewed.beat

    @CLOCKS
    def test_no_clock_takes_a_run_away_or_keeps_it(
        self, store: RunStore, set_clock: Callable[[float], None], wrong: float
    ) -> None:
        lease = store.lease(RUN, owner(1), 0)
        set_clock(wrong)
        with pytest.raises(RunOwnedError):
            store.lease(RUN, owner(2), 60)
        store.append(RUN, [note(1)], epoch=lease.epoch)
        renewed = store.renew(lease, 60)
        assert renewed.beat > lease.beat
        set_clock(0)
        assert store.renew(renewed, 60).beat > renewed.beat
        store.release(lease)
        assert store.lease(RUN, owner(2), 60).epoch > lease.epoch

    @CLOCKS
    def test_who_was_put_out_writes_nothing_more_whatever_its_clock_says(
        self, store: RunStore, set_clock: Callable[[float], None], wrong: float
    ) -> None:
        first = store.lease(RUN, owner(1), 60)
        set_clock(wrong)
        second = store.lease(RUN, owner(2), 60, takeover=first)
        for by in (0.0, wrong):
            set_clock(by)
            with pytest.raises(LeaseLostError):
                store.append(RUN, [note(1)], epoch=first.epoch)
            with pytest.raises(LeaseLostError):
                store.renew(first, 60)
        assert list(store.events(RUN)) == []
        store.append(RUN, [note(1)], epoch=second.epoch)

    def test_a_lost_or_released_lease_cannot_be_renewed(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        second = store.lease(RUN, owner(2), 60, takeover=first)
        with pytest.raises(LeaseLostError):
            store.renew(first, 60)
        store.release(second)
        with pytest.raises(LeaseLostError):
            store.renew(second, 60)

    def test_releasing_a_lost_lease_leaves_the_new_owner_alone(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        store.lease(RUN, owner(2), 60, takeover=first)
        store.release(first)
        with pytest.raises(RunOwnedError):
            store.lease(RUN, owner(3), 60)

    def test_an_append_under_an_old_epoch_appends_nothing(self, store: RunStore) -> None:
        first = store.lease(RUN, owner(1), 60)
        store.append(RUN, [note(1)], epoch=first.epoch)
        second = store.lease(RUN, owner(2), 60, takeover=first)
        with pytest.raises(LeaseLostError):
            store.append(RUN, [note(2), done(3, artifact("a"))], epoch=first.epoch)
        assert [event.seq for event in store.events(RUN)] == [1]
        assert not store.lookup([key("a")])
        store.append(RUN, [note(2)], epoch=second.epoch)

    def test_a_run_that_nobody_leased_takes_epoch_0(self, store: RunStore) -> None:
        store.append(RUN, [note(1)], epoch=0)
        store.lease(RUN, owner(1), 60)
        with pytest.raises(LeaseLostError):
            store.append(RUN, [note(2)], epoch=0)
