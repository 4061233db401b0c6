"""What the public types promise to a user with a strict checker.

Covers: themis, themis.core.protocols, themis.testing.scripted
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def check(*files: Path) -> tuple[int, list[str]]:
    """Run the strict checker as a user would and return its exit code and error lines."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, files)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_users_components_and_the_examples_pass_the_strict_checker() -> None:
    examples = sorted((ROOT / "examples").glob("*_adapter.py"))
    assert len(examples) == 3
    code, lines = check(
        HERE / "components.py", ROOT / "examples" / "custom_generator.py", *examples
    )
    assert (code, lines) == (0, [])


def test_a_class_without_fingerprint_gives_one_readable_error() -> None:
    code, lines = check(HERE / "no_fingerprint.py")
    errors = [line for line in lines if ": error:" in line]
    assert code == 1
    assert len(errors) == 1
    assert '"Nameless"' in errors[0]
    assert "Generator" in errors[0]
    assert any("fingerprint" in line for line in lines)
