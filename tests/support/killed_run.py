"""A run against an endpoint in a process of its own, to be killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themis import Experiment, RunResult, RuntimeConfig, SqliteRunStore
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.events import EventKind
from themis.core.models import Case, Dataset

ROOT = Path(__file__).parents[2]


@dataclass
class KilledRun:
    """A run under a folder of its own: chat with few tokens, one metric, kept in SQLite."""

    folder: Path
    url: str
    cases: int
    at_once: int

    @property
    def questions(self) -> list[str]:
        """What is asked, case by case."""
        return [f"What comes after {number}?" for number in range(self.cases)]

    def start(self) -> None:
        """Start the process, or start it again: the run goes on."""
        with open(self.folder / "said", "ab") as out:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.killed_run"),
                    *(str(self.folder), self.url, str(self.cases), str(self.at_once)),
                ],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill the process at once; it gets no chance to tidy up."""
        os.kill(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return the process's exit code once it has ended."""
        return self._process.wait(120)

    def kept(self) -> set[str]:
        """Return the questions whose answers are in the store."""
        store = SqliteRunStore(str(self.folder / "runs.db"))
        try:
            return {
                self.questions[event.case_index]
                for record in store.runs()
                for event in store.events(record.run_id, kinds=[EventKind.STEP_DONE])
                if event.address is not None
                and event.address.stage == "generate"
                and event.case_index is not None
            }
        finally:
            store.close()

    def said(self) -> str:
        """Return what the processes wrote."""
        return (self.folder / "said").read_text()

    def result(self) -> dict[str, Any]:
        """Return what the run came to."""
        found: dict[str, Any] = json.loads((self.folder / "result").read_text())
        return found

    def run(self) -> RunResult:
        """Do the run, here."""
        generator = openai(
            "smollm2-135m",
            base_url=self.url,
            api_key="none",
            api_mode="chat_completions",
            sampling={"temperature": 0, "max_output_tokens": 4},
        )
        cases = [
            Case(case_id=f"c{number}", input=asked, expected_output=str(number + 1))
            for number, asked in enumerate(self.questions)
        ]
        path = self.folder / "runs.db"
        result = Experiment(
            generation=GenerationConfig(generator=generator),
            evaluation=EvaluationConfig(metrics=["builtin/exact_match"]),
            storage=StorageConfig(store="sqlite", parameters={"path": str(path)}),
            runtime=RuntimeConfig(max_concurrent_tasks=self.at_once),
            datasets=[Dataset(dataset_id="numbers", cases=cases)],
        ).run(progress=False)
        told = {
            "status": result.status.value,
            "answers": sum(len(case.generated_candidates) for case in result.cases),
        }
        (self.folder / "result").write_text(json.dumps(told))
        return result


if __name__ == "__main__":
    folder, url, cases, at_once = sys.argv[1:]
    KilledRun(Path(folder), url, int(cases), int(at_once)).run()
