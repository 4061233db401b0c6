"""Yesterday's answer is never today's by accident: changed code is run again, and it is said.

Covers: themis.execution.attempt, themis.planning.code.digest, themis.planning.code.own_package
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from themis.testing.crash import CrashHarness
from themis.testing.scripted import CallLog

GENERATOR = """
from themis.core.models import GenerationResult
from themis.testing.scripted import CallLog
import helper

class Mine:
    component_id = "mine"
    version = "1"

    def __init__(self, log):
        self.log = CallLog(log)

    def fingerprint(self):
        return "never changes"

    async def generate(self, case, ctx):
        self.log.write("generate", case.case_id)
        return GenerationResult(candidate_id="x", final_output=helper.answer(case.input))
"""
HELPER = """
def answer(value):
    return value + 1
"""
SCRIPT = """
import json, sys
from mine import Mine
from themis.core.config import *
from themis.core.models import Case, Dataset
from themis.experiment.experiment import Experiment
from themis.testing.scripted import CountingMetric

settings = json.loads(sys.argv[1])
one = Experiment(
    generation=GenerationConfig(generator=Mine(settings["log"])),
    evaluation=EvaluationConfig(metrics=[CountingMetric(component_id=settings["metric"])]),
    storage=StorageConfig(store="sqlite", parameters={"path": settings["db"]}),
    datasets=[Dataset(dataset_id="d", cases=[
        Case(case_id=f"c{i}", input=i, expected_output=i + 1) for i in range(settings["cases"])
    ])],
    runtime=RuntimeConfig(max_concurrent_tasks=1),
)
plan = one.plan()
result = one.run(progress=False)
open(settings["out"], "w").write(json.dumps({
    "run_id": result.run_id,
    "values": [row.value for row in result.score_rows()],
    "notes": result.notes,
    "status": result.status,
    "to_run": plan.to_run,
    "why": {name: [one.text for one in stage.reasons] for name, stage in plan.stages.items()},
}))
"""


class Project:
    """A user's folder: a script, a generator, a helper beside it."""

    def __init__(self, harness: CrashHarness, folder: Path) -> None:
        self.harness, self.folder = harness, folder
        self.log = CallLog(folder / "calls.log")
        self.write("helper.py", HELPER)
        self.write("mine.py", GENERATOR)
        self.write("script.py", SCRIPT)

    def write(self, name: str, source: str) -> None:
        (self.folder / name).write_text(source)

    def run(self, metric: str = "match", *, kill_after: int | None = None, cases: int = 4) -> Any:
        settings = {
            "log": str(self.log.path),
            "db": str(self.folder / "runs.db"),
            "out": str(self.folder / "out.json"),
            "metric": metric,
            "cases": cases,
        }
        outcome = self.harness.run(
            self.folder / "script.py",
            [json.dumps(settings)],
            log=self.log.path,
            kill_after=kill_after,
        )
        if kill_after is not None and outcome.killed:
            return None
        assert outcome.status == 0, outcome.error
        return json.loads((self.folder / "out.json").read_text())

    def calls(self) -> int:
        return len(self.log.lines())


@pytest.fixture
def project(harness: CrashHarness, tmp_path: Path) -> Project:
    return Project(harness, tmp_path)


def test_changed_code_is_run_again_in_another_run_and_the_run_says_so(project: Project) -> None:
    first = project.run()
    assert first["values"] == [1, 1, 1, 1]
    assert project.run("other")["notes"] == []
    assert project.calls() == 4
    project.write("helper.py", HELPER.replace("+ 1", "+ 2"))
    third = project.run("third")
    assert third["to_run"] == {"generate": 4, "score": 4}
    assert third["why"]["generate"] == ["code of generator 'mine' (mine.Mine) changed"]
    assert third["run_id"] != first["run_id"]
    assert third["values"] == [0, 0, 0, 0]
    assert project.calls() == 8
    assert any("mine.Mine" in note and "changed" in note for note in third["notes"])


