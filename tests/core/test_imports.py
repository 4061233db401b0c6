"""Themis imports everywhere: where there is no POSIX, and without what is optional there.

Covers: themis.catalog.sandbox.pool, themis.core, themis.execution.signals,
themis.stores.sqlite_database
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WALK = """
import builtins, importlib, pkgutil, sys

BLOCKED = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"}
for name in BLOCKED:  # as on a system that has none of them
    sys.modules[name] = None

import themis

names = ["themis", *(found.name for found in pkgutil.walk_packages(themis.__path__, "themis."))]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert all(sys.modules[name] is None for name in BLOCKED)
print(len(names))

from themis import evaluate
from themis.core.config import StorageConfig

result = evaluate(
    model="builtin/demo_generator",
    data=[{"input": {"question": "2+2"}, "expected_output": {"answer": "4"}}],
    metric="builtin/exact_match",
    storage=StorageConfig(store="sqlite", parameters={"path": sys.argv[1]}),
    progress=False,
)
print(result.status.value)
"""


def test_everything_imports_and_runs_where_there_is_no_posix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(tmp_path / "runs.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, status = done.stdout.split()
    assert int(count) > 100
    assert status == "completed"
