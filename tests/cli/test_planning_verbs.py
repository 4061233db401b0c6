"""``plan`` and ``explain``: a table for people, JSON for programs, and nothing left behind.

Covers: themis.cli.planning_verbs, themis.planning.estimate
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from themis.cli.planning_verbs import _explanation_text, _plan_text, plan
from themis.experiment.experiment import Experiment

SAMPLES = ("--set", "generation.candidate_policy.num_samples=3")


def test_a_plan_of_what_was_never_run_makes_no_file(inside: Any, project: Path) -> None:
    planned = inside("plan", "--config", project / "themis.yaml").data
    assert planned["stages"]["generate"]["to_run"] == 12
    assert planned["stages"]["generate"]["reasons"][0]["causes"] == ["unknown"]
    assert "compared_with" not in planned
    assert not (project / ".themis").exists()


def test_a_plan_says_what_the_next_run_does_and_why(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    first = inside("run", "--config", config).data
    planned = inside("plan", "--config", config, *SAMPLES).data
    assert planned["compared_with"] == first["run_id"]
    stage = planned["stages"]["generate"]
    assert (stage["to_run"], stage["reused"]) == (6, 12)
    assert [reason["text"] for reason in stage["reasons"]] == ["sample index 2 is new"]
    estimate = inside("estimate", "--config", config, *SAMPLES).data
    assert estimate["to_run"] == {"generate": 6}
    run = inside("run", "--config", config, *SAMPLES).data
    assert run["run_id"] == planned["run_id"]
    again = inside("plan", "--config", config, *SAMPLES, "--compare-with", first["run_id"][:8]).data
    assert again["compared_with"] == first["run_id"]
    assert again["stages"]["generate"] == {
        **stage,
        "to_run": 0,
        "reused": 0,
        "done": 18,
        "reasons": [],
    }


def test_a_person_is_shown_a_table(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    inside("run", "--config", config)
    shown = _plan_text(Experiment.from_config(config, [SAMPLES[1]]).plan())
    head, columns, *rows = shown.splitlines()
    assert head.endswith(")")
    assert "6 cases (compared with run " in head
    assert columns.split() == ["stage", "to", "run", "reused", "done"]
    assert rows[0].split() == ["generate", "6", "12", "0"]
    assert "generate: 6 to run: sample index 2 is new" in shown


def test_a_plan_takes_an_import_path_as_resume_does(inside: Any, tmp_path: Path) -> None:
    (tmp_path / "planned_here.py").write_text(
        "from themis import Experiment\n"
        "from themis.core.config import *\n"
        "from themis.core.models import Case, Dataset\n"
        "def experiment():\n"
        "    return Experiment(\n"
        "        generation=GenerationConfig(generator='builtin/demo_generator'),\n"
        "        evaluation=EvaluationConfig(metrics=['builtin/exact_match']),\n"
        "        storage=StorageConfig(store='sqlite', parameters={'path': 'r.db'}),\n"
        "        datasets=[Dataset(dataset_id='d', cases=[Case(case_id='c', input='q')])],\n"
        "    )\n"
    )
    assert inside("plan", "planned_here:experiment").data["n_cases"] == 1
    neither = inside("plan")
    assert (neither.code, neither.out) == (2, "")
    assert "--config FILE, or its 'pkg.module:experiment'" in neither.err
    assert not (tmp_path / "r.db").exists()


def test_a_plans_options_are_named_as_in_python() -> None:
    asked = {name.replace("-", "_") for name in inspect.signature(plan).parameters}
    own = {"experiment", "config", "rerun", "fresh", "max_age", "overrides", "as_json"}
    assert asked - own == set(inspect.signature(Experiment.plan).parameters) - {
        *("self", "reuse", "runtime", "store")
    }


def test_comparing_with_a_run_that_is_not_there_is_refused(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    missing = inside("plan", "--config", config, "--compare-with", "abc")
    assert missing.code == 2
    assert "there is no store" in missing.err
    inside("run", "--config", config)
    unknown = inside("plan", "--config", config, "--compare-with", "zzz")
    assert (unknown.code, unknown.out) == (2, "")
    assert "zzz" in unknown.err


def test_two_runs_and_a_run_and_its_config_are_explained(inside: Any, project: Path) -> None:
    config, store = project / "themis.yaml", project / ".themis" / "runs.db"
    first = inside("run", "--config", config).data["run_id"]
    second = inside("run", "--config", config, *SAMPLES).data["run_id"]
    told = inside("explain", first[:8], "latest", "--store", store).data
    assert (told["before"], told["now"], told["equal"]) == (first, second, False)
    assert [one["field"] for one in told["identity"]] == ["num_samples"]
    assert inside("explain", first, "--config", config, *SAMPLES).data == told
    same = inside("explain", "latest", "--config", config, *SAMPLES).data
    assert (same["equal"], same["identity"]) == (True, [])
    both = inside("explain", first, second, "--config", config)
    assert both.code == 2
    experiment = Experiment.from_config(config)
    text = _explanation_text(experiment.explain(second))
    assert text.splitlines()[1:] == ["num_samples changed (3 -> 2)"]
    assert _explanation_text(experiment.explain(first)) == f"equal: both are run {first}"
