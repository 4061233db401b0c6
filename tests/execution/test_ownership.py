"""One process works on a run at a time; who waits its turn gets it once it is free."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.runs import experiment
from themis import InMemoryRunStore
from themis.core.base import RunId
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, RunOwnedError
from themis.core.kept import Owner
from themis.execution import ownership
from themis.execution.ownership import is_gone, take, take_in_turn, this_process
from themis.execution.stopping import Stopper
from themis.testing import ScriptedGenerator

RUN = RunId("0" * 32)
FAR = Owner(host="far-away", boot_id="b", pid=1, process_start="then", pid_namespace="pid:[1]")


def test_an_owner_elsewhere_is_named_and_taken_over_only_once_its_lease_is_over() -> None:
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 60)
    with pytest.raises(RunOwnedError, match="process 1 on far-away since") as caught:
        take(store, RUN)
    assert "--wait" in str(caught.value)
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 0.0)
    assert take(store, RUN).epoch == 2


def test_only_who_is_surely_gone_is_taken_for_gone() -> None:
    me = this_process()
    assert not is_gone(me)
    assert is_gone(replace(me, process_start="another time"))
    assert is_gone(replace(me, boot_id="before the machine was started again"))
    assert not is_gone(replace(me, host="elsewhere", process_start="another time"))
    # A container beside this one, on the same host: its pids are not ours to ask after.
    assert not is_gone(replace(me, pid_namespace="pid:[1]", process_start="another time"))


def test_a_lease_of_before_there_were_namespaces_is_waited_for() -> None:
    old = replace(this_process(), pid_namespace="", process_start="another time")
    assert is_gone(old) is (this_process().pid_namespace == "")


async def test_who_waits_gets_the_run_once_it_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "_POLL", 0.001)
    store = InMemoryRunStore()
    held = store.lease(RUN, FAR, 3_600)
    waiting = asyncio.create_task(take_in_turn(store, RUN, wait=None, stopper=Stopper()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    store.release(held)
    lease = await waiting
    assert lease is not None
    assert lease.epoch == held.epoch + 1


async def test_who_waits_gets_the_run_once_its_lease_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "_POLL", 0.001)
    store = InMemoryRunStore()
    held = store.lease(RUN, FAR, 0.05)
    lease = await take_in_turn(store, RUN, wait=None, stopper=Stopper())
    assert lease is not None
    assert lease.epoch == held.epoch + 1
    assert time.time() >= held.expires


async def test_who_waited_as_long_as_it_was_to_is_refused() -> None:
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 3_600)
    with pytest.raises(RunOwnedError, match="far-away"):
        await take_in_turn(store, RUN, wait=0.01, stopper=Stopper())


async def test_who_is_stopped_while_it_waits_waits_no_longer() -> None:
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 3_600)
    stopper = Stopper()
    waiting = asyncio.create_task(take_in_turn(store, RUN, wait=None, stopper=stopper))
    await asyncio.sleep(0)
    stopper.request()
    assert await waiting is None


async def test_the_same_run_twice_at_once_is_done_once_where_the_second_waits(
    tmp_path: Path,
) -> None:
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0.001))
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    both = [experiment(generator, cases=20, storage=storage, owner_wait=None) for _ in range(2)]
    first, second = await asyncio.gather(*(one.run_async() for one in both))
    assert first.run_id == second.run_id
    assert generator.count() == 20
    assert list(first.score_rows()) == list(second.score_rows())
    for one in both:
        one.store.close()


def test_a_wait_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"owner_wait = -1.0: must not be negative"):
        experiment(owner_wait=-1.0)
