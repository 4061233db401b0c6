"""How a verb ends: one line on standard error and an exit code, whatever went wrong.

A group of verbs that is named alone explains itself, on standard output.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from themis.core.errors import RunInterrupted, ThemisError

USAGE = 2
INTERRUPTED = 130


class Verbs(TyperGroup):
    """The group of all verbs; turns what a verb raises into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb.

        Raises:
            typer.Exit: with the code of what went wrong, once it has been told.
        """
        from themis.core.closing import closing_stores

        try:
            with closing_stores():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one boundary of all verbs
            raise typer.Exit(failed(error, debug=ctx.params.get("debug", False))) from None


def failed(error: BaseException, *, debug: bool) -> int:
    """Tell of an error in one line, with its traceback if asked for, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click's, wherever typer has it from
        typer.echo(error.ctx.get_help())  # type: ignore[attr-defined]
        return USAGE
    if isinstance(error, BrokenPipeError):
        # Whoever read the results stopped reading; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    said, code = _told(error)
    say(" ".join(said.split("\n")))
    return code


def say(line: str) -> None:
    """Write one line to standard error."""
    typer.echo(f"themis: {line}", err=True)


def _told(error: BaseException) -> tuple[str, int]:
    if isinstance(error, RunInterrupted):
        return str(error), INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted", INTERRUPTED
    if isinstance(error, ThemisError):
        return f"error: {error}", error.exit_code
    usage = getattr(error, "format_message", None)  # how the option parser's errors speak
    if usage is not None:
        return f"error: {usage()} (see --help)", getattr(error, "exit_code", 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"error: {where}{error.strerror or error}", 1
    return f"error: unexpected {type(error).__name__}: {error} (themis --debug shows more)", 1
