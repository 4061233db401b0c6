"""A store that stalls while answers are paid for, and then a kill: how many answers are lost?

``python -m tests.faults.stalls [TRIALS]`` prints the table. The real command asks a real server,
which counts the answers that it gave; the file is locked by another program, its syncs are slow
(strace), or its disk is full (a tmpfs). Some seconds later the process is killed. The run then goes
on, and what the server has to give again was lost.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.endpoint import Asked, Endpoint
from tests.support.until import until

ROOT = Path(__file__).parents[2]
CASES = 1500
LOCKED, SLOW, FULL = "locked file", "slow sync", "full disk"
STALL_SECONDS = 3.0
_SLOW_SYNC = "fsync,fdatasync:delay_enter=2000000:when=40+"
_CALLS = "fsync,fdatasync"


def can(kind: str) -> bool:
    """Return whether this machine can make a stall of a kind."""
    if kind == SLOW:
        return shutil.which("strace") is not None
    return kind != FULL or (sys.platform == "linux" and os.geteuid() == 0)


@dataclass
class Trial:
    """One run that stalls, is killed, and goes on.

    Attributes:
        folder: its own.
        kind: what holds the store up.
        at_once: calls that may be in flight.
        given: answers that the server gave before the kill.
        lost: those of them that it had to give again, as nothing had them.
    """

    folder: Path
    kind: str
    at_once: int
    given: int = 0
    lost: int = 0
    scores: Any = None

    def carry_out(self, *, cases: int = CASES) -> None:
        """Run, stall, kill, count, and go on."""
        self.folder.mkdir(parents=True)
        with _disk(self.folder / "disk", full=self.kind == FULL) as disk:
            store = disk / "runs.db"
            with Endpoint(delay=0.02) as endpoint:
                self._config(endpoint.url, store, cases)
                process = self._begin()
                until(lambda: kept_in(store) >= 3 * self.at_once, "the first answers")
                with _stall(self.kind, store):
                    deadline = time.monotonic() + STALL_SECONDS
                    while time.monotonic() < deadline and process.poll() is None:
                        time.sleep(0.05)
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    self.given = sum(one.delivered for one in _answered(endpoint))
                before = len(endpoint.requests)
                ended = subprocess.run(
                    _command("run", "--config", "run.yaml"),
                    cwd=self.folder, capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert ended.returncode == 0, ended.stderr
                self.lost = self.given + len(endpoint.requests) - before - cases
                found = json.loads(ended.stdout)
                self.scores = (found["status"], found["metrics"]["builtin/exact_match"]["n_scored"])

    def _config(self, url: str, store: Path, cases: int) -> None:
        rows = [
            {"case_id": f"c{n}", "input": f"q{n}", "expected_output": f"q{n}"} for n in range(cases)
        ]
        (self.folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
        config = {
            "generation": {
                "generator": {
                    "use": "openai", "model": "m", "base_url": url, "api_key": "env:KEY_OF_TRIALS",
                    "api_mode": "chat_completions",
                }
            },
            "evaluation": {"metrics": ["builtin/exact_match"]},
            "storage": {"store": "sqlite", "parameters": {"path": str(store)}},
            "runtime": {"max_concurrent_tasks": self.at_once},
            "datasets": [{"dataset_id": "d", "path": "cases.jsonl"}],
        }  # fmt: skip
        (self.folder / "run.yaml").write_text(json.dumps(config))

    def _begin(self) -> subprocess.Popen[bytes]:
        words = _command("run", "--config", "run.yaml")
        if self.kind == SLOW:
            strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={_CALLS}"]
            words = [*strace, "-e", f"inject={_SLOW_SYNC}", *words]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def kept_in(store: Path) -> int:
    """Return how many answers a store has, 0 before there is one."""
    with suppress(sqlite3.Error):
        return len(stored(store))
    return 0


def stored(store: Path) -> set[str]:
    """Return the ids of the cases whose answers a store has."""
    db = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        rows = [bytes(raw) for (raw,) in db.execute("SELECT payload FROM artifacts") if raw]
        return {json.loads(raw)["candidate_id"] for raw in rows if b'"candidate_id"' in raw}
    finally:
        db.close()


def _answered(endpoint: Endpoint) -> list[Asked]:
    return [one for one in endpoint.requests if one.reply.status == 200]


def _command(*words: str) -> list[str]:
    return [
        "env",
        f"PYTHONPATH={ROOT}",
        "KEY_OF_TRIALS=key",
        sys.executable,
        "-m",
        "themis",
        *words,
    ]


@contextmanager
def _disk(folder: Path, *, full: bool) -> Iterator[Path]:
    folder.mkdir()
    if not full:
        yield folder
        return
    mounting = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    subprocess.run(mounting, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _stall(kind: str, store: Path) -> Iterator[None]:
    """Hold a store up for as long as the block lasts."""
    if kind == LOCKED:
        db = sqlite3.connect(store, isolation_level=None, timeout=30)
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            db.close()
    elif kind == FULL:
        ballast = store.parent / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(65_536))
                file.flush()
        try:
            yield
        finally:
            ballast.unlink()
    else:
        yield  # strace does it, from the fortieth sync on


def main() -> None:
    """Print the table; the exit code is 1 where more was lost than may be."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    kinds = [kind for kind in (LOCKED, SLOW, FULL) if can(kind)]
    shapes = list(itertools.product(kinds, (8, 64)))
    losses: dict[tuple[str, int], list[int]] = {shape: [] for shape in shapes}
    given: Counter[tuple[str, int]] = Counter()
    for number, shape in zip(range(trials), itertools.cycle(shapes), strict=False):
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(Path(folder) / f"{number}", *shape)
            trial.carry_out()
        assert trial.scores == ("completed", CASES), trial
        losses[shape].append(trial.lost)
        given[shape] += trial.given
    print(f"{'store':<12} {'at once':>7} {'kills':>5} {'given':>7} {'most lost':>9} {'bar':>5}")
    for (kind, at_once), lost in losses.items():
        if lost:
            said = f"{kind:<12} {at_once:>7} {len(lost):>5} {given[kind, at_once]:>7}"
            print(f"{said} {max(lost):>9} {2 * at_once:>5}")
    too_many = any(max(lost, default=0) > 2 * at_once for (_, at_once), lost in losses.items())
    raise SystemExit(int(too_many))


if __name__ == "__main__":
    main()
