"""A store that cannot be written can be read, its log included, and says so where it is written to.

Covers: themis.stores.sqlite_database
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lacking import lacking
from themis.core.errors import StoreUnavailableError
from themis.stores import SqliteRunStore, sqlite_store
from themis.testing.store_samples import RUN, artifact, done, snapshot

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that can be mounted read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        lacking("run the tests as root", "a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(path: Path) -> SqliteRunStore:
    store = sqlite_store(path)
    store.save_snapshot(snapshot("one"))
    store.append(RUN, [done(n, artifact(f"{n}"), case_index=n) for n in range(1, 9)], epoch=0)
    return store


@pytest.mark.parametrize("log", [False, True], ids=["closed", "with its log"])
def test_a_store_on_a_read_only_file_system_is_read_and_not_written(disk: Path, log: bool) -> None:
    path = disk / "runs.db"
    store = _fill(disk.parent / "runs.db")
    if not log:
        store.close()
    for file in disk.parent.glob("runs.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, disk)
    store.close()
    assert path.with_name("runs.db-wal").exists() == log
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    found = sqlite_store(path)
    assert [event.seq for event in found.events(RUN)] == list(range(1, 9))
    assert [run.run_id for run in found.runs()] == [snapshot("one").run_id]
    with pytest.raises(StoreUnavailableError, match="read-only"):
        found.append(RUN, [done(9, artifact("9"))], epoch=0)
    found.close()
