"""Errors on the command line: one line on standard error and an exit code.

A group of verbs that is given without a verb prints its help on standard output.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from themis.core.errors import RunInterrupted, ThemisError
from themis.core.shown_text import shown, shown_line

USAGE = 2
INTERRUPTED = 130
_NO_PATHS = (errno.ENAMETOOLONG, errno.ELOOP)
"""What the system says of a path that can be none, wherever one was given."""


class Verbs(TyperGroup):
    """The group of all verbs; turns an exception of a verb into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb.

        Raises:
            typer.Exit: with the exit code of an error, after printing its line.
        """
        from themis.stores.closing import closing_stores

        try:
            with closing_stores():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one boundary of all verbs
            raise typer.Exit(failed(error, debug=ctx.params.get("debug", False))) from None


def failed(error: BaseException, *, debug: bool) -> int:
    """Print an error in one line, with a traceback if ``debug``, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click's, wherever typer has it from
        echo(error.ctx.get_help())  # type: ignore[attr-defined]
        return USAGE
    if isinstance(error, BrokenPipeError):
        # The reader of the pipe has gone; the interpreter's last flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug:
        echo("".join(traceback.format_exception(error)).rstrip(), err=True)
    said, code = _told(error)
    say(said)
    return code


def say(line: str) -> None:
    """Write one line to standard error."""
    echo(f"themis: {shown_line(line)}", err=True)


def echo(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Write text to standard output or error: all that any verb writes, but for bundles.

    No command to a terminal is in it, wherever the text came from.
    """
    typer.echo(f"{shown(text)}{end}", err=err, nl=False)


def _told(error: BaseException) -> tuple[str, int]:
    if isinstance(error, RunInterrupted):
        return str(error), INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted", INTERRUPTED
    if isinstance(error, ThemisError):
        return f"error: {error}", error.exit_code
    usage = getattr(error, "format_message", None)  # the option parser's own errors have it
    if usage is not None:
        return f"error: {usage()} (see --help)", getattr(error, "exit_code", 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"error: {where}{error.strerror or error}", USAGE if error.errno in _NO_PATHS else 1
    return f"error: unexpected {type(error).__name__}: {error} (themis --debug shows more)", 1
