"""One real language model for the whole test run, whatever number of workers it has.

The first worker that asks starts the server, in a process of its own; the others find it. Each
worker holds a shared lock on a file for as long as it lives, and the server's keeper leaves when it
can have that lock for itself alone. The operating system gives locks back whatever a process dies
of, so nothing is left behind by a crash or a `kill -9`.

Where the server cannot start, the tests fail: this is not one to skip.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from examples.demo.local_model import MODEL_ID, SLOT_TOKENS, local_model

__all__ = ["MODEL_ID", "SLOTS", "SLOT_TOKENS", "shared_model"]

SLOTS = 4
"""Requests that the server works on at once."""

START_SECONDS = 90.0
_LOOK_SECONDS = 0.3


@contextlib.contextmanager
def shared_model(folder: Path) -> Iterator[str]:
    """Give the base URL of the server that all who name the same folder share."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with open(folder / "users", "a") as users, open(folder / "starting", "a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        # A keeper that is just leaving has this lock: who gets it here has no server, or one that
        # will stay.
        fcntl.flock(users, fcntl.LOCK_SH)
        if not address.exists() or not _answers(address.read_text()):
            _start(folder)
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield address.read_text()


def _answers(base_url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(f"{base_url}/models", timeout=30) as reply:
        return any(one["id"] == MODEL_ID for one in json.load(reply)["data"])
    return False


def _start(folder: Path) -> None:
    address, log = folder / "address", folder / "keeper.log"
    address.unlink(missing_ok=True)
    with open(log, "wb") as out:
        # Inherited by nobody: a keeper that held its users' lock would never leave.
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.model_server", str(folder)],
            cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while not address.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.kill()
            raise RuntimeError(f"the model server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)
    # Its end is nobody's to wait for, here.
    keeper.returncode = 0


def _keep(folder: Path) -> None:
    """Serve until nobody holds the lock of the users."""
    with (
        open(folder / "users", "a") as users,
        local_model(slots=SLOTS, threads=1, log_path=folder / "server.log") as base_url,
    ):
        written = folder / "address.new"
        written.write_text(base_url)
        written.rename(folder / "address")
        while not _alone(users):
            time.sleep(_LOOK_SECONDS)


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
