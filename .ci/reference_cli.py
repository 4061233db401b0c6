"""The page of the command line, read off its parser."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any


def command_line() -> Iterator[str]:
    """Yield the page line by line."""
    from typer.main import get_command

    from themis import cli

    yield from ("# The command line", "")
    codes = (cli.main.__doc__ or "").split("Codes: ")[1]
    yield f"Exit codes: {' '.join(codes.split())}"
    yield from _command(get_command(cli.app), "themis")


def _command(command: Any, path: str) -> Iterator[str]:
    """Yield a verb, or a group and its verbs."""
    context = command.context_class(command, info_name=path)
    verbs = getattr(command, "commands", {})
    usage = " ".join(command.collect_usage_pieces(context))
    usage = re.sub(r"\{(.*?)\}", r"\1", usage).replace("[[", "[").replace("]]", "]")
    yield from ("", f"## {path}", "", f"    {path} {usage}", "")
    yield from inspect.cleandoc(command.help or "").splitlines()
    shown = [(one, one.get_help_record(context)) for one in command.params]
    if shown:
        yield ""
    for one, (name, about) in shown:
        told = " ".join([*about.split(), *(["[may be given again]"] if one.multiple else [])])
        yield f"- `{name}`{f': {told}' if told else ''}"
    for name in sorted(verbs):
        yield from _command(verbs[name], f"{path} {name}")
