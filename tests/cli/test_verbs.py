"""Each verb: what it prints where, what it exits with, and that it does what it says.

Covers: themis.cli, themis.cli.bundle_verbs, themis.cli.catalog_verbs, themis.cli.init_verb,
themis.cli.output, themis.cli.planning_verbs, themis.cli.quick_verbs, themis.cli.reading_verbs,
themis.cli.run_verbs, themis.cli.runs, themis.cli.shell, themis.cli.starter.own_metric,
themis.experiment.evaluate, themis.views.common_failures
"""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.cli.conftest import command, environment
from tests.support.until import steps_done, until
from themis.cli import app
from themis.core.errors import RunInterrupted
from themis.core.events import Stage
from themis.experiment.experiment import Experiment
from themis.views import common_failures

SLOW = "generation.generator={use: builtin/demo_generator, params: {latency_ms: 300}}"


def test_help_loads_no_models_no_numpy_and_no_sdk() -> None:
    program = (
        "import sys\n"
        "from themis.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    print(end.code, *sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = done.stderr.split()
    assert code == "0"
    assert "quick-eval" in done.stdout
    heavy = {"numpy", "scipy", "pydantic", "openai", "langgraph", "rich", "yaml", "sqlite3"}
    assert heavy.isdisjoint(modules)
    ours = {name for name in modules if name.startswith("themis.")}
    allowed = ("themis.cli", "themis.core")
    assert [name for name in ours if not name.startswith(allowed)] == []
    assert "themis.core.models" not in ours


def test_version_is_said(themis: Any) -> None:
    assert themis("--version").out.startswith("themis 0.")


def test_a_new_project_runs_as_it_is(themis: Any, project: Path) -> None:
    ended = themis("run", "--config", project / "themis.yaml")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert ended.data["status"] == "completed"
    assert ended.data["cases"] == 6
    assert set(ended.data["metrics"]) == {"builtin/exact_match", "metric/same_length"}
    assert (project / ".themis" / "runs.db").is_file()
    readme = (project / "README.md").read_text()
    assert "themis run --config project/themis.yaml" in readme


def test_init_overwrites_nothing(inside: Any, project: Path) -> None:
    (project / "themis.yaml").unlink()
    (project / "data.jsonl").write_text("mine")
    ended = inside("init", "project")
    assert ended.code == 2
    assert "is there already; nothing was written" in ended.err
    assert (project / "data.jsonl").read_text() == "mine"
    assert not (project / "themis.yaml").exists()


def test_a_folder_that_cannot_be_made_is_one_line(inside: Any) -> None:
    ended = inside("init", "/proc/x")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("themis: error: '/proc/x' cannot be written: ")
    assert len(ended.err.splitlines()) == 1


def test_results_go_to_stdout_and_all_else_to_stderr(themis: Any, project: Path) -> None:
    ended = themis("run", "--config", project / "themis.yaml", "--progress")
    assert ended.data["cases_finished"] == 6
    assert ended.err.startswith("themis: 6/6 cases")


def test_a_second_run_reuses_everything(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    first = inside("run", "--config", config).data
    assert inside("run", "--config", config).data == first
    more = ["--set", "generation.candidate_policy.num_samples=3"]
    estimate = inside("estimate", "--config", config, *more).data
    assert estimate["to_run"] == {"generate": 6}
    assert inside("run", "--config", config, *more).data["run_id"] != first["run_id"]


def test_a_run_can_stop_at_a_stage_and_go_on(themis: Any, project: Path) -> None:
    config, store = project / "themis.yaml", project / ".themis" / "runs.db"
    themis("run", "--config", config, "--until-stage", "generate")
    state = themis("inspect", "state", "latest", "--store", store).data
    assert state["completed_through_stage"] == "generate"
    done = themis("resume", "latest", "--config", config)
    assert done.data["metrics"]["builtin/exact_match"]["n_scored"] == 12
    wrong = themis("run", "--config", config, "--until-stage", "generte")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'generate'?" in wrong.err


def test_resuming_checks_that_it_is_the_same_run(themis: Any, project: Path) -> None:
    config = project / "themis.yaml"
    missing = themis("resume", "abc", "--config", config)
    assert missing.code == 2
    assert "there is no store" in missing.err
    assert not (project / ".themis").exists()
    run_id = themis("run", "--config", config).data["run_id"]
    assert themis("resume", run_id[:6], "--config", config).data["run_id"] == run_id
    changed = themis("resume", run_id, "--config", config, "--set", "seeds=[1, 2]")
    assert changed.code == 2
    assert "it was changed since" in changed.err
    unknown = themis("resume", "zzz", "--config", config)
    assert unknown.code == 2
    assert "no run 'zzz'" in unknown.err


def test_an_experiment_in_python_can_be_resumed(themis: Any, tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(
        "from themis import Experiment\n"
        "from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig\n"
        "from themis.core.models import Case, Dataset\n"
        "CASE = Case(case_id='a', input='q', expected_output='x')\n"
        "def experiment():\n"
        "    return Experiment(\n"
        "        generation=GenerationConfig(generator='builtin/demo_generator'),\n"
        "        evaluation=EvaluationConfig(metrics=['builtin/exact_match']),\n"
        "        storage=StorageConfig(store='sqlite', parameters={'path': 'study.db'}),\n"
        "        datasets=[Dataset(dataset_id='d', cases=[CASE])],\n"
        "    )\n"
        "if __name__ == '__main__':\n"
        "    print(experiment().run(until_stage='generate').run_id)\n"
    )
    made = subprocess.run(
        [sys.executable, "study.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    ended = themis("resume", made.stdout.strip(), "study:experiment")
    assert ended.code == 0, ended.err
    assert ended.data["status"] == "completed"
    assert "builtin/exact_match" in ended.data["metrics"]


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(themis: Any, project: Path) -> None:
    config = project / "themis.yaml"
    words = ["--set", SLOW, "--set", "runtime.max_concurrent_tasks=1"]
    process = subprocess.Popen(
        command("run", "--config", config, *words, "--progress"),
        cwd=project.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = project / ".themis" / "runs.db"
    until(lambda: steps_done(store, Stage.GENERATE), "the first answer")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    last = err.splitlines()[-1]
    told = f"Go on with: themis resume {last.split()[2]} --config {shlex.quote(str(config))}"
    assert told in last

    resumed = themis("resume", last.split()[2], "--config", config, *words)
    assert resumed.code == 0, resumed.err
    assert resumed.data["cases_finished"] == 6


@pytest.mark.parametrize(
    ("verb", "method"), [("run", "run"), ("replay", "replay"), ("rejudge", "rejudge")]
)
def test_the_way_to_go_on_names_the_same_experiment(
    inside: Any, project: Path, monkeypatch: pytest.MonkeyPatch, verb: str, method: str
) -> None:
    def interrupted(self: Experiment, **options: Any) -> None:
        raise RunInterrupted("stopped", run_id="0123")

    config = project / "with blanks.yaml"
    (project / "themis.yaml").rename(config)
    monkeypatch.setattr(Experiment, method, interrupted)
    words = ["--set", "seeds=[1, 2]", "--set", "generation.candidate_policy={num_samples: 2}"]
    stage = ["--stage", "score"] if verb == "replay" else []
    ended = inside(verb, "--config", config, *stage, *words)
    assert ended.code == 130
    how = shlex.split(ended.err.partition("Go on with: ")[2])
    assert how == ["themis", "resume", "0123", "--config", str(config), *words]


def test_set_without_a_config_is_refused(inside: Any) -> None:
    ended = inside("resume", "abc", "study:experiment", "--set", "seeds=[1]")
    assert (ended.code, ended.out) == (2, "")
    assert "--set changes a config" in ended.err


@pytest.mark.parametrize(
    "words", [[], *([name] for name in ("inspect", "quick-eval", "catalog", "export", "import"))]
)
def test_a_group_of_verbs_alone_explains_itself(inside: Any, words: list[str]) -> None:
    ended = inside(*words)
    assert (ended.code, ended.err) == (2, "")
    assert ended.out.startswith(f"Usage: themis {' '.join(words)}".rstrip())
    assert "Commands:" in ended.out.splitlines()


def test_one_default_store_for_python_and_the_command_line(inside: Any) -> None:
    from themis.cli.runs import default_store
    from themis.experiment.evaluate import DEFAULT_PATH

    assert default_store() is DEFAULT_PATH
    for words in (["report"], ["quick-eval", "inline"], ["import", "evaluation"]):
        assert f"[default: ({DEFAULT_PATH})]" in " ".join(inside(*words, "--help").out.split())


def failing(project: Path, which: str, said: str = "'out of order'") -> None:
    (project / "own_generator.py").write_text(
        "from themis.core.models import GenerationResult\n"
        "class Failing:\n"
        "    component_id = 'generator/failing'\n"
        "    version = '1'\n"
        "    def fingerprint(self):\n        return 'failing'\n"
        "    async def generate(self, case, ctx):\n"
        f"        if {which}:\n            raise ValueError({said})\n"
        "        return GenerationResult(candidate_id='c', final_output='x')\n"
    )


def looked_at(inside: Any, err: str) -> Any:
    """What the command at the end of a message shows."""
    words = shlex.split(err.strip().splitlines()[-1].partition("see: themis ")[2])
    shown = inside(*words)
    assert shown.code == 0, shown.err
    return shown.data


def test_a_run_with_failures_says_which_and_exits_with_0(inside: Any, project: Path) -> None:
    failing(project, "case.case_id == 'peru'")
    ended = inside(
        *("run", "--config", project / "themis.yaml"),
        *("--set", "generation.generator=own_generator:Failing"),
    )
    assert ended.code == 0
    assert ended.data["status"] == "partial_failure"
    (line,) = ended.err.splitlines()
    assert "themis: warning: 1 of 6 cases ended with errors, all (1): " in line
    assert "out of order; running again tries them again; see: themis inspect case" in line
    case = looked_at(inside, ended.err)
    assert case["case_id"] == "peru"
    assert "out of order" in case["generation_failures"][0]["message"]


def test_failures_that_all_differ_are_counted_where_they_are_not_told_apart(
    inside: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        common_failures, "FailuresFold", partial(common_failures.FailuresFold, most=2)
    )
    failing(project, "case.case_id != 'peru'", "'no ' + case.case_id")
    ended = inside(
        *("run", "--config", project / "themis.yaml"),
        *("--set", "generation.generator=own_generator:Failing"),
    )
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    assert "5 of 6 cases ended with errors, most often (1, of the first 2 messages; " in line
    assert "; 3 cases have others): generator/failing: no " in line
    assert looked_at(inside, ended.err)["generation_failures"]


def test_a_run_without_any_result_says_why_and_exits_with_1(inside: Any, project: Path) -> None:
    failing(project, "True")
    ended = inside(
        *("run", "--config", project / "themis.yaml"),
        *("--set", "generation.generator=own_generator:Failing"),
    )
    assert ended.code == 1
    assert ended.data["status"] == "failed"
    metric = ended.data["metrics"]["builtin/exact_match"]
    assert "mean" in metric
    assert metric["mean"] is None
    (line,) = ended.err.splitlines()
    assert line.startswith(f"themis: error: run {ended.data['run_id']} failed: 6 of 6 cases")
    assert "all (6): generator/failing: out of order" in line
    assert looked_at(inside, ended.err)["generation_failures"]


def test_what_a_metric_refuses_is_said_and_no_second_try_is_promised(
    inside: Any, project: Path
) -> None:
    (project / "refusing.py").write_text(
        "from themis.core.models import ScoreError\n"
        "class Refusing:\n"
        "    component_id = 'metric/refusing'\n"
        "    version = '1'\n"
        "    def fingerprint(self):\n        return 'refusing'\n"
        "    def score(self, parsed, case, ctx):\n"
        "        return ScoreError(metric_id='metric/refusing', reason='no gold answer')\n"
    )
    ended = inside(
        *("run", "--config", project / "themis.yaml"),
        *("--set", "evaluation.metrics=[refusing:Refusing]"),
    )
    assert ended.code == 0, ended.err
    assert ended.data["metrics"]["metric/refusing"]["n_errors"] == 12
    (line,) = ended.err.splitlines()
    assert "6 of 6 cases ended with errors, all (6): metric/refusing: no gold answer" in line
    assert "tries them again" not in line
    assert looked_at(inside, ended.err)["evaluation_failures"]


def test_replay_and_rejudge_do_again_what_was_done(inside: Any, project: Path) -> None:
    config, store = project / "themis.yaml", project / ".themis" / "runs.db"
    judged = [
        *("--set", "evaluation.judge_models=[builtin/demo_judge]"),
        *(
            "--set",
            "evaluation.metrics=[builtin/exact_match, "
            "{use: builtin/llm_rubric, name: good, params: {rubric: Is it good}}]",
        ),
    ]
    first = inside("run", "--config", config, *judged).data
    again = inside("replay", "--config", config, "--stage", "score", *judged)
    assert again.data["metrics"] == first["metrics"]
    rejudged = inside("rejudge", "--config", config, "--metric", "good", *judged)
    assert rejudged.data["metrics"] == first["metrics"]
    state = inside("inspect", "state", first["run_id"][:8], "--store", store).data
    assert [attempt["mode"] for attempt in state["attempts"]] == ["run", "replay", "rejudge"]
    wrong = inside("replay", "--config", config, "--stage", "score", "--metric", "nosuch", *judged)
    assert (wrong.code, wrong.out) == (2, "")
    found = inside("inspect", "evaluation", "latest", "peru", "good", "--store", store).data
    assert found["metric_id"] == "good"
    agreement = inside("inspect", "judges", "latest", "good", "--store", store).data
    assert [one["n_failures"] for one in agreement["judges"]] == [0]
    assert agreement["n_units"] == agreement["judges"][0]["n_calls"]


def test_reports_and_looks_into_a_run(inside: Any, project: Path, tmp_path: Path) -> None:
    run_id = inside("run", "--config", project / "themis.yaml").data["run_id"]
    store = ["--store", project / ".themis" / "runs.db"]
    assert run_id in inside("report", "latest", *store).out
    assert json.loads(inside("report", run_id[:5], "--format", "json", *store).out)
    written = inside("report", "latest", "--output", "out/report.html", *store)
    assert (written.code, written.out) == (0, "")
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    assert inside("quickcheck", "latest", *store).data["run_id"] == run_id
    assert inside("inspect", "snapshot", "latest", *store).data["run_id"] == run_id
    case = inside("inspect", "case", "latest", "peru", *store).data
    assert len(case["generated_candidates"]) == 2
    for wrong, said in (
        (["report", "latest", "--format", "htm"], "did you mean 'html'?"),
        (["inspect", "case", "latest", "nosuch"], "no case 'nosuch'"),
        (["quickcheck", "zzz"], "no run 'zzz'"),
        (["report", "latest", "-o", "."], "'.' is a folder"),
        (["report", "latest", "-o", ".", "--format", "markdown"], "'.' is a folder"),
        (["report", "latest", "-o", "/proc/x.md"], "'/proc/x.md' cannot be written"),
        (["export", "evaluation", "latest", "-o", "/proc/x.jsonl"], "'/proc/x.jsonl' cannot be"),
    ):
        ended = inside(*wrong, *store)
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err


def test_a_run_is_named_by_as_much_of_its_id_as_is_needed(inside: Any, project: Path) -> None:
    config = project / "themis.yaml"
    ids = [
        inside("run", "--config", config, "--set", f"datasets.0.take={n}").data["run_id"]
        for n in range(1, 4)
    ]
    store = ["--store", project / ".themis" / "runs.db"]
    for run_id in ids:
        assert inside("quickcheck", run_id[:12], *store).data["run_id"] == run_id
    assert inside("quickcheck", "latest", *store).data["run_id"] == ids[-1]
    ended = inside("quickcheck", "", *store)
    assert ended.code == 2
    assert "the run id is empty" in ended.err


def test_quick_eval_needs_no_files_of_its_own(themis: Any, tmp_path: Path) -> None:
    ended = themis(
        *("quick-eval", "inline", "--model", "builtin/demo_generator", "--input", "2+2"),
        *("--expected-output", "4", "--metric", "builtin/exact_match", "--parser", "builtin/text"),
        *("--metric", "{use: builtin/exact_match, name: again}"),
    )
    assert ended.code == 0, ended.err
    assert ended.err == f"themis: runs are kept in {Path('.themis') / 'runs.db'}\n"
    assert ended.data["metrics"]["again"]["mean"] == 1.0
    assert (tmp_path / ".themis" / "runs.db").is_file()
    assert themis("quickcheck", "latest").data["run_id"] == ended.data["run_id"]


def test_quick_eval_reads_a_file_by_its_own_field_names(inside: Any, tmp_path: Path) -> None:
    lines = [json.dumps({"q": f"1+{n}", "gold": str(n + 1), "id": n}) for n in range(9)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    words = ["quick-eval", "file", "data.jsonl", "--model", "builtin/demo_generator"]
    fields = ["--input", "q", "--expected-output", "gold", "--case-id", "id"]
    rest = ["--metric", "builtin/exact_match", "--samples", "2", "--take", "5", "--store", "x.db"]
    ended = inside(*words, *fields, *rest)
    assert ended.code == 0, ended.err
    assert ended.data["metrics"]["builtin/exact_match"]["n_scored"] == 10
    wrong = inside(*words, "--input", "question", *rest)
    assert wrong.code == 2
    assert "no key 'question'" in wrong.err


@pytest.mark.parametrize(
    ("option", "steps_reused"), [([], 4), (["--max-age", "1h"], 4), (["--fresh"], 0)]
)
def test_quick_eval_reuses_as_much_as_it_is_told_to(
    inside: Any, option: list[str], steps_reused: int
) -> None:
    words = ["--model", "builtin/demo_generator", "--expected-output", "4", "--store", "x.db"]
    words += ["--metric", "builtin/exact_match", "--parser", "builtin/text", "--input", "2+2"]
    inside("quick-eval", "inline", *words)
    more = ["--metric", "{use: builtin/exact_match, name: again}"]
    ended = inside("quick-eval", "inline", *words, *more, *option)
    assert ended.code == 0, ended.err
    assert ended.data["steps_done"] == 4
    assert ended.data["steps_reused"] == steps_reused


def test_quick_eval_names_what_it_cannot_take_for_an_age(inside: Any, tmp_path: Path) -> None:
    words = ["quick-eval", "inline", "--model", "builtin/demo_generator", "--input", "2"]
    ended = inside(*words, "--max-age", "old")
    assert (ended.code, ended.out) == (2, "")
    assert "--max-age" in ended.err
    assert "give one of them" in inside(*words, "--max-age", "1h", "--fresh").err
    assert not (tmp_path / ".themis").exists()


def test_quick_eval_reads_a_data_set_of_the_hub(
    inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    library: Any = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    folder = tmp_path / "sums"
    folder.mkdir()
    for split, numbers in (("train", range(4)), ("test", range(4, 9))):
        lines = [json.dumps({"q": f"1+{n}", "gold": str(n + 1)}) for n in numbers]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    words = ["quick-eval", "huggingface", "sums", "--model", "builtin/demo_generator"]
    words += ["--input", "q", "--expected-output", "gold", "--metric", "builtin/exact_match"]
    ended = inside(*words, "--split", "test", "--take", "3")
    assert ended.code == 0, ended.err
    assert ended.data["metrics"]["builtin/exact_match"]["n_scored"] == 3
    rows = list(csv.DictReader(io.StringIO(inside("report", "latest", "--format", "csv").out)))
    assert {row["dataset_id"] for row in rows} == {"sums:test"}
    cases = [inside("inspect", "case", "latest", row["case_id"]).data for row in rows]
    assert [case["dataset_id"] for case in cases] == ["sums:test"] * 3
    split = inside(*words)
    assert split.code == 2
    assert "choose one with" in split.err


def test_a_bundle_travels_from_store_to_store(inside: Any, project: Path, tmp_path: Path) -> None:
    run = inside("run", "--config", project / "themis.yaml").data
    store = ["--store", project / ".themis" / "runs.db"]
    assert inside("export", "evaluation", "latest", "-o", "run.jsonl", *store).code == 0
    there = inside("import", "evaluation", "run.jsonl", "--store", "other.db")
    assert there.data == {"run_id": run["run_id"]}
    assert inside("quickcheck", "latest", "--store", "other.db").data == run
    piped = inside("export", "generation", "latest", *store)
    (tmp_path / "piped.jsonl").write_text(piped.out)
    assert inside("import", "generation", "piped.jsonl", "--store", "third.db").code == 0
    (tmp_path / "bad.jsonl").write_text(piped.out.replace("Tokyo", "Kyoto"))
    bad = inside("import", "generation", "bad.jsonl", "--store", "fourth.db")
    assert (bad.code, bad.out) == (2, "")
    assert "bundle 'bad.jsonl': " in bad.err
    assert "was changed since it was exported" in bad.err
    assert not (tmp_path / "fourth.db").exists()


@pytest.mark.parametrize("kind", ["generation", "reduction", "parse", "score", "evaluation"])
def test_a_bundle_of_every_stage_travels(inside: Any, project: Path, kind: str) -> None:
    run = inside("run", "--config", project / "themis.yaml").data
    store = ["--store", project / ".themis" / "runs.db"]
    assert inside("export", kind, f"{run['run_id'][:6]}@1", "-o", "run.jsonl", *store).code == 0
    assert inside("import", kind, "run.jsonl", "--store", "other.db").data == {
        "run_id": run["run_id"]
    }
    piped = inside("export", kind, "latest", "--store", "other.db").out
    Path("piped.jsonl").write_text(piped)
    assert inside("import", kind, "piped.jsonl", "--store", "third.db").code == 0
    told = inside("quickcheck", "latest", "--store", "third.db").data
    if kind in ("score", "evaluation"):
        assert told["metrics"] == run["metrics"]
    wrong = "score" if kind != "score" else "parse"
    refused = inside("import", wrong, "piped.jsonl", "--store", "fourth.db")
    assert refused.code == 2
    assert f"is of kind '{kind}', not '{wrong}'" in refused.err


def test_outputs_made_elsewhere_are_imported_and_scored(inside: Any, project: Path) -> None:
    config, outputs = project / "themis.yaml", project / "outputs.jsonl"
    lines = (project / "data.jsonl").read_text().splitlines()
    cases = [json.loads(line)["case_id"] for line in lines]
    rows = [
        {"case_id": name, "sample": sample, "output": "Rome"}
        for name in cases
        for sample in range(2)
    ]
    del rows[-1]
    outputs.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["import", "generation", "--from", outputs, "--config", config]
    done = inside(*words)
    assert done.code == 0, done.err
    assert (done.data["outputs"], done.data["missing"]) == (2 * len(cases) - 1, 1)
    assert "samples without an output: 1" in done.err
    then = shlex.split(done.data["then"])
    scored = inside(*then[1:])
    assert scored.data["run_id"] == done.data["run_id"]
    assert scored.data["metrics"]["builtin/exact_match"]["n_errors"] == 1
    assert "made elsewhere" in scored.err
    outputs.write_text(json.dumps({"case_id": "atlantis", "output": "?"}))
    refused = inside(*words)
    assert refused.code == 2
    assert "outputs.jsonl line 1: no dataset has a case 'atlantis'" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a bundle's file"),
        (["a.jsonl", "--from", "b.jsonl"], "give a bundle's file"),
        (["--from", "b.jsonl"], "--from needs the experiment"),
        (["a.jsonl", "--config", "c.yaml"], "belong to outputs made elsewhere"),
        (["--from", "b", "--config", "c", "--store", "d"], "the store is the experiment's own"),
    ],
)
def test_it_is_said_what_an_import_needs(inside: Any, words: list[str], said: str) -> None:
    ended = inside("import", "generation", *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_the_catalog_is_listed(inside: Any) -> None:
    rows = inside("catalog", "list", "--kind", "metric").data
    assert {"id": "builtin/exact_match", "kind": "metric", "package": "themis"} in rows
    assert {row["kind"] for row in rows} == {"metric"}


def test_a_person_at_a_terminal_sees_tables_and_a_program_json(project: Path) -> None:
    def on_terminal(*words: str | Path) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command(*words), stdout=theirs, stderr=subprocess.DEVNULL, env=environment()
        )
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait(timeout=60) == 0
        os.close(ours)
        return seen.decode()

    config = project / "themis.yaml"
    shown = on_terminal("run", "--config", config)
    assert "95% interval" in shown
    assert "{" not in shown
    assert json.loads(on_terminal("run", "--config", config, "--json"))["status"] == "completed"
    assert "stage     steps  new" in on_terminal("estimate", "--config", config)
    assert "case_id: peru" in on_terminal(
        *("inspect", "case", "latest", "peru", "--store", project / ".themis" / "runs.db")
    )


def test_a_reader_that_leaves_early_is_no_error(project: Path) -> None:
    words = shlex.join(command("catalog", "list"))
    done = subprocess.run(
        f"{words} | true", shell=True, env=environment(), capture_output=True, check=False
    )
    assert done.stderr == b""


def test_a_traceback_is_shown_only_with_debug(themis: Any) -> None:
    quiet = themis("report", "latest")
    loud = themis("--debug", "report", "latest")
    assert quiet.code == loud.code == 2
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
    assert loud.err.endswith(quiet.err)


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([name] for name in ("inspect", "quick-eval", "catalog", "export", "import")),
        ["run"],
        ["resume"],
        ["replay"],
        ["rejudge"],
        ["estimate"],
        ["plan"],
        ["explain"],
        ["report"],
        ["quickcheck"],
        ["init"],
        ["inspect", "case"],
        ["quick-eval", "file"],
    ],
)
def test_every_verb_explains_itself(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_no_verb_is_cut_short_where_all_are_listed() -> None:
    verbs: Any = get_command(app)
    groups = [words for words in ([], *([name] for name in verbs.commands)) if is_group(words)]
    assert len(groups) > 3
    for words in groups:
        listed = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*words, "--help"]).output
        assert "..." not in listed.partition("Commands:")[2], words


def is_group(words: list[str]) -> bool:
    return "Commands:" in CliRunner().invoke(app, [*words, "--help"]).output
