"""The verbs about what may be named: catalog list."""

from __future__ import annotations

from typing import Annotated

import typer

from themis.cli.output import AsJson, columns, show

catalog = typer.Typer(
    name="catalog", help="What can be named by id.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(catalog)


@catalog.callback()
def _group() -> None:
    """What can be named by id."""


@catalog.command("list")
def list_ids(
    kind: Annotated[
        str | None,
        typer.Option(help="generator, selector, reducer, parser, metric or judge."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the ids."""
    from themis.catalog.registry import KINDS, ids
    from themis.core.errors import DefinitionError, did_you_mean

    if kind is not None and kind not in KINDS:
        raise DefinitionError(f"there is no kind '{kind}'{did_you_mean(kind, KINDS)}")
    rows = [(name, one) for one in KINDS if kind in (None, one) for name in ids(one)]
    show(
        lambda: [{"id": name, "kind": one} for name, one in rows],
        lambda: columns(("id", "kind"), rows),
        as_json=as_json,
    )
