"""The command line: ``themis VERB ...``. Every verb calls what Python users call, and shows it.

Nothing but the options is loaded until a verb runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from themis.cli import bundles, catalog, experiments, plans, preview, project, quick, reading
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
    del debug, version  # Verbs reads the one where an error ends; the other has had its say


for _part in (experiments, plans, preview, reading, quick, project, catalog, bundles):
    _part.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code.

    Codes: 0 done; 1 a run or the program failed; 2 what was written or named is refused: a key, an
    id, a path, a store that cannot be opened; 3 the store failed at work, or another process owns
    the run; 130 interrupted.
    """
    try:
        code = get_command(app).main(
            None if arguments is None else list(arguments),
            prog_name="themis",
            standalone_mode=False,
        )
    except Exception as error:  # noqa: BLE001 - wrong usage, before there is a verb to tell of it
        code = failed(error, debug=False)
    sys.exit(code if isinstance(code, int) else 0)
