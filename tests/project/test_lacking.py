"""What a machine cannot run is said last, by what to do about it.

Covers: tests/support/lacking.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.lacking import told

ROOT = Path(__file__).parent.parent.parent
TESTS = """
import pytest
from tests.support.lacking import lacking

@pytest.mark.parametrize("number", range(3))
def test_one(number):
    lacking("install strace", f"number {number} is traced")

def test_two():
    lacking("run the tests as root", "it mounts", must_not_in_ci=True)

def test_three():
    assert True
"""


def test_reasons_are_counted_by_what_is_to_be_done() -> None:
    assert told(["install strace: a", "Skipped: install strace: b", "be root: c", "odd"]) == [
        "2 skipped for want of this: install strace",
        "1 skipped for want of this: be root",
        "1 skipped for want of this: odd",
    ]


def run(folder: Path, *more: str, **environment: str) -> tuple[int, list[str]]:
    (folder / "test_all.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", *more, str(folder)]
    kept = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_the_last_lines_say_what_to_do_in_one_process_and_in_several(tmp_path: Path) -> None:
    for more in ((), ("-n", "2")):
        code, lines = run(tmp_path, *more)
        assert code == 0, lines
        assert lines[-3:-1] == [
            "3 skipped for want of this: install strace",
            "1 skipped for want of this: run the tests as root",
        ]
        assert lines[-1].startswith("1 passed, 4 skipped")


def test_what_must_run_in_continuous_integration_fails_there(tmp_path: Path) -> None:
    code, lines = run(tmp_path, CI="true")
    assert code == 1
    assert lines[-1].startswith("1 failed, 1 passed, 3 skipped")
