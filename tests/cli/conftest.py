"""The command line as a user meets it: a process of its own, with two streams and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from themis.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Shell = Callable[..., Ended]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "themis", *map(str, words)]


@pytest.fixture
def themis(tmp_path: Path) -> Shell:
    """Run the command line in an empty folder."""

    def run(*words: str | Path, **more: str) -> Ended:
        done = subprocess.run(
            command(*words),
            cwd=tmp_path,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def project(themis: Shell, tmp_path: Path) -> Path:
    """A project as ``init`` writes it."""
    assert themis("init", "project").code == 0
    return tmp_path / "project"


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """Run the command line in this process, in an empty folder; quicker where that says as much."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # Each project has modules of these names; a process that ends would forget them.
    for name in ("own_generator", "own_metric", "refusing"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(*words: str | Path) -> Ended:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Ended(int(end.value.code or 0), said.out, said.err)

    return run
