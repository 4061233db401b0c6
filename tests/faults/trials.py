"""One run in processes of its own: begun, killed, looked at from outside, gone on with."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from themis import SqliteRunStore, get_execution_state
from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.results import ExecutionState
from themis.testing import CallLog, CrashHarness, Outcome, Running

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
_MEASURED = frozenset({"tries", "latency_ms", "ms"})
"""What depends on the moment: how long a call took, and what failed before it succeeded."""
RunStanding = dict[tuple[int | None, StepAddress | str], tuple[Any, ...]]


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
            "db": str(self.db),
            "log": str(self.log.path),
            "out": str(self.out),
            **self.settings,
        }
        self.db = Path(self.settings["db"])

    def start(self, name: str = "worker", **settings: Any) -> Running:
        """Start the worker, beside others that may be at work, and count nothing."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({**self.settings, **settings}))
        error = self.folder / f"{name}.stderr"
        return self.harness.start(WORKER, [str(file)], log=self.log.path, error=error)

    def run(self, **changes: Any) -> Outcome:
        """Run the worker; keyword arguments of the harness say when it is killed."""
        file = self.folder / "settings.json"
        settings = {**self.settings, **changes.pop("settings", {})}
        file.write_text(json.dumps(settings))
        with self.counting(rerun=settings.get("policy") == "rerun" or self.started(2)):
            outcome = self.harness.run(WORKER, [str(file)], log=self.log.path, **changes)
        self.outcomes.append(outcome)
        return outcome

    @contextmanager
    def counting(self, *, rerun: bool = False) -> Iterator[None]:
        """Count what is asked again meanwhile, of what was answered and of what was in flight.

        Args:
            rerun: whether it is a rerun that is begun or gone on with: its calls are its own.
        """
        committed, before = self.committed(rerun=rerun), len(self.log.lines())
        asked = {" ".join(words) for words in self.log.lines()}
        yield
        seen: set[str] = set()
        for words in self.log.lines()[before:]:
            call = " ".join(words)
            if call in committed:
                self.repeats.append(call)
            elif call in asked and call not in seen:
                self.again += 1
            seen.add(call)

    def committed(self, *, rerun: bool = False) -> set[str]:
        """Return the calls whose answers are in the journal, as the log names them."""
        return {
            name
            for event in self.events()
            if (not rerun or event.attempt > 1) and (name := _call_of(event)) is not None
        }

    def events(self, run_id: str | None = None) -> list[Event]:
        """Return the events of the file's runs, or of one of them, in order."""
        if not self.db.exists():
            return []
        store = SqliteRunStore(str(self.db))
        try:
            runs = [record.run_id for record in store.runs()]
            return [
                event
                for one in runs
                if run_id is None or one == run_id
                for event in store.events(one)
            ]
        finally:
            store.close()

    def standing(self) -> RunStanding:
        """Return all that the run has come to, step by step: what a later reader goes by.

        By case and address: kind, attempt, candidate, key, version and payload of the newest event,
        or the failure's category; and how each case ended. Left out is what was measured.
        """
        return standing(self.events(self.result()["run_id"]))

    def check_journal(self) -> None:
        """Assert that the run's events are numbered without a gap and no step is done twice."""
        events = self.events(self.result()["run_id"])
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        done = Counter(
            (event.attempt, event.case_index, event.address)
            for event in events
            if event.kind is EventKind.STEP_DONE
        )
        assert [step for step, count in done.items() if count > 1] == []

    def state(self) -> ExecutionState:
        """Return how the only run stands."""
        store = SqliteRunStore(str(self.db))
        try:
            (record,) = store.runs()
            return get_execution_state(store, RunId(record.run_id))
        finally:
            store.close()

    def started(self, attempt: int) -> bool:
        """Return whether an attempt at the run has begun."""
        return any(event.attempt == attempt for event in self.events())

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
        assert self._ask("PRAGMA integrity_check") == [("ok",)]

    def superseded(self) -> list[Any]:
        """Return the keys under which more than one artifact is kept."""
        return self._ask("SELECT key FROM artifacts GROUP BY key HAVING count(*) > 1")

    def _ask(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.db)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()


def standing(events: Iterable[Event]) -> RunStanding:
    """Fold events to what stands: see ``Trial.standing``."""
    found: RunStanding = {}
    for event in events:
        if event.address is not None:
            failure = event.data.get("failure", {}).get("category")
            given = None if event.artifact is None else _settled(event.artifact.payload)
            found[event.case_index, event.address] = (
                *(event.kind, event.attempt, event.candidate_id, event.key, event.version),
                *(failure, json.dumps(given, sort_keys=True)),
            )
        elif event.kind is EventKind.CASE_FINISHED:
            found[event.case_index, "end"] = (event.attempt, *sorted(event.data.items()))
        elif event.kind is EventKind.RUN_FINISHED:
            found[None, "end"] = (event.attempt, event.data["status"], event.data["through"])
    return found


def _settled(payload: Any) -> Any:
    """Return a payload without what was measured."""
    if isinstance(payload, dict):
        return {key: _settled(one) for key, one in payload.items() if key not in _MEASURED}
    return [_settled(one) for one in payload] if isinstance(payload, list) else payload


def _call_of(event: Event) -> str | None:
    """Return the call that an event tells the answer of, as the log names it; None for others."""
    if event.kind is not EventKind.STEP_DONE:
        return None
    assert event.address is not None
    assert event.artifact is not None
    if event.address.stage is Stage.GENERATE:
        return f"generate c{event.case_index} {event.address.sample}"
    if event.address.call is None:
        return None
    payload = event.artifact.payload
    asked = payload["response"]["artifacts"]["asked"]
    return f"judge {payload['call']['judge']} {asked}"
