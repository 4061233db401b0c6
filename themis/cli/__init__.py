"""The command line: ``themis VERB ...``. Every verb calls the Python API and prints the result.

Only the options are loaded until a verb runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from themis.cli import (
    bundle_verbs,
    catalog_verbs,
    init_verb,
    planning_verbs,
    preview_verb,
    quick_verbs,
    reading_verbs,
    run_verbs,
)
from themis.cli.output import say_version
from themis.cli.shell import Verbs, failed

__all__ = ["app", "main"]

app = typer.Typer(
    name="themis",
    cls=Verbs,
    help="Reproducible evaluations of language models, as incremental builds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=say_version, is_eager=True, help="Say the version and end."
        ),
    ] = False,
) -> None:
    del debug, version  # debug is read in Verbs, version by its callback


for _verbs in (
    run_verbs,
    planning_verbs,
    preview_verb,
    reading_verbs,
    quick_verbs,
    init_verb,
    catalog_verbs,
    bundle_verbs,
):
    _verbs.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code.

    Codes: 0 done; 1 a run or the program failed; 2 an argument or config is refused, or a store
        cannot be opened; 3 the store failed while a run was working, or another process owns the
        run; 130 interrupted.
    """
    try:
        code = get_command(app).main(
            None if arguments is None else list(arguments),
            prog_name="themis",
            standalone_mode=False,
        )
    except Exception as error:  # noqa: BLE001 - wrong usage, before a verb runs
        code = failed(error, debug=False)
    sys.exit(code if isinstance(code, int) else 0)
