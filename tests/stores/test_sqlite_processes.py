"""Several processes use one SQLite file, and any of them may be killed at any moment.

Covers: themis.stores.sqlite, themis.stores.sqlite_database, themis.stores.sqlite_holders
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from themis.core.base import RunId
from themis.core.errors import (
    LeaseLostError,
    RunNotFoundError,
    RunOwnedError,
    StoreUnavailableError,
)
from themis.stores import SqliteRunStore, sqlite_holders, sqlite_store
from themis.testing.store_samples import (
    OTHER_RUN,
    RUN,
    artifact,
    done,
    key,
    note,
    owner,
    snapshot,
    stored_case,
)

ROOT = str(Path(__file__).resolve().parents[2])


def _python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


def _assert_sound(path: Path) -> None:
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


_WRITER = """
import sys
from themis.core.base import RunId
from themis.stores import sqlite_store
from themis.testing.store_samples import artifact, done

path, run, batches, shared = sys.argv[1], RunId(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
store = sqlite_store(path)
for batch in range(batches):
    events = []
    for n in range(50):
        seq = batch * 50 + n + 1
        name = f"shared {seq}" if shared == "shared" else f"{run} {seq}"
        events.append(done(seq, artifact(name, run), case_index=seq))
    lost = store.append(run, events, epoch=0)
    print(batch + 1, flush=True)
"""


def _finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output


@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_writer_leaves_whole_batches_and_a_sound_file(
    tmp_path: Path, attempt: int
) -> None:
    path = tmp_path / "runs.db"
    process = _python(_WRITER, path, RUN, 100_000, "own")
    assert process.stdout is not None
    said = 0
    for line in process.stdout:
        said = int(line)
        if said >= 5 + attempt * 7:
            break
    process.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()
    process.stdout.close()
    _assert_sound(path)
    store = sqlite_store(path)
    events = list(store.events(RUN))
    assert len(events) % 50 == 0
    assert len(events) >= said * 50
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(event.artifact is not None for event in events)
    store.append(RUN, [note(len(events) + 1)], epoch=0)
    store.close()


def test_two_processes_append_to_two_runs_in_one_new_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writers = [_python(_WRITER, path, run, 20, "own") for run in (RUN, OTHER_RUN)]
    for writer in writers:
        _finish(writer)
    store = sqlite_store(path)
    for run in (RUN, OTHER_RUN):
        assert [event.seq for event in store.events(run)] == list(range(1, 1001))
    store.close()
    _assert_sound(path)


def test_of_two_processes_with_the_same_keys_both_go_on_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writers = [_python(_WRITER, path, run, 20, "shared") for run in (RUN, OTHER_RUN)]
    for writer in writers:
        _finish(writer)
    store = sqlite_store(path)
    pairs = zip(store.events(RUN), store.events(OTHER_RUN), strict=True)
    for one, other in pairs:
        assert one.artifact is not None
        assert other.artifact is not None
        assert one.artifact.raw == other.artifact.raw
        assert one.artifact.run_id in (RUN, OTHER_RUN)
    store.close()


def test_many_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    code = "import sys; from themis.stores import sqlite_store; sqlite_store(sys.argv[1]).close()"
    for opener in [_python(code, path) for _ in range(6)]:
        _finish(opener)
    _assert_sound(path)
    store = sqlite_store(path)
    store.append(RUN, [note(1)], epoch=0)
    store.close()


_STOPPED = """
import os, signal, sys
from themis.core.base import RunId
from themis.core.store import Owner
from themis.stores import sqlite_store
from themis.testing.store_samples import RUN

store = sqlite_store(sys.argv[1])
store.lease(RUN, Owner(host="this-one", boot_id="b", pid=os.getpid(), process_start="then"), 60)
with store._database.writing() as db:
    db.execute("DELETE FROM blobs")
    print("in the midst", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system tells of no lock's holder")
@pytest.mark.parametrize("journal", ["wal", "rollback"])
def test_who_waits_in_vain_for_a_stopped_process_is_told_which_it_is_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Any
) -> None:
    path = tmp_path / "runs.db"
    code = _STOPPED.replace("sys.argv[1]", f"sys.argv[1], journal='{journal}'")
    stopped = _python(code, path)
    assert stopped.stdout is not None
    stopped.stdout.readline()
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
    store = SqliteRunStore(path, busy_timeout=0.05, journal=journal)
    try:
        with pytest.raises(StoreUnavailableError) as caught:
            store.append(RUN, [note(1)], epoch=1)
        assert re.fullmatch(
            rf"store '{path}': process {stopped.pid}, which is stopped, has kept it locked for "
            rf"0.05 seconds.*; continue it \(kill -CONT {stopped.pid}\) or end it",
            str(caught.value),
        )
        if journal == "wal":  # and whoever wants its run is told its owner, without any wait
            with pytest.raises(RunOwnedError) as refused:
                store.lease(RUN, owner(2), 60)
            assert refused.value.lease.owner.pid == stopped.pid
        monkeypatch.setattr(sqlite_holders, "_LOCKS", tmp_path / "no such file")
        with pytest.raises(StoreUnavailableError) as caught:
            store.append(RUN, [note(1)], epoch=1)
        named = "" if journal == "rollback" else rf" \(at work in it: process {stopped.pid} on this"
        assert re.search(f"another process{named}.* has kept it locked for", str(caught.value))
    finally:
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate(timeout=60)
    store.append(RUN, [note(1)], epoch=1)
    store.close()


def test_an_owner_that_lost_its_lease_to_another_process_is_stopped_by_its_next_append(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    one, two = sqlite_store(path), sqlite_store(path)
    lease = one.lease(RUN, owner(1), 60)
    one.append(RUN, [note(1)], epoch=lease.epoch)
    taken = two.lease(RUN, owner(2), 60, takeover=lease)
    with pytest.raises(LeaseLostError, match=f"epoch {taken.epoch}"):
        one.append(RUN, [note(2)], epoch=lease.epoch)
    with pytest.raises(LeaseLostError):
        one.renew(lease, 60)
    two.append(RUN, [note(2)], epoch=taken.epoch)
    one.close()
    two.close()


def test_a_run_cleared_by_another_process_is_written_anew(tmp_path: Path) -> None:
    one, two = sqlite_store(tmp_path / "runs.db"), sqlite_store(tmp_path / "runs.db")
    one.append(RUN, [done(1, artifact("a"))], epoch=0)
    list(one.events(RUN))
    two.clear_run(RUN)
    two.append(OTHER_RUN, [done(1, artifact("b"))], epoch=0)
    one.append(RUN, [done(1, artifact("a"))], epoch=0)
    (event,) = two.events(RUN)
    assert event.artifact is not None
    assert event.artifact.run_id == RUN
    assert [e.key for e in one.events(OTHER_RUN)] == [key("b")]
    one.close()
    two.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    code = """
import os, sys
from themis.stores import sqlite_store
from themis.testing.store_samples import OTHER_RUN, RUN, note
store = sqlite_store(sys.argv[1])
store.append(RUN, [note(1)], epoch=0)
reading = store._database.reading()
reading.__enter__()  # the child must not wait for a lock that its parent holds
child = os.fork()
if child == 0:
    store.append(OTHER_RUN, [note(1)], epoch=0)
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
reading.__exit__(None, None, None)
store.append(RUN, [note(2)], epoch=0)
print(len(list(store.events(RUN))), len(list(store.events(OTHER_RUN))))
"""
    assert _finish(_python(code, tmp_path / "runs.db")).split() == ["2", "1"]


_READS: dict[str, Callable[[SqliteRunStore], object]] = {
    "runs": lambda store: store.runs(),
    "load_snapshot": lambda store: store.load_snapshot(snapshot("first").run_id),
    "load_snapshot, before it is there": lambda store: _refused(store, snapshot("n 0").run_id),
    "events": lambda store: list(store.events(RUN)),
    "case_events": lambda store: list(store.case_events(RUN, 0, 9)),
    "cases": lambda store: list(store.cases("t1:data", 0, 9)),
    "cases, before they are there": lambda store: list(store.cases("t1:n 0", 0, 9)),
    "damages": lambda store: list(store.damages()),
}


def _refused(store: SqliteRunStore, run_id: RunId) -> None:
    with suppress(RunNotFoundError):
        store.load_snapshot(run_id)


@pytest.mark.parametrize("read", _READS)
def test_what_others_write_between_two_statements_of_a_read_is_no_damage(
    tmp_path: Path, read: str
) -> None:
    path = tmp_path / "runs.db"
    writer = SqliteRunStore(path, synchronous="off")
    writer.save_snapshot(snapshot("first"))
    writer.save_cases("t1:data", 0, [stored_case("a")])
    writer.append(RUN, [done(1, artifact("a"), case_index=0)], epoch=0)
    written: list[int] = []

    def write(_: str) -> None:
        n = len(written)
        if n == 40:  # else a look through everything would never end
            return
        written.append(n)
        writer.save_snapshot(snapshot(f"n {n}"))
        writer.save_cases(f"t1:n {n}", 0, [stored_case("b")])
        writer.save_cases("t1:data", n + 1, [stored_case(f"c {n}")])
        writer.append(RUN, [done(n + 2, artifact(f"b {n}"), case_index=n + 1)], epoch=0)

    reader = SqliteRunStore(path)
    with reader._database.reading() as db:
        db.set_trace_callback(write)

    found = _READS[read](reader)

    db.set_trace_callback(None)
    assert len(written) > 3
    assert read != "damages" or found == []
    reader.close()
    writer.close()
