"""One process works on a run at a time; who waits its turn gets it once it is free.

Covers: themis.execution.lease, themis.execution.owners, themis.execution.signals
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.namespaces import unshare
from tests.support.runs import UnreliableStore, experiment
from themis import InMemoryRunStore, SqliteRunStore, evaluate
from themis.core.base import RunId
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, LeaseLostError, RunOwnedError, StoreUnavailableError
from themis.core.store import Lease, Owner, RunStore
from themis.execution import lease as lease_module
from themis.execution import owners
from themis.execution.lease import acquire, held, wait_and_acquire
from themis.execution.owners import is_alive, is_same, this_process
from themis.execution.signals import Stopper
from themis.testing import ScriptedGenerator
from themis.testing.store_samples import note

RUN = RunId("0" * 32)
FAR = Owner(
    host="far-away", boot_id="b", pid=1, process_start="then", pid_namespace="p", user="ada"
)
HOUR = 3_600.0
CLOCKS = pytest.mark.parametrize("wrong", [-HOUR, HOUR, 240 * HOUR])


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/ns/pid").exists(), reason="there is no /proc, which tells of a process"
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    kept: RunStore = InMemoryRunStore()
    if request.param == "sqlite":
        kept = SqliteRunStore(tmp_path / "runs.db")
    yield kept
    kept.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the silence that tells of an owner's end a short one."""
    monkeypatch.setattr(lease_module, "TTL", 0.1)
    monkeypatch.setattr(lease_module, "_POLL", 0.005)


def put_clock_wrong(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + by)


def test_an_owner_elsewhere_is_named_with_all_that_is_known_of_it(store: RunStore) -> None:
    store.lease(RUN, FAR, 20)
    with pytest.raises(RunOwnedError) as caught:
        acquire(store, RUN)
    assert caught.value.lease.owner == FAR
    assert re.fullmatch(
        rf"run {RUN} is being worked on by process 1 on far-away since 20[-: \d]+ UTC; it \(user "
        r"ada\) holds the run until 20[-: \d]+ UTC, or longer if it lives; where it surely does "
        r"not: themis run --take-over, or take_over=True; wait for it .*--wait.*, or stop it",
        str(caught.value),
    )


@needs_proc
def test_only_who_is_surely_gone_is_taken_for_gone() -> None:
    me = this_process()
    assert is_alive(me) is True
    assert is_alive(replace(me, host="renamed-meanwhile")) is True
    assert is_alive(replace(me, process_start="another time")) is False
    assert is_alive(replace(me, host="elsewhere", boot_id="b", process_start="then")) is None
    # A container beside this one, on the same host: its pids are not ours to ask after.
    assert is_alive(replace(me, pid_namespace="pid:[1]", process_start="then")) is None
    assert is_alive(replace(me, pid=2**40)) is None


@needs_proc
def test_a_machine_that_was_started_again_is_known_by_its_id_and_not_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me = replace(this_process(), machine="m")
    monkeypatch.setattr(owners, "this_process", lambda: me)
    assert is_alive(replace(me, boot_id="before")) is False
    assert is_alive(replace(me, boot_id="before", machine="another")) is None
    nameless = replace(me, machine="")
    monkeypatch.setattr(owners, "this_process", lambda: nameless)
    assert is_alive(replace(nameless, boot_id="before")) is None


def test_where_the_system_tells_nothing_nobody_is_taken_for_gone_or_for_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = this_process()
    monkeypatch.setattr(owners, "_PROC", tmp_path)
    me = this_process()
    assert (me.boot_id, me.pid_namespace) == ("", "")
    assert me == this_process()
    for other in (ours, replace(me, pid=2**21), replace(me, process_start="another")):
        assert is_alive(other) is None
        assert not is_same(me, other)
    assert is_same(me, this_process())


@needs_proc
def test_a_process_of_another_user_that_proc_hides_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me = this_process()
    began = owners._began
    monkeypatch.setattr(owners, "_began", lambda pid: began(pid) if pid == "self" else None)

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(me) is None


