"""A network file system is known for one, and there the file is one process's at a time.

Covers: themis.stores.filesystems, themis.stores.sqlite_database
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from themis.core.errors import DefinitionError, StoreUnavailableError
from themis.core.store import RunStore
from themis.stores import SqliteRunStore, sqlite_database, sqlite_store
from themis.stores.filesystems import network_filesystem
from themis.testing import StoreContract
from themis.testing.store_samples import RUN, artifact, done, note

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 27 0:40 / /home rw,nosuid shared:3 master:2 - nfs4 filer:/home rw,vers=4.2
31 30 259:1 / /home/ann/scratch rw - xfs /dev/nvme0n1p1 rw
32 27 0:41 / /mnt/my\040share rw - cifs //filer/share rw
33 27 0:42 / /mnt/a\134b rw - 9p share rw
34 27 0:43 / /mnt/ssh rw - fuse.sshfs ann@host:/ rw
35 27 0:44 / /mnt/quobyte rw - fuse.quobyte@registry/volume quobyte rw
36 27 0:45 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw
37 27 0:46 / /mnt/encrypted rw - fuse.gocryptfs /plain rw
38 27 0:47 / /auto rw - autofs auto.home rw
39 38 0:48 / /auto rw - nfs filer:/auto rw
40 27 0:49 / /lustre rw - lustre mds@tcp:/fs rw
41 27 0:50 / /local-again rw - nfs filer:/x rw
42 41 254:0 /var /local-again rw - ext4 /dev/root rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/runs.db", None),
        ("/runs.db", None),
        ("/home/ann/runs.db", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/runs.db", None),
        ("/home/ann/scratch/runs.db", None),
        ("/home/ann/scratches/runs.db", "nfs4"),
        ("/mnt/my share/deep/er/runs.db", "cifs"),
        ("/mnt/a\\b/runs.db", "9p"),
        ("/mnt/ssh/runs.db", "fuse.sshfs"),
        ("/mnt/quobyte/runs.db", "fuse.quobyte@registry/volume"),
        ("/mnt/ntfs/runs.db", None),
        ("/mnt/encrypted/runs.db", None),
        ("/auto/runs.db", "nfs"),
        ("/lustre/runs.db", "lustre"),
        ("/local-again/runs.db", None),
    ],
)
def test_the_deepest_and_latest_mount_says_whether_a_path_is_another_machines(
    path: str, kind: str | None
) -> None:
    assert network_filesystem(path, mounts=MOUNTS) == kind


def test_a_link_is_followed_to_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    point = str(tmp_path / "far").replace("\\", r"\134").replace(" ", r"\040")
    mounts = f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {point} rw - nfs x rw"
    assert network_filesystem(str(tmp_path / "near" / "runs.db"), mounts=mounts) == "nfs"
    assert network_filesystem(str(tmp_path / "runs.db"), mounts=mounts) is None


def test_where_there_is_no_table_of_mounts_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("themis.stores.filesystems.MOUNTS", str(tmp_path / "absent"))
    assert network_filesystem(str(tmp_path / "runs.db")) is None


def _mode(path: Path) -> str:
    """Return the journal mode that the file's header tells."""
    return {b"\1\1": "rollback", b"\2\2": "wal"}[path.read_bytes()[18:20]]


class TestSqliteRunStoreWithARollbackJournal(StoreContract):
    durable = True

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_store(self) -> RunStore:
        return SqliteRunStore(self.folder / "runs.db", synchronous="off", journal="rollback")

    def reopen(self, store: RunStore) -> RunStore:
        store.close()
        return self.make_store()


def test_on_a_network_file_system_one_process_has_the_file_and_the_next_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "network_filesystem", lambda path: "nfs4")
    path = tmp_path / "runs.db"
    store = sqlite_store(path)
    store.append(RUN, [done(1, artifact("a"))], epoch=0)
    assert _mode(path) == "rollback"
    assert not path.with_name("runs.db-shm").exists()  # nothing that a second machine had to share
    with pytest.raises(StoreUnavailableError) as caught:
        sqlite_store(path, busy_timeout=0.05)
    assert "locked for 0.05 seconds" in str(caught.value)
    assert "it lies on a network file system, nfs4, where one at a time may use it" in str(
        caught.value
    )
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(path, timeout=0).execute("SELECT * FROM runs")
    store.append(RUN, [note(2)], epoch=0)
    store.close()
    with_it = sqlite_store(path, busy_timeout=0.05)
    assert [event.seq for event in with_it.events(RUN)] == [1, 2]
    with_it.close()


def test_a_store_moves_from_one_kind_of_place_to_the_other_and_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    for number, journal in enumerate(("wal", "rollback", "auto"), start=1):
        store = sqlite_store(path, journal=journal)  # type: ignore[arg-type]
        store.append(RUN, [note(number)], epoch=0)
        assert [event.seq for event in store.events(RUN)] == list(range(1, number + 1))
        store.close()
        assert _mode(path) == ("rollback" if journal == "rollback" else "wal")


def test_what_a_killed_process_left_in_the_log_is_there_under_the_rollback_journal(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "runs.db", tmp_path / "copy.db"
    store = sqlite_store(path)
    store.append(RUN, [note(1)], epoch=0)
    for suffix in ("", "-wal"):  # as a kill leaves them: the log not taken over into the file
        copy.with_name(f"copy.db{suffix}").write_bytes(
            path.with_name(f"runs.db{suffix}").read_bytes()
        )
    store.close()
    moved = sqlite_store(copy, journal="rollback")
    assert [event.seq for event in moved.events(RUN)] == [1]
    moved.close()


def test_a_journal_of_another_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="did you mean 'rollback'"):
        SqliteRunStore(tmp_path / "runs.db", journal="rolback")  # type: ignore[arg-type]
