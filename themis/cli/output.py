"""Results on standard output: JSON for programs, text for a person at a terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from themis.cli.shell import echo, say
from themis.core.shown_text import shown_json

if TYPE_CHECKING:
    from themis.core.results import RunEstimate
    from themis.core.run_plan import RunPlan
    from themis.core.store import RunStore
    from themis.experiment.result import RunResult
    from themis.views.common_failures import CommonFailure

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, at a terminal too.")]
FAILED = 1


def show(data: Callable[[], Any], text: Callable[[], str], *, as_json: bool) -> None:
    """Print a result: as text at a terminal, else as JSON. The other form is not computed."""
    if as_json or not sys.stdout.isatty():
        echo(shown_json(json.dumps(data(), ensure_ascii=False, indent=2)))
    else:
        echo(text())


def show_run(store: RunStore, result: RunResult, *, as_json: bool) -> None:
    """Print a run's headline and its most common failure; exit with 1 if the run failed."""
    from themis.core.results import RunStatus
    from themis.experiment.queries import quickcheck

    show(lambda: quickcheck(store, result.run_id), lambda: repr(result), as_json=as_json)
    for note in result.notes:
        say(f"note: {note}")
    if result.status is RunStatus.COMPLETED and result.progress.cases_with_errors:
        say(f"note: {_failure(store, result)}")
    if result.status is RunStatus.PARTIAL_FAILURE:
        say(f"warning: {_failure(store, result)}")
    if result.status is RunStatus.FAILED:
        say(f"error: run {result.run_id} failed: {_failure(store, result)}")
        raise typer.Exit(FAILED)


def _failure(store: RunStore, result: RunResult) -> str:
    """Return one line: how many cases failed, the most common message, what to do next."""
    from themis.views.common_failures import common_failures

    found = common_failures(store, result.snapshot)
    said = f"{result.progress.cases_with_errors} of {len(result.cases)} cases ended with errors"
    if found.told:
        most = found.told[0]
        said += f", {'most often' if len(found.told) > 1 else 'all'} ({most.n_cases}"
        if found.n_others:
            said += (
                f", of the first {len(found.told):,} messages; {found.n_others:,} cases have others"
            )
        said += f"): {most.message}"
        if found.may_heal:
            said += "; running again tries them again"
        else:
            said += "; the metric refuses them, and will again until it or the cases change"
    where = _inspection(store, result, found.told[0] if found.told else None)
    return f"{said}; see: {where}" if where else said


def _inspection(store: RunStore, result: RunResult, failure: CommonFailure | None) -> str | None:
    """Return the command that shows a failure; None for a store that only this process sees."""
    from themis.views.cases import run_cases

    path = getattr(store, "path", None)
    if path is None:
        return None
    words = ["themis", "inspect", "state", result.run_id, "--store", str(path)]
    if failure is not None:
        first = failure.first
        for case in run_cases(store, result.snapshot, first, first + 1):
            words[2] = "case"
            if len(result.snapshot.identity.datasets) > 1:
                words += ["--dataset", case.dataset_id]
            words += ["--", case.case_id] if case.case_id.startswith("-") else [case.case_id]
    return shlex.join(words)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of writing a file into one line that names the path as it was given."""
    from themis.core.errors import DefinitionError

    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise DefinitionError(
            f"'{path}' cannot be written: {error.strerror}", field="path", value=str(path)
        ) from error


def show_outline(data: Any, *, as_json: bool) -> None:
    """Print plain data: as an indented outline at a terminal, else as JSON."""
    import yaml

    show(
        lambda: data,
        lambda: yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100).rstrip(),
        as_json=as_json,
    )


def spending_lines(found: RunEstimate | RunPlan) -> list[str]:
    """Return what generations would use and cost, a line each, as far as it is known."""
    lines = []
    if found.prompt_tokens is not None:
        lines.append(f"prompt tokens: about {found.prompt_tokens:,}")
    if found.output_tokens_at_most is not None:
        lines.append(f"output tokens: at most {found.output_tokens_at_most:,}")
    if found.cost_usd is not None:
        lines.append("cost: " + " to ".join(f"${cost:.4f}" for cost in found.cost_usd))
    return lines


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return aligned columns under a head."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def say_version(asked: bool) -> None:
    """Print the version and exit, for ``--version``."""
    if asked:
        # Already loaded; imported here since no module of the package imports the root.
        echo(f"themis {sys.modules['themis'].__version__}")
        raise typer.Exit
