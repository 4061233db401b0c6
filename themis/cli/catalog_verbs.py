"""The verb catalog list: the ids of components and stores."""

from __future__ import annotations

from typing import Annotated

import typer

from themis.cli.output import AsJson, columns, show

_OWN = "themis"
_STORE = "store"
_UNTOLD = "?"
"""Shown as the kind of a function without an annotation of what it returns."""

catalog = typer.Typer(
    name="catalog", help="What can be named by id.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.add_typer(catalog)


@catalog.callback()
def _group() -> None:
    """What can be named by id."""


@catalog.command("list")
def list_ids(
    kind: Annotated[
        str | None,
        typer.Option(help="generator, selector, reducer, parser, metric, judge or store."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the ids, those of installed plug-ins too."""
    from themis.catalog.registry import KINDS, adapter_names, ids
    from themis.core.errors import DefinitionError, did_you_mean

    known = (*KINDS, _STORE)
    if kind is not None and kind not in known:
        raise DefinitionError(f"there is no kind '{kind}'{did_you_mean(kind, known)}")
    rows: list[tuple[str, str, str]] = [
        (name, one, _OWN)
        for one in KINDS
        if kind in (None, one)
        for name in (*ids(one), *adapter_names(one))
    ]
    rows += [row for row in _plugged() if kind is None or kind in row[1].split(", ")]
    show(
        lambda: [{"id": name, "kind": one, "package": package} for name, one, package in rows],
        lambda: columns(("id", "kind", "package"), rows),
        as_json=as_json,
    )


def _plugged() -> list[tuple[str, str, str]]:
    """Return id, kind and package of each plug-in; one that cannot be loaded gives a warning."""
    from themis.catalog import plugins
    from themis.catalog.registry import kinds_of
    from themis.cli.shell import say
    from themis.core.errors import DefinitionError
    from themis.stores.factory import makes_stores

    rows = []
    for name in plugins.declared_ids():
        try:
            plugin = plugins.find(name)
            assert plugin is not None
            thing = plugin.load()
        except DefinitionError as error:
            say(f"warning: {error}")
            continue
        kinds = ", ".join(kinds_of(thing)) or (_STORE if makes_stores(thing) else _UNTOLD)
        rows.append((name, kinds, plugin.package))
    return rows