def started(*before: str) -> tuple[subprocess.Popen[str], Owner]:
    """Start a process that lives until it is told a line, and return it as an owner."""
    program = (
        "import json; from dataclasses import asdict; from themis.execution.owners import *;"
        "print(json.dumps(asdict(this_process())), flush=True); input()"
    )
    other = subprocess.Popen(
        [*before, sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert other.stdout is not None
    return other, Owner(**json.loads(other.stdout.readline()))


@needs_proc
@CLOCKS
def test_another_process_is_gone_once_it_has_ended_and_no_sooner_whatever_the_clocks_say(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    other, owner = started()
    assert (owner.host, owner.pid) == (this_process().host, other.pid)
    store.lease(RUN, owner, 20)
    put_clock_wrong(monkeypatch, wrong)
    other.send_signal(signal.SIGSTOP)  # who is stopped lives
    with pytest.raises(RunOwnedError, match=f"process {other.pid} on .* it is alive"):
        acquire(store, RUN)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # and nobody has asked how it ended
    assert is_alive(owner) is False
    assert acquire(store, RUN).epoch == 2
    other.communicate()
    assert is_alive(owner) is False


def test_a_process_with_another_host_name_is_asked_after_like_any_other() -> None:
    other, owner = started(*unshare("--uts"), "sh", "-c", 'hostname other-name; exec "$@"', "sh")
    assert owner.host == "other-name"
    assert is_alive(owner) is True
    other.communicate("\n", timeout=60)
    assert is_alive(owner) is False


@pytest.mark.parametrize(
    ("kinds", "seen"),
    [
        ("--pid --fork", True),
        ("--pid --fork --mount-proc", True),
        ("--time --boottime 100000 --fork", None),  # its beginning reads otherwise there
    ],
)
def test_a_process_in_another_namespace_is_alive_while_it_is_seen_and_never_surely_gone(
    kinds: str, seen: bool | None
) -> None:
    other, owner = started(*unshare(*kinds.split()))
    assert is_alive(owner) is seen
    assert is_alive(replace(owner, process_start="another")) is None
    other.communicate("\n", timeout=60)
    assert is_alive(owner) is None


@pytest.mark.parametrize(
    ("proc", "told"),
    [
        ("", ["True", "True", "None", "False"]),  # the one of outside shows it under another pid
        ("mount -t proc proc /proc;", ["True", "True", "False", "False"]),
        ("mount -t tmpfs none /proc;", ["None", "None", "None", "None"]),
    ],
    ids=["proc of outside", "proc of its own", "none"],
)
def test_within_a_namespace_of_its_own_nobody_alive_is_taken_for_gone(
    proc: str, told: list[str]
) -> None:
    program = """
import os, signal, time
from dataclasses import replace
from themis.execution.owners import is_alive, this_process
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, repr(this_process()).encode())
    time.sleep(60)
from themis.core.store import Owner
beside = eval(os.read(reading, 10_000))
print(is_alive(this_process()), is_alive(beside), is_alive(replace(beside, process_start="then")))
os.kill(child, 9); os.waitpid(child, 0)
print(is_alive(beside))
"""
    shell = ["sh", "-c", f'{proc} exec "$@"', "sh"]
    ended = subprocess.run(
        [*unshare("--pid", "--mount", "--fork"), *shell, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert ended.stdout.split() == told


@CLOCKS
async def test_an_owner_that_cannot_be_asked_after_is_given_up_after_its_silence_alone(
    store: RunStore, quick: None, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    with monkeypatch.context() as elsewhere:
        put_clock_wrong(elsewhere, wrong)
        held = store.lease(RUN, FAR, lease_module.TTL)
    began = time.monotonic()
    lease = await asyncio.to_thread(acquire, store, RUN)
    assert lease.epoch == held.epoch + 1
    assert time.monotonic() - began >= 0.1


@CLOCKS
async def test_an_owner_elsewhere_that_gives_a_sign_of_life_is_never_put_out(
    store: RunStore, quick: None, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    with monkeypatch.context() as elsewhere:
        put_clock_wrong(elsewhere, wrong)
        held = store.lease(RUN, FAR, lease_module.TTL)
    monkeypatch.setattr(lease_module, "TTL", 60.0)
    looks = 0

    def look_and_renew(*args: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 4:
            store.renew(held, lease_module.TTL)
        return take(*args, **more)

    take = store.lease
    monkeypatch.setattr(store, "lease", look_and_renew)
    with pytest.raises(RunOwnedError, match="far-away"):
        acquire(store, RUN)
    assert looks >= 4
    assert store.renew(held, 1.0).epoch == held.epoch


def test_time_in_which_nobody_looked_is_not_an_owners_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    silence = lease_module._Silence()
    lease = InMemoryRunStore().lease(RUN, FAR, 20)
    assert silence.after(lease) == 0
    for later, heard in ((0.5, 0.5), (1_000.5, 1.5), (1_001.0, 2.0)):
        now = later
        assert silence.after(lease) == heard
    assert not silence.was_broken
    assert silence.after(replace(lease, beat=1)) == 0
    assert silence.was_broken


@needs_proc
async def test_who_is_surely_dead_by_the_users_word_is_put_out_at_once_and_writes_no_more(
    store: RunStore,
) -> None:
    former = store.lease(RUN, FAR, 20)
    wanted = {"wait": 0.0, "stopper": Stopper(), "take_over": True}
    lease = await wait_and_acquire(store, RUN, **wanted)
    assert lease is not None
    with pytest.raises(LeaseLostError):
        store.append(RUN, [note(1)], epoch=former.epoch)
    with held(store, lease), pytest.raises(RunOwnedError, match="it is alive"):
        await wait_and_acquire(store, RUN, **wanted)  # but not who is seen to run
    other, owner = started()
    store.lease(RUN, owner, 20)
    with pytest.raises(RunOwnedError, match="it is alive"):
        await wait_and_acquire(store, RUN, **wanted)
    other.communicate("\n", timeout=60)


def test_a_lease_is_renewed_for_as_long_as_it_is_held_and_given_back_at_the_end(
    store: RunStore, quick: None
) -> None:
    with held(store, store.lease(RUN, FAR, 20)) as heartbeat:
        while (beat := owner_of_run(store).beat) < 2:
            assert heartbeat.lost is None
    assert store.lease(RUN, FAR, 20).epoch == 2
    time.sleep(0.2)
    assert owner_of_run(store).beat == 0 < beat


def owner_of_run(store: RunStore) -> Lease:
    with pytest.raises(RunOwnedError) as caught:
        store.lease(RUN, replace(FAR, pid=2), 20)
    found: Lease = caught.value.lease
    return found


async def test_a_run_that_is_lost_while_it_asks_is_stopped_without_a_further_call_or_event(
    store: RunStore, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("themis.execution.journal._GLANCE", 0.01)
    asked = asyncio.Event()

    async def wait_in_vain() -> None:
        asked.set()
        await asyncio.sleep(3_600)

    generator = ScriptedGenerator(wait=wait_in_vain)
    one = experiment(generator, max_concurrent_tasks=1)
    task = asyncio.create_task(one.run_async(store=store))
    await asked.wait()
    run_id = one.compile().run_id
    put_out(store, run_id)
    before = [event.seq for event in store.events(run_id)]
    with pytest.raises(LeaseLostError, match="nothing was written"):
        await task
    assert [event.seq for event in store.events(run_id)] == before
    assert generator.count() == 1
    with pytest.raises(RunOwnedError, match="far-away"):  # whose run it stays
        store.lease(run_id, this_process(), 20)


def put_out(store: RunStore, run_id: RunId) -> None:
    """Take a run from its owner, who renews its lease all the time."""
    found = None
    while True:
        try:
            store.lease(run_id, FAR, 20, takeover=found)
        except RunOwnedError as error:
            found = error.lease
        else:
            return


async def test_who_waits_gets_the_run_once_it_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("themis.execution.lease._POLL", 0.001)
    store = InMemoryRunStore()
    held = store.lease(RUN, FAR, 20)
    waiting = asyncio.create_task(wait_and_acquire(store, RUN, wait=None, stopper=Stopper()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    store.release(held)
    lease = await waiting
    assert lease is not None
    assert lease.epoch == held.epoch + 1


async def test_who_waited_as_long_as_it_was_to_is_refused() -> None:
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 20)
    with pytest.raises(RunOwnedError, match="far-away"):
        await wait_and_acquire(store, RUN, wait=0.01, stopper=Stopper())


async def test_who_is_stopped_while_it_waits_waits_no_longer() -> None:
    store = InMemoryRunStore()
    store.lease(RUN, FAR, 20)
    stopper = Stopper()
    waiting = asyncio.create_task(wait_and_acquire(store, RUN, wait=None, stopper=stopper))
    await asyncio.sleep(0)
    stopper.request()
    assert await waiting is None


def test_evaluate_takes_over_as_well_and_refuses_what_is_neither_yes_nor_no(
    store: RunStore,
) -> None:
    parts: Any = {"model": ScriptedGenerator(), "data": [{"input": 1, "expected_output": 1}]}
    parts |= {"metric": "builtin/exact_match", "store": store, "progress": False}
    run_id = evaluate(**parts).run_id
    store.lease(run_id, FAR, 20)
    with pytest.raises(RunOwnedError, match="far-away"):
        evaluate(**parts)
    assert evaluate(**parts, take_over=True).status == "completed"
    with pytest.raises(DefinitionError, match="take_over is str; it must be True or False"):
        evaluate(**parts, take_over="yes")


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


async def test_a_run_that_a_failed_release_left_held_is_taken_up_at_once_by_its_own_process() -> (
    None
):
    store = UnreliableStore({"append": 1_000_000, "release": 1_000_000})
    generator = ScriptedGenerator()
    one = experiment(generator, store_retry_attempts=2)
    with pytest.raises(StoreUnavailableError):
        await one.run_async(store=store)
    store.outages.clear()
    started, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await release.wait()

    generator._wait = wait
    task = asyncio.create_task(one.run_async(store=store))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert started.is_set()
    with pytest.raises(RunOwnedError):  # but an open run is never taken over
        await one.run_async(store=store)
    release.set()
    assert (await task).status == "completed"
    assert (await one.run_async(store=store)).status == "completed"
