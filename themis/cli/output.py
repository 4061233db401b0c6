"""Results on standard output: JSON for programs, text for a person at a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from themis.core.protocols import RunStore
    from themis.experiment.result import RunResult

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, at a terminal too.")]
FAILED = 1


def show(data: Callable[[], Any], text: Callable[[], str], *, as_json: bool) -> None:
    """Print a result: as text at a terminal, else as JSON. Only what is printed is computed."""
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(data(), ensure_ascii=False, indent=2))
    else:
        typer.echo(text())


def show_run(store: RunStore, result: RunResult, *, as_json: bool) -> None:
    """Print a run's headline, warn of what failed in it, and end with 1 where the run failed."""
    from themis.cli.shell import say
    from themis.core.results import RunStatus
    from themis.experiment.looking import quickcheck

    show(lambda: quickcheck(store, result.run_id), lambda: repr(result), as_json=as_json)
    for note in result.notes:
        say(f"note: {note}")
    status = result.status
    if status is RunStatus.PARTIAL_FAILURE:
        failures = result.progress.cases_with_errors
        say(
            f"warning: {failures} of {len(result.cases)} cases ended with errors and are left out "
            "of the means; running again tries them again"
        )
    if status is RunStatus.FAILED:
        say(f"error: run {result.run_id} failed: themis inspect state shows its attempts")
        raise typer.Exit(FAILED)


def outline(data: Any) -> str:
    """Return data as an indented outline."""
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip()


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return aligned columns under a head."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def say_version(asked: bool) -> None:
    """Print the version and end, if that was asked for."""
    if asked:
        # The front of the package is loaded whenever a part is; nobody inside imports it.
        typer.echo(f"themis {sys.modules['themis'].__version__}")
        raise typer.Exit
