"""The references are what the code says, or the check fails.

Covers: .ci/reference.py, .ci/reference_api.py, .ci/reference_cli.py
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from themis.catalog import registry
from themis.catalog.table import CATALOG

CI = Path(__file__).parent.parent.parent / ".ci"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.syspath_prepend(str(CI))
    import reference  # type: ignore[import-not-found, unused-ignore]
    import reference_api  # type: ignore[import-not-found, unused-ignore]
    import source_tree  # type: ignore[import-not-found, unused-ignore]

    source = source_tree.SourceTree(CI.parent)
    yield {"reference": reference, "api": reference_api, "source": source}
    for name in ("reference", "reference_api", "reference_cli", "source_tree"):
        sys.modules.pop(name, None)


def test_the_params_of_every_part_are_those_that_it_takes(programs: dict[str, Any]) -> None:
    source = programs["api"].Source(programs["source"])
    for kind, ids in CATALOG.items():
        for component_id, path in ids.items():
            taken = inspect.signature(registry.load(component_id, kind)).parameters.values()
            named = {one.name: one for one in taken if one.kind is not one.POSITIONAL_ONLY}
            told = {one.name: one for one in programs["api"].part_params(source, path)}
            assert set(told) == set(named), component_id
            needed = {name for name, one in named.items() if one.default is one.empty}
            assert {name for name, one in told.items() if not one.default} == needed, component_id


def test_a_page_is_written_and_then_found_to_be_what_the_code_says(
    programs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program: ModuleType = programs["reference"]
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "FOLDER", tmp_path / "reference")
    monkeypatch.setattr(program, "SourceTree", lambda _: programs["source"])

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["reference.py", *arguments])
        return int(program.main())

    assert run("--check") == 1
    assert run() == 0
    assert run("--check") == 0
    page = tmp_path / "reference" / "cli.md"
    text = page.read_text(encoding="utf-8")
    assert "## themis run\n" in text
    assert "- `-c, --config <path>`: The experiment's YAML or TOML. [required]" in text
    page.write_text(text.replace("## themis run\n", "## themis walk\n"), encoding="utf-8")
    capsys.readouterr()
    assert run("--check") == 1
    told = capsys.readouterr().out
    assert "-## themis walk\n+## themis run\n" in told
    assert "reference/cli.md:1: is not what the code says: run `make reference`" in told
