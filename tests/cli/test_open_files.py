"""A verb leaves no store open, however it ends.

Covers: themis.cli.runs, themis.cli.shell, themis.stores.sqlite
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.lacking import lacking
from themis.cli import main
from themis.stores.sqlite import SqliteRunStore

EVALUATION = {
    "metrics": [{"use": "builtin/llm_rubric", "params": {"rubric": "Right?"}, "name": "right"}],
    "judge_models": ["builtin/demo_judge"],
}
CONFIG: dict[str, Any] = {
    "generation": {"generator": "builtin/demo_generator"},
    "evaluation": EVALUATION,
    "storage": {"store": "sqlite", "parameters": {"path": "runs.db"}},
    "datasets": [
        {"dataset_id": "d", "cases": [{"case_id": "a", "input": "q", "expected_output": "x"}]}
    ],
}
STORE = ("--store", "runs.db")


def open_databases(folder: Path) -> list[str]:
    """Return the SQLite files of a folder that this process holds open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith(str(folder)) and ".db" in target:
            found.append(target)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a run, a config and outputs; no store that is made is ever collected."""
    if not os.path.isdir("/proc/self/fd"):
        lacking("mount /proc", "it says which files are open")
    made: list[SqliteRunStore] = []
    init = SqliteRunStore.__init__

    def keeping(self: SqliteRunStore, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        made.append(self)

    monkeypatch.setattr(SqliteRunStore, "__init__", keeping)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "unknown.jsonl").write_text(json.dumps({"case_id": "zz", "output": "x"}) + "\n")
    (tmp_path / "outputs.jsonl").write_text(json.dumps({"case_id": "a", "output": "x"}) + "\n")
    assert ended("run", "--config", "eval.yaml") == 0
    assert ended("export", "evaluation", "latest", *STORE, "-o", "run.jsonl") == 0
    (tmp_path / "forged.jsonl").write_bytes(
        (tmp_path / "run.jsonl").read_bytes().replace(b'"case_id":"a"', b'"case_id":"b"')
    )
    assert open_databases(tmp_path) == []
    yield tmp_path
    for store in made:
        store.close()


def ended(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "--config", "eval.yaml"), 0),
        (("run", "--config", "eval.yaml", "--until-stage", "nowhere"), 2),
        (("resume", "latest", "--config", "eval.yaml"), 0),
        (("resume", "nothing", "--config", "eval.yaml"), 2),
        (("replay", "--config", "eval.yaml", "--stage", "score"), 0),
        (("replay", "--config", "eval.yaml", "--stage", "score", "--metric", "none"), 2),
        (("rejudge", "--config", "eval.yaml"), 0),
        (("rejudge", "--config", "eval.yaml", "--set", "seeds=[3]"), 2),
        (("estimate", "--config", "eval.yaml"), 0),
        (("plan", "--config", "eval.yaml"), 0),
        (("plan", "--config", "eval.yaml", "--against", "nothing"), 2),
        (("explain", "latest", "--config", "eval.yaml"), 0),
        (("explain", "latest", "nothing", *STORE), 2),
        (("explain", "nothing", "--config", "eval.yaml"), 2),
        (("preview", "--config", "eval.yaml"), 0),
        (("report", "latest", *STORE), 0),
        (("report", "latest", *STORE, "--metric", "none"), 2),
        (("report", "latest", *STORE, "-o", "no.such"), 2),
        (("quickcheck", "latest", *STORE), 0),
        (("quickcheck", "nothing", *STORE), 2),
        (("inspect", "snapshot", "latest", *STORE), 0),
        (("inspect", "state", "latest@9", *STORE), 2),
        (("inspect", "evaluation", "latest", "a", "none", *STORE), 2),
        (("inspect", "judges", "latest", "right", *STORE), 0),
        (("inspect", "judges", "latest", "none", *STORE), 2),
        (("inspect", "case", "latest", "zz", *STORE), 2),
        (("export", "score", "nothing", *STORE), 2),
        (("export", "score", "latest", *STORE, "-o", "/proc/nowhere/x"), 2),
        (("import", "evaluation", "run.jsonl", "--store", "new.db"), 0),
        (("import", "evaluation", "forged.jsonl", *STORE), 2),
        (("import", "score", "run.jsonl", *STORE), 2),
        (("import", "generation", "--from", "outputs.jsonl", "--config", "eval.yaml"), 0),
        (("import", "generation", "--from", "unknown.jsonl", "--config", "eval.yaml"), 2),
        (("quick-eval", "inline", "--model", "builtin/demo_generator", "--input", "q", *STORE), 0),
        (("quick-eval", "inline", "--model", "builtin/none", "--input", "q", *STORE), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_no_verb_leaves_a_store_open(folder: Path, words: tuple[str, ...], code: int) -> None:
    assert ended(*words) == code
    assert open_databases(folder) == []


def test_a_store_that_a_program_opened_itself_stays_its_own(folder: Path) -> None:
    own = SqliteRunStore("runs.db")
    own.initialize()
    assert ended("quickcheck", "latest", *STORE) == 0
    assert open_databases(folder) != []
    own.close()
