"""SIGKILL half-way: the endpoint hears nothing again that was kept, and budgets hold.

Covers: themis.execution.history, themis.execution.journal, themis.execution.limits.budget
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.questions import number_of
from tests.endpoints.worker import SPENT, make
from tests.support.endpoint import Asked, Endpoint, Reply, error, one_a_byte
from themis import SqliteRunStore
from themis.core.events import EventKind, Stage
from themis.testing.crash import CrashHarness
from themis.testing.scripted import CallLog

pytestmark = [pytest.mark.network, pytest.mark.faults]
WORKER = Path(__file__).with_name("worker.py")


class Killed:
    """A run under a folder of its own, whose endpoint outlives it."""

    def __init__(self, harness: CrashHarness, folder: Path, **settings: Any) -> None:
        self.harness = harness
        self.folder = folder
        self.log = CallLog(folder / "asked.log")
        self.settings = {**settings, "db": str(folder / "runs.db")}

    def script(self, asked: Asked) -> Reply | None:
        """Count the request where the harness looks."""
        self.log.write("asked", asked.number)
        return None

    def run(self, url: str, **how: Any) -> Any:
        """Run the worker against the endpoint; keyword arguments say when it is killed."""
        file = self.folder / "settings.json"
        file.write_text(json.dumps({**self.settings, "url": url, **how.pop("settings", {})}))
        return self.harness.run(WORKER, [str(file)], log=self.log.path, **how)

    def kept(self) -> set[tuple[int, int]]:
        """Return number and sample of the answers that are in the journal."""
        store = SqliteRunStore(str(self.settings["db"]))
        try:
            (record,) = store.runs()
            return {
                (event.case_index or 0, event.address.sample or 0)
                for event in store.events(record.run_id, kinds=[EventKind.STEP_DONE])
                if event.address is not None and event.address.stage is Stage.GENERATE
            }
        finally:
            store.close()


@pytest.mark.parametrize(
    ("api_mode", "samples"), [("chat_completions", 1), ("responses", 1), ("responses", 3)]
)
def test_a_run_killed_half_way_asks_nothing_again_that_was_kept(
    harness: CrashHarness, tmp_path: Path, api_mode: str, samples: int
) -> None:
    cases = 300 // samples
    trial = Killed(harness, tmp_path, cases=cases, samples=samples, api_mode=api_mode)
    with Endpoint(trial.script, delay=0.005) as endpoint:
        assert trial.run(endpoint.url, kill_after=150).killed
        endpoint.wait_until_left()
        before = len(endpoint.requests)
        assert 150 <= before < 300
        kept = trial.kept()
        assert kept
        again = trial.run(endpoint.url)
        assert again.status == 0, again.error
        assert len(endpoint.requests) - before == 300 - len(kept)
        later = [number_of(asked.question) for asked in endpoint.requests[before:]]
    for number in range(cases):
        assert later.count(number) == samples - sum(case == number for case, _ in kept)


@pytest.mark.parametrize(("seed", "judged"), [(0, False), (1, True)])
def test_a_budget_holds_over_kills_as_the_endpoint_counts(
    harness: CrashHarness, tmp_path: Path, seed: int, judged: bool
) -> None:
    tokens = 30_000 if judged else 8_000
    trial = Killed(
        harness, tmp_path, cases=200, concurrency=6, judged=judged, budget={"tokens": tokens}
    )

    def script(asked: Asked) -> Reply | None:
        trial.script(asked)
        failing = asked.number % 11 == seed
        return error(500) if failing else None

    answer = _right
    with Endpoint(script, answer=answer, count=one_a_byte, delay=0.002) as endpoint:
        spent = [0]
        for kill_after in (20, 15, 10):
            assert trial.run(endpoint.url, kill_after=kill_after).killed
            assert spent[-1] < endpoint.tokens <= tokens
            spent.append(endpoint.tokens)
        ended = trial.run(endpoint.url)
        assert ended.status == SPENT, ended.error
        assert endpoint.tokens <= tokens
        assert trial.run(endpoint.url).status == SPENT
        assert endpoint.tokens <= tokens
        whole = trial.run(endpoint.url, settings={"budget": {"tokens": 10_000_000}})
        assert whole.status == 0, whole.error
        one = make({**trial.settings, "url": endpoint.url, "budget": None})
        result = one.run(progress=False)  # a case that failed four times over is tried again
    assert result.status == "completed"
    assert result.metrics["builtin/exact_match"].n_scored == 200
    one.store.close()


def _right(asked: Asked) -> str:
    return "VERDICT: PASS" if asked.body["model"] == "judge" else asked.question
