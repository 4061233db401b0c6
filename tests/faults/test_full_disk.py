"""A disk that fills in mid-run: one line says so, the store stays whole, and the run goes on later.

The disk is a tmpfs of 8 MB, which only root may mount; others are root in a user namespace of their
own, where the test runs itself. Where that may not be either, one test is skipped, except under CI,
where it must run. A limit on the size of files, which anybody may set, stands for a quota.

Covers: themis.execution.journal, themis.stores.sqlite
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Ended, command, environment
from tests.support.lacking import lacking
from themis.core.hashing import digest_value

pytestmark = pytest.mark.faults
N = 100
PARTS = """
import asyncio
import random

from themis.core.models import GenerationResult


class Wordy:
    component_id = "generator/wordy"
    version = "1"

    def fingerprint(self):
        return "wordy"

    async def generate(self, case, ctx):
        await asyncio.sleep(0.03)  # so that the run takes many commits
        with open("calls.log", "a") as log:
            log.write(case.case_id + "\\n")
        said = random.Random(case.case_id).randbytes(1000).hex()
        return GenerationResult(candidate_id=case.case_id, final_output=said)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode:
        lacking(
            "run the tests as root, or let this user make namespaces",
            f"a disk of 2 MB cannot be mounted here: {mounting.stderr.strip()}",
            must_not_in_ci=True,
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


AS_ROOT = ("unshare", "--user", "--map-root-user", "--mount")


def may_be_root_in_a_namespace() -> bool:
    """Return whether this user, who is not root, may mount in a namespace."""
    if os.geteuid() == 0 or shutil.which("unshare") is None:
        return False
    mounting = [*AS_ROOT, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounting, capture_output=True, check=False).returncode == 0


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    """Run the experiment from the command line, on a store of one's choice."""
    (tmp_path / "parts.py").write_text(PARTS)

    def run(store: Path, **how: Any) -> Ended:
        cases = [
            {"case_id": f"c{number}", "input": number, "expected_output": "x"}
            for number in range(N)
        ]
        config = {
            "generation": {"generator": "parts:Wordy"},
            "evaluation": {"metrics": ["builtin/exact_match"]},
            "storage": {"store": "sqlite", "parameters": {"path": str(store)}},
            "runtime": {"max_concurrent_tasks": 4, "store_retry_delay": 0.01},
            "datasets": [{"dataset_id": "data", "cases": cases}],
        }
        (tmp_path / "themis.json.yaml").write_text(json.dumps(config))
        done = subprocess.run(
            command("run", "--config", "themis.json.yaml"),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **how,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "calls.log").read_text().split()


def generated(store: Path) -> int:
    """Return how many answers are kept, having asked SQLite whether the file is sound."""
    db = sqlite3.connect(store)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found: int = db.execute(
            "SELECT count(*) FROM artifacts WHERE length(payload) > 1000"
        ).fetchone()[0]
        return found
    finally:
        db.close()


def set_aside(store: Path) -> int:
    """Return how many answers the store's runs have set aside, beside it or elsewhere."""
    folders = {store.parent, Path(tempfile.gettempdir()), Path("/dev/shm")}
    name = f"themis-{digest_value('rescue', os.path.realpath(store)).hex()[:12]}-*.jsonl"
    lines = [
        json.loads(line.partition(" ")[2])
        for folder in folders
        for file in folder.glob(name)
        for line in file.read_text().splitlines()
    ]
    answers = {
        line["key"] for line in lines if line["artifact"] and line["address"][0] == "generate"
    }
    return len(answers)


def assert_goes_on(run: Callable[..., Ended], folder: Path, store: Path, kept: int) -> None:
    """Assert that the run finishes now, and asks for nothing again that was kept."""
    before = len(calls(folder))
    kept += set_aside(store)
    ended = run(store)
    assert ended.code == 0, ended.err
    assert ended.data["status"] == "completed"
    assert ended.data["metrics"]["builtin/exact_match"]["n_scored"] == N
    assert len(calls(folder)) - before == N - kept
    assert generated(store) == N


@pytest.mark.skipif(sys.platform != "linux", reason="run the tests on Linux: tmpfs is Linux's")
def test_a_disk_that_fills_in_mid_run_costs_one_line_and_the_run_goes_on_once_there_is_room(
    run: Callable[..., Ended], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if may_be_root_in_a_namespace():
        itself = f"{__file__}::{request.node.name}"
        # A folder of its own: the one that pytest has for root may be there already, and root's.
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'again'}"]
        again = subprocess.run(
            [*AS_ROOT, sys.executable, "-m", "pytest", *options, itself],
            cwd=ROOT,
            env=environment(CI="true"),
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        assert again.returncode == 0, again.stdout + again.stderr
        return
    disk: Path = request.getfixturevalue("disk")
    store = disk / "runs.db"
    (disk / "ballast").write_bytes(bytes(7_800_000))
    ended = run(store)
    assert (ended.code, ended.out) == (3, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("themis: error: run ")
    assert (
        f"stopped, since its store failed: store '{store}': the disk is full; "
        "free some space and run again to go on"
    ) in line
    again = run(store)
    assert (again.code, again.out) in {(2, ""), (3, "")}  # it may not even open on a full disk
    assert len(again.err.splitlines()) == 1
    (disk / "ballast").unlink()
    kept = generated(store)
    assert 0 < kept < N
    assert_goes_on(run, tmp_path, store, kept)


def test_a_quota_that_is_reached_in_mid_run_costs_one_line_and_the_run_goes_on_without_it(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    store = tmp_path / "runs.db"
    limit = 400_000

    def allow_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = run(store, preexec_fn=allow_little)
    assert (ended.code, ended.out) == (3, "")
    (line,) = ended.err.splitlines()
    assert f"stopped, since its store failed: store '{store}': the disk does not" in line
    assert "neither it nor your quota is full, and run again to go on" in line
    kept = generated(store)
    assert 0 < kept < N
    assert_goes_on(run, tmp_path, store, kept)
