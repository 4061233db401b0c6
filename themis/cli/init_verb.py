"""The verb init, which writes a new project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from themis.cli.output import writing
from themis.cli.shell import say

_FILES = ("themis.yaml", "data.jsonl", "own_metric.py", "README.md")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")],
) -> None:
    """Write a project to run as it is; overwrites nothing."""
    from importlib.resources import files

    from themis.core.errors import DefinitionError

    if folder.exists() and not folder.is_dir():
        raise DefinitionError(f"'{folder}' is a file; name a folder")
    for name in _FILES:
        if (folder / name).exists():
            raise DefinitionError(f"'{folder / name}' is there already; nothing was written")
    starter = files("themis.cli") / "starter"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            text = (starter / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace("DIR/", f"{folder}/"), encoding="utf-8")
    say(f"a project is in {folder}; next: themis run --config {folder / 'themis.yaml'}")
