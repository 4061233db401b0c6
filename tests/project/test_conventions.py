"""The checks of a project fail where they should: each rule is broken once in a small tree.

Covers: .ci/conventions.py, .ci/sizes.py, .ci/source_tree.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TABLE = """
CATALOG: dict = {"metric": {"builtin/match": "themis.catalog.match:Match"}}
ADAPTERS: dict = {"generator": {"http": "themis.catalog.match:Match"}}
"""
SEAM = """
class Keeper(Protocol):
    def keep(self) -> None: ...
"""
HEAD = '"""All.\n\nCovers: themis.catalog.table,\nthemis.catalog.match, docs\n\nMore.\n"""\n'
KEPT = {
    "themis/__init__.py": "",
    "themis/catalog/__init__.py": "",
    "themis/catalog/table.py": TABLE,
    "themis/catalog/match.py": "class Match:\n    pass\n",
    "docs/metrics.md": "`builtin/match` compares; `http(url)` asks.",
    "tests/test_all.py": HEAD,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in KEPT.items():
        write(tmp_path, name, text)
    return tmp_path


def write(project: Path, name: str, text: str) -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def check(program: str, *arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / program, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_tree_that_keeps_the_conventions_passes(project: Path) -> None:
    assert check("conventions.py", project) == (0, "conventions: 6 rules kept\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("themis/other/match.py", "", "themis/other/match.py:1: the file name match.py stands"),
        ("themis/other.py", "\nclass Match: ...", "themis/other.py:2: the class name Match"),
        ("docs/metrics.md", "`http(url)`, builtin/match_all", "builtin/match stands nowhere"),
        ("docs/metrics.md", "`builtin/match` over http", "the generator http stands nowhere"),
        ("themis/seam.py", SEAM + "\n\ncast(Keeper, 1)", "themis/seam.py:6: cast to Keeper"),
        ("themis/seam.py", SEAM + "\ncast('Keeper | None', 1)", "seam.py:5: cast to Keeper"),
        ("themis/journal.py", "typing.cast(Journal, 1)", "journal.py:1: cast to Journal"),
        ("themis/by.py", "\nimport_module('themis.catalog.match')", "by.py:2: names themis.c"),
        ("themis/by.py", "import_module(f'themis.catalog.{x}')", "by.py:1: names themis.catalog.*"),
        ("themis/by.py", "X = {'a': 'themis.catalog.match:Match'}", "by.py:1: names themis.cat"),
    ],
)  # fmt: skip
def test_what_breaks_a_convention_is_told_with_its_place(
    project: Path, name: str, text: str, said: str
) -> None:
    write(project, name, text)
    status, told = check("conventions.py", project)
    assert status == 1
    assert said in told


def test_strings_that_only_look_like_modules_are_none(project: Path) -> None:
    write(
        project,
        "themis/catalog/match.py",
        '"""themis.catalog.table"""\nX = "themis.run_id"\nE(needed_for="themis.catalog.table")\n',
    )
    assert check("conventions.py", project)[0] == 0


def test_what_no_test_covers_and_what_names_no_module_is_told(project: Path) -> None:
    write(project, "tests/test_all.py", '"""All.\n\nCovers: themis.catalog.tables\n"""\n')
    write(project, "tests/test_more.py", "")
    status, told = check("conventions.py", project)
    assert status == 1
    assert "tests/test_all.py:1: covers themis.catalog.tables, which is no module" in told
    assert "tests/test_more.py:1: names no module" in told
    assert "themis/catalog/match.py:1: no test file covers it" in told
    assert "themis/catalog/__init__.py" not in told


@pytest.mark.parametrize(
    ("lines", "status", "said"), [(400, 0, "nothing is long"), (401, 0, "401"), (601, 1, "split")]
)
def test_a_long_module_is_told_and_a_longer_one_refused(
    project: Path, lines: int, status: int, said: str
) -> None:
    write(project, "themis/long.py", "x = 1\n" * lines)
    assert check("sizes.py", project)[0] == status
    assert said in check("sizes.py", project)[1]


@pytest.mark.parametrize(("lines", "status"), [(60, 0), (61, 0), (101, 1)])
def test_a_long_function_is_told_and_a_longer_one_refused(
    project: Path, lines: int, status: int
) -> None:
    write(project, "themis/long.py", "def f():\n" + "    x = 1\n" * (lines - 1))
    found, told = check("sizes.py", project)
    assert found == status
    assert ("f()" in told) is (lines > 60)
