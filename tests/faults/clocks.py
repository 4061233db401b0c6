"""Two processes, one run, and clocks that are wrong: who gets the run, and when?

``python -m tests.faults.clocks`` prints the table. Every row is two real commands, under
libfaketime where that is installed (Debian: faketime), in namespaces of their own where ``unshare``
may make them. A lease is given up after ``TTL`` seconds of silence here, and not after 30.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.namespaces import unshare
from themis import SqliteRunStore, get_execution_state
from themis.testing import CallLog

TTL = 3.0
ROOT = Path(__file__).parents[2]
HOUR = 3_600
CLOCKS = {"right": 0, "-1 h": -HOUR, "+1 h": HOUR, "+10 d": 240 * HOUR}
CONFIG = """
generation: {generator: "tests.faults.patient:generator"}
evaluation: {metrics: [builtin/exact_match]}
storage: {store: sqlite, parameters: {path: runs.db}}
runtime: {drain_timeout: 1, max_concurrent_tasks: 2}
datasets:
  - dataset_id: sums
    cases: [{case_id: a, input: 1, expected_output: 1}, {case_id: b, input: 2, expected_output: 2}]
"""
REFUSED, AT_ONCE, AFTER_SILENCE = "refused", "taken at once", "taken after silence"
HERE, RENAMED = "same host", "other host name"
INSIDE, BESIDE = "in a container", "in another container"


@dataclass(frozen=True)
class Row:
    """One arrangement and what must come of it.

    Attributes:
        owner: what became of the process that works on the run: "alive", "stopped", "killed", or
            "clock set back" for one that lives while its clock is set back by two hours.
        expected: what the second process says or does.
        clock: the owner's clock.
        second_clock: the clock of the second.
        where: where the owner runs, seen from the second. From outside of a container what is in
            it can be seen, and from another one it cannot.
    """

    owner: str
    expected: str
    clock: str = "right"
    second_clock: str = "right"
    where: str = HERE

    def __str__(self) -> str:
        return f"{self.where}, {self.clock}, {self.owner}, second {self.second_clock}"


ROWS = [
    *[Row("alive", REFUSED, clock=clock) for clock in CLOCKS],
    *[Row("alive", REFUSED, second_clock=clock) for clock in list(CLOCKS)[1:]],
    Row("clock set back", REFUSED, clock="+1 h"),
    Row("stopped", REFUSED, second_clock="+1 h"),
    *[Row("killed", AT_ONCE, clock=clock) for clock in CLOCKS],
    *[Row("killed", AT_ONCE, second_clock=clock) for clock in list(CLOCKS)[1:]],
    Row("alive", REFUSED, second_clock="+10 d", where=RENAMED),
    Row("killed", AT_ONCE, clock="+10 d", where=RENAMED),
    *[Row("alive", REFUSED, clock=clock, where=INSIDE) for clock in ("-1 h", "+10 d")],
    Row("stopped", REFUSED, second_clock="+10 d", where=INSIDE),
    Row("killed", AFTER_SILENCE, clock="+10 d", where=INSIDE),
    *[Row("alive", REFUSED, clock=clock, where=BESIDE) for clock in CLOCKS],
    Row("alive", REFUSED, second_clock="+10 d", where=BESIDE),
    Row("clock set back", REFUSED, clock="+1 h", where=BESIDE),
    Row("killed", AFTER_SILENCE, clock="+10 d", where=BESIDE),
    Row("killed", AFTER_SILENCE, clock="-1 h", where=BESIDE),
    Row("killed", AFTER_SILENCE, second_clock="+10 d", where=BESIDE),
    Row("stopped", AFTER_SILENCE, clock="+10 d", where=BESIDE),
]


class Trial:
    """One row, tried in a folder.

    Attributes:
        found: what the second process did; ``said`` what it said of it, ``seconds`` how long it
            took.
        ending: how the owner ended, where it was not killed: its exit status and last line.
    """

    def __init__(self, folder: Path, row: Row) -> None:
        self.folder = folder
        self._row = row
        self.said = self.found = ""
        self.seconds = 0.0
        self.ending: tuple[int, str] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.yaml").write_text(CONFIG)

    def carry_out(self) -> None:
        """Start the owner, do to it what the row says, and see what the second one does."""
        row = self._row
        beside = row.where == BESIDE
        owner = self.start("owner", row.clock, placed(INSIDE if beside else row.where))
        try:
            self.wait_for_calls(owner)
            if row.owner == "killed":
                owner.kill()
                owner.wait(timeout=60)
            elif row.owner == "stopped":
                self._stop(_innermost(owner.pid))
            elif row.owner == "clock set back":
                self.set_clock("owner", CLOCKS[row.clock] - 2 * HOUR)
            if row.expected != REFUSED:
                (self.folder / "gate").touch()
            second = self.start("second", row.second_clock, placed(INSIDE) if beside else ())
            self.judge(second)
            (self.folder / "gate").touch()
            if row.owner == "stopped":
                os.kill(_innermost(owner.pid), signal.SIGCONT)
            if row.owner != "killed":
                self.ending = owner.wait(timeout=60), _last_line(self.folder / "owner.said")
        finally:
            owner.kill()
            owner.wait(timeout=60)

    def _stop(self, pid: int) -> None:
        """Stop a process outside of its transactions: within one it would lock the file."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            while not _has_stopped(pid):  # what is in the kernel goes on until it leaves it
                time.sleep(0.01)
            store = sqlite3.connect(self.folder / "runs.db", timeout=0.1, isolation_level=None)
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.1)
            else:
                return
            finally:
                store.close()

    def judge(self, second: subprocess.Popen[bytes]) -> None:
        """Wait for the second process and put in a word what it did."""
        began = time.monotonic()
        try:
            status = second.wait(timeout=60)
        except subprocess.TimeoutExpired:
            status = None  # at work on the run itself, or waiting for ever
        finally:
            second.kill()
        self.seconds = time.monotonic() - began
        self.said = (self.folder / "second.said").read_text()
        watched = "to see if it still works" in self.said
        if status == 0:
            self.found = AFTER_SILENCE if watched else AT_ONCE
        else:
            self.found = REFUSED if "is being worked on by" in self.said else f"ended: {status}"

    def start(self, name: str, clock: str, namespaces: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start ``themis run`` in the folder; what it says goes to a file."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self.set_clock(name, CLOCKS[clock])
        file = str(self.folder / f"{name}.clock")
        environment |= (
            {
                "LD_PRELOAD": _libfaketime(),
                "FAKETIME_TIMESTAMP_FILE": file,
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            if _libfaketime()
            else {"CLOCK": file}
        )
        with (self.folder / f"{name}.said").open("wb") as said:
            return subprocess.Popen(
                [*namespaces, *COMMAND],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def set_clock(self, name: str, seconds: int) -> None:
        """Put a process's clock wrong by some seconds, also while it runs."""
        file = self.folder / f"{name}.clock"
        new = file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(file)

    def wait_for_calls(self, owner: subprocess.Popen[bytes], calls: int = 2) -> None:
        """Wait until the owner asks: then it holds the run."""
        deadline = time.monotonic() + 60
        while len(CallLog(self.folder / "calls.log").lines()) < calls:
            if owner.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "owner.said").read_text())
            time.sleep(0.02)

    def standing(self) -> tuple[str, int, int]:
        """Return how the run stands: status, attempts, and calls over all."""
        store = SqliteRunStore(self.folder / "runs.db")
        try:
            (record,) = store.runs()
            state = get_execution_state(store, record.run_id)
        finally:
            store.close()
        calls = len(CallLog(self.folder / "calls.log").lines())
        return str(state.status), len(state.attempts), calls


COMMAND = [
    *(sys.executable, "-m", "tests.faults.patient", str(TTL)),
    *("run", "--config", "run.yaml", "--no-progress"),
]


def reused_pid(folder: Path) -> str:
    """Return what a second process does where the killed owner's pid is another process's by now.

    All of it is in a pid namespace, whose next pid may be chosen.
    """
    trial = Trial(folder, Row("killed", AT_ONCE))
    trial.set_clock("second", 0)
    command = shlex.join(COMMAND)
    script = f"""
{command} 2>owner.said & owner=$!
until [ -f calls.log ] && [ "$(wc -l <calls.log)" -ge 2 ]; do sleep 0.05; done
kill -9 $owner; wait $owner
while :; do
    echo $((owner - 1)) >/proc/sys/kernel/ns_last_pid
    sleep 300 & other=$!
    [ $other = $owner ] && break
    kill $other
done
touch gate
exec {command} 2>second.said
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command_line = [*placed(INSIDE), "bash", "-c", script]
    with (folder / "shell.said").open("wb") as said:
        trial.judge(
            subprocess.Popen(command_line, cwd=folder, env=environment, stdout=said, stderr=said)
        )
    return trial.found


def placed(where: str) -> list[str]:
    """Return what puts a command into a place; skips the test where that cannot be made."""
    if where == RENAMED:
        return [*unshare("--uts"), "sh", "-c", 'hostname renamed; exec "$@"', "sh"]
    if where == INSIDE:
        return unshare("--pid", "--fork", "--kill-child", "--mount-proc")
    return []


@cache
def _libfaketime() -> str:
    """Return the library that puts a program's clock wrong; "" where it is not installed."""
    if shutil.which("faketime") is None:
        return ""
    asked = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _innermost(pid: int) -> int:
    """Return the process that an ``unshare`` has started, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _has_stopped(pid: int) -> bool:
    """Return whether every thread of a process has stopped."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in threads)


def _last_line(file: Path) -> str:
    return (file.read_text().strip().splitlines() or [""])[-1]


def main() -> None:
    print(f"clocks are put wrong by {_libfaketime() or 'time.time'}; silence is {TTL:g} s\n")
    head = ("the owner runs", "its clock", "and is", "second's clock", "expected", "found", "s")
    print("{:20} {:9} {:15} {:15} {:20} {:20} {:>5}  then".format(*head))
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(ROWS):
            trial = Trial(Path(folder) / str(number), row)
            trial.carry_out()
            then = "" if trial.ending is None else f"the owner ends with {trial.ending[0]}"
            print(
                f"{row.where:20} {row.clock:9} {row.owner:15} {row.second_clock:15} "
                f"{row.expected:20} {trial.found:20} {trial.seconds:5.1f}  {then}",
                flush=True,
            )
        print(f"\na reused pid: {reused_pid(Path(folder) / 'reused')}")


if __name__ == "__main__":
    main()