def test_changed_code_is_run_again_within_the_same_run(project: Project) -> None:
    first = project.run()
    project.write("helper.py", HELPER.replace("+ 1", "+ 2"))
    second = project.run()
    assert second["to_run"] == {"generate": 4, "score": 4}
    assert second["why"]["generate"] == ["code of generator 'mine' (mine.Mine) changed"]
    assert second["run_id"] == first["run_id"]
    assert second["values"] == [0, 0, 0, 0]
    assert second["status"] == "completed"
    assert project.calls() == 8
    assert any("generator 'mine'" in note for note in second["notes"])
    project.run()
    assert project.calls() == 8


@pytest.mark.parametrize("metric", ["match", "other"], ids=["the same run", "another run"])
def test_a_helper_in_the_generators_own_module_is_its_code_too(
    project: Project, metric: str
) -> None:
    own = GENERATOR.replace("helper.answer(case.input)", "tuned(helper.answer(case.input))")
    project.write("mine.py", own + "\ndef tuned(value):\n    return value\n")
    assert project.run()["values"] == [1, 1, 1, 1]
    project.write("mine.py", own + "\ndef tuned(value):\n    return value * 2\n")
    again = project.run(metric)
    assert again["values"] == [0, 0, 0, 0]
    assert project.calls() == 8
    assert any("generator 'mine' (mine.Mine) changed" in note for note in again["notes"])
    project.write("mine.py", own + "\n# twice\ndef tuned(value):\n    return value * 2\n")
    project.run(metric)
    assert project.calls() == 8


def test_a_kill_in_the_midst_of_changed_code_leaves_no_old_answer(project: Project) -> None:
    project.run(cases=40)
    project.write("helper.py", HELPER.replace("+ 1", "+ 2"))
    project.run(kill_after=15, cases=40)
    last = project.run(cases=40)
    assert last["values"] == [0] * 40
    assert last["status"] == "completed"
    assert 80 <= project.calls() < 120


def test_going_back_to_the_old_code_gives_the_old_answers(project: Project) -> None:
    project.run()
    project.write("helper.py", HELPER.replace("+ 1", "+ 2"))
    assert project.run()["values"] == [0, 0, 0, 0]
    project.write("helper.py", HELPER)
    assert project.run()["values"] == [1, 1, 1, 1]


def test_comments_and_other_parts_of_a_script_change_nothing(project: Project) -> None:
    project.run()
    project.write(
        "helper.py", "# why\n" + HELPER.replace("\n    return", "\n    # adds\n    return")
    )
    project.write("mine.py", GENERATOR + "\n\ndef unrelated():\n    return 17\n")
    project.write("script.py", SCRIPT + "\nprint('done')\n")
    second = project.run()
    assert second["to_run"] == {"generate": 0, "score": 0}
    assert second["notes"] == []
    assert project.calls() == 4
    third = project.run("other")
    assert third["to_run"] == {"generate": 0, "score": 4}
    assert third["why"]["score"] == ["metric 'other' is new"]
    assert project.calls() == 4


WRAPPED = """
from themis.adapters import function
from themis.testing.scripted import CallLog
import helper

def ask(value):
    helper.LOG.write("generate", value)
    return helper.answer(value)

def Mine(log):
    helper.LOG.path = log
    return function(ask, version="1")
"""


def test_a_helper_of_a_wrapped_function_that_changed_is_named_by_the_function(
    project: Project,
) -> None:
    helper = HELPER + "\nfrom themis.testing.scripted import CallLog\nLOG = CallLog('unset')\n"
    project.write("helper.py", helper)
    project.write("mine.py", WRAPPED)
    project.run()
    assert project.run("other")["to_run"] == {"generate": 0, "score": 4}
    project.write("helper.py", "# why\n" + helper)
    assert project.run("third")["to_run"] == {"generate": 0, "score": 4}
    project.write("helper.py", helper.replace("+ 1", "+ 2"))
    fourth = project.run("fourth")
    assert fourth["to_run"] == {"generate": 4, "score": 4}
    assert fourth["why"]["generate"] == ["code of generator 'function/ask' (mine.ask) changed"]
    assert fourth["values"] == [0, 0, 0, 0]
    assert project.calls() == 8
