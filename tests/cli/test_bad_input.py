"""What is wrong with what a user wrote is one clear line, exit code 2, and no file left behind.

Covers: themis.__main__, themis.cli, themis.cli.output, themis.cli.shell
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from themis import SqliteRunStore

GOOD: dict[str, Any] = {
    "generation": {"generator": "builtin/demo_generator"},
    "evaluation": {"metrics": ["builtin/exact_match"]},
    "storage": {"store": "sqlite", "parameters": {"path": "kept/runs.db"}},
    "datasets": [
        {"dataset_id": "d", "cases": [{"case_id": "a", "input": "q", "expected_output": "x"}]}
    ],
}
NO_FINGERPRINT = """
class Mine:
    component_id = "generator/mine"
    version = "1"

    async def generate(self, case, ctx):
        raise AssertionError("never called")
"""

Change = Callable[[dict[str, Any], Path], object]


def setting(place: str, value: Any) -> Change:
    def change(data: dict[str, Any], folder: Path) -> None:
        *before, last = place.split(".")
        target: Any = data
        for part in before:
            target = target[int(part) if part.isdecimal() else part]
        target[last] = value

    return change


def without_fingerprint(data: dict[str, Any], folder: Path) -> None:
    (folder / "mine_without_fingerprint.py").write_text(NO_FINGERPRINT)
    data["generation"]["generator"] = "mine_without_fingerprint:Mine"


def under_a_file(data: dict[str, Any], folder: Path) -> None:
    (folder / "plain").write_text("not a folder")
    data["storage"]["parameters"]["path"] = "plain/runs.db"


def of_a_newer_version(data: dict[str, Any], folder: Path) -> None:
    path = folder / "newer.db"
    store = SqliteRunStore(path)
    store.initialize()
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO migrations (number, applied_at) VALUES (999, 0)")
        db.commit()
    data["storage"]["parameters"]["path"] = "newer.db"


CASE = {"case_id": "a", "input": "q"}
BAD: list[tuple[str, Change, str]] = [
    ("an unknown key", setting("generation.genrator", 1), "did you mean 'generator'?"),
    ("an unknown section", setting("datasetz", 1), "did you mean 'datasets'?"),
    (
        "an unknown generator",
        setting("generation.generator", "builtin/demo_generatr"),
        "no generator 'builtin/demo_generatr'; did you mean 'builtin/demo_generator'?",
    ),
    (
        "an unknown metric",
        setting("evaluation.metrics", ["builtin/exact_mach"]),
        "did you mean 'builtin/exact_match'?",
    ),
    (
        "an import path that leads nowhere",
        setting("generation.generator", "no_such_module:thing"),
        "there is no module 'no_such_module'",
    ),
    (
        "an unknown param",
        setting(
            "generation.generator", {"use": "builtin/demo_generator", "params": {"acuracy": 1}}
        ),
        "did you mean 'accuracy'?",
    ),
    ("no dataset", setting("datasets", []), "datasets is empty"),
    ("an empty dataset", setting("datasets.0.cases", []), "has no cases"),
    ("an empty data file", setting("datasets", [{"path": "empty.jsonl"}]), "has no cases"),
    ("a missing data file", setting("datasets", [{"path": "none.jsonl"}]), "is not there"),
    ("duplicate case ids", setting("datasets.0.cases", [CASE, CASE]), "case_id 'a' twice"),
    (
        "duplicate datasets",
        setting("datasets", [GOOD["datasets"][0]] * 2),
        "datasets holds 'd' twice",
    ),
    ("zero samples", setting("generation.candidate_policy", {"num_samples": 0}), "at least 1"),
    ("negative samples", setting("generation.candidate_policy", {"num_samples": -3}), "= -3"),
    (
        "a judged metric without a judge",
        setting(
            "evaluation.metrics", [{"use": "builtin/llm_rubric", "params": {"rubric": "good?"}}]
        ),
        "needs a judge",
    ),
    ("too many seeds", setting("seeds", [1, 2]), "seeds has 2 values for num_samples = 1"),
    ("a store path under a file", under_a_file, "cannot make the folder of"),
    ("a store of a newer version", of_a_newer_version, "newer"),
    ("an unknown store", setting("storage.store", "sqllite"), "did you mean 'sqlite'?"),
    (
        "an unknown store parameter",
        setting("storage.parameters", {"pth": "x"}),
        "did you mean 'path'?",
    ),
    ("a generator without fingerprint", without_fingerprint, "Mine has no fingerprint()"),
    (
        "a setting of the wrong type",
        setting("runtime", {"max_concurrent_tasks": "many"}),
        "runtime.max_concurrent_tasks = 'many'",
    ),
]


def equal_seeds(data: dict[str, Any], folder: Path) -> None:
    data["generation"]["candidate_policy"] = {"num_samples": 2}
    data["seeds"] = [3, 3]


BAD.append(("equal seeds", equal_seeds, "seeds holds 3 twice"))


def one_clear_line(err: str, said: str) -> None:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("themis: error: ")
    assert said in lines[0]
    assert "Traceback" not in err


@pytest.mark.parametrize(("change", "said"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    inside: Any, tmp_path: Path, change: Change, said: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    data = copy.deepcopy(GOOD)
    change(data, tmp_path)
    (tmp_path / "themis.yaml").write_text(yaml.safe_dump(data))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    ended = inside("run", "--config", "themis.yaml")

    assert ended.code == 2, ended.err
    assert ended.out == ""
    one_clear_line(ended.err, said)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is not there"),
        ("", "is empty"),
        ("generation: [\n", "line 2: not YAML"),
        ("just words", "a config is a mapping"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(
    inside: Any, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "themis.yaml").write_text(text)
    ended = inside("run", "--config", "themis.yaml")
    assert (ended.code, ended.out) == (2, "")
    one_clear_line(ended.err, said)


def test_a_missing_extra_is_named(themis: Any, tmp_path: Path) -> None:
    # An interpreter that has the library is made to look like one that has not.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'aiohttp' else find(name, *rest)\n"
    )
    data = copy.deepcopy(GOOD)
    data["generation"]["generator"] = {"use": "openai", "model": "m"}
    (tmp_path / "themis.yaml").write_text(yaml.safe_dump(data))
    root = Path(__file__).resolve().parents[2]

    ended = themis("run", "-c", "themis.yaml", PYTHONPATH=f"{tmp_path}:{root}")

    assert (ended.code, ended.out) == (2, "")
    one_clear_line(ended.err, "pip install 'themis-eval[openai]'")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["rum", "--config", "x"], "Did you mean 'run'"),
        (["run"], "Missing option '--config'"),
        (["run", "--confg", "x"], "--confg"),
        (["--nosuch"], "--nosuch"),
        (["run", "--config", "x.yaml", "--set", "a"], "is not there"),
        (["quick-eval", "file"], "Missing"),
        (["quick-eval", "file", "x.jsonl", "--model", "m", "--take", "many"], "--take"),
        (["quick-eval", "inline", "--model", "{", "--input", "x"], "--model is neither"),
        (["quick-eval", "inline", "--model", "builtin/dmo", "--input", "x"], "no generator"),
        (["report", "latest"], "there is no store '.themis/runs.db'"),
        (["inspect", "state", "latest", "--store", "none.db"], "there is no store 'none.db'"),
        (["resume", "abc"], "give the experiment's --config FILE"),
        (["resume", "abc", "module"], "'module' is no import path"),
        (["resume", "abc", "nosuch:thing"], "there is no module 'nosuch'"),
        (["catalog", "list", "--kind", "metrics"], "did you mean 'metric'?"),
        (["import", "evaluation", "none.jsonl"], "No such file"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    inside: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    ended = inside(*words)
    assert (ended.code, ended.out) == (2, ""), ended
    one_clear_line(ended.err, said)
    assert list(tmp_path.iterdir()) == []
