"""One run in processes of its own: begun, killed, looked at from outside, gone on with."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from themis import SqliteRunStore, get_execution_state
from themis.core.base import RunId
from themis.core.events import EventKind, Stage
from themis.core.results import ExecutionState
from themis.testing.crash import CrashHarness, Outcome
from themis.testing.scripted import CallLog

WORKER = Path(__file__).with_name("worker.py")
PLAIN: dict[str, Any] = {
    "cases": 40,
    "samples": 1,
    "concurrency": 8,
    "judges": 0,
    "selector": False,
    "reducer": False,
    "flaky": 0,
    "wait_ms": 1,
}


@dataclass
class Trial:
    """A run under a folder of its own.

    Attributes:
        repeats: calls that were made though an answer to them had been committed.
        again: calls that were made again because they were in flight when the process died.
    """

    harness: CrashHarness
    folder: Path
    settings: dict[str, Any]
    repeats: list[str] = field(default_factory=list)
    again: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.db = self.folder / "runs.db"
        self.log = CallLog(self.folder / "calls.log")
        self.out = self.folder / "out.json"
        self.settings = {
            **PLAIN,
            **self.settings,
            "db": str(self.db),
            "log": str(self.log.path),
            "out": str(self.out),
        }

    def run(self, **changes: Any) -> Outcome:
        """Run the worker; keyword arguments of the harness say when it is killed."""
        file = self.folder / "settings.json"
        file.write_text(json.dumps({**self.settings, **changes.pop("settings", {})}))
        committed, before = self.committed(), len(self.log.lines())
        asked = {" ".join(words) for words in self.log.lines()}
        outcome = self.harness.run(WORKER, [str(file)], log=self.log.path, **changes)
        self.outcomes.append(outcome)
        seen: set[str] = set()
        for words in self.log.lines()[before:]:
            call = " ".join(words)
            if call in committed:
                self.repeats.append(call)
            elif call in asked and call not in seen:
                self.again += 1
            seen.add(call)
        return outcome

    def committed(self) -> set[str]:
        """Return the calls whose answers are in the journal, as the log names them."""
        if not self.db.exists():
            return set()
        calls: set[str] = set()
        store = SqliteRunStore(str(self.db))
        try:
            for record in store.runs():
                for event in store.events(record.run_id, kinds=[EventKind.STEP_DONE]):
                    address = event.address
                    assert address is not None
                    assert event.artifact is not None
                    if address.stage is Stage.GENERATE:
                        calls.add(f"generate c{event.case_index} {address.sample}")
                    elif address.call is not None:
                        payload = event.artifact.payload
                        judge, said = payload["call"]["judge"], payload["response"]["artifacts"]
                        calls.add(f"judge {judge} {said['asked']}")
        finally:
            store.close()
        return calls

    def state(self) -> ExecutionState:
        """Return how the only run stands."""
        store = SqliteRunStore(str(self.db))
        try:
            (record,) = store.runs()
            return get_execution_state(store, RunId(record.run_id))
        finally:
            store.close()

    def rows(self) -> list[dict[str, Any]]:
        """Return the score table of the run's end."""
        rows: list[dict[str, Any]] = self.result()["rows"]
        return rows

    def result(self) -> dict[str, Any]:
        """Return what the worker wrote at its end."""
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found

    def check_file(self) -> None:
        """Assert that the database is sound."""
        connection = sqlite3.connect(self.db)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
