"""The verbs that take a run's work out of a store and into another: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from themis.cli.kept import RunName, StorePath, default_store, find_shown, opened
from themis.cli.output import AsJson, show, writing

if TYPE_CHECKING:
    from themis.core.base import RunId

exporting = typer.Typer(
    name="export", help="Write a bundle.", no_args_is_help=True, rich_markup_mode=None
)
importing = typer.Typer(
    name="import", help="Read a bundle.", no_args_is_help=True, rich_markup_mode=None
)
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file; standard output by default.")
]
BundlePath = Annotated[Path, typer.Argument(metavar="PATH", help="The bundle's file.")]
TargetPath = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="The SQLite file to write to; made where it is missing.",
        show_default=".themis/runs.db",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(exporting)
    app.add_typer(importing)


@exporting.command("generation")
def export_generation(run_id: RunName, output: Output = None, store: StorePath = None) -> None:
    """Write a run's cases and candidates."""
    from themis.exchange.bundles import export_generation_bundle

    kept = opened(store)
    _write(export_generation_bundle(kept, find_shown(kept, run_id)), output)


@exporting.command("evaluation")
def export_evaluation(run_id: RunName, output: Output = None, store: StorePath = None) -> None:
    """Write a run as it stands, all stages."""
    from themis.exchange.bundles import export_evaluation_bundle

    kept = opened(store)
    _write(export_evaluation_bundle(kept, find_shown(kept, run_id)), output)


@importing.command("generation")
def import_generation(path: BundlePath, store: TargetPath = None, as_json: AsJson = False) -> None:
    """Bring a bundle's candidates into a store, where experiments then reuse them."""
    from themis.exchange.bundles import Bundle, import_generation_bundle
    from themis.stores.sqlite import SqliteRunStore

    bundle, target = Bundle.load(path), SqliteRunStore(store or default_store())
    _told(import_generation_bundle(target, bundle), as_json=as_json)


@importing.command("evaluation")
def import_evaluation(path: BundlePath, store: TargetPath = None, as_json: AsJson = False) -> None:
    """Bring a bundle's run into a store, where it reports the same numbers."""
    from themis.exchange.bundles import Bundle, import_evaluation_bundle
    from themis.stores.sqlite import SqliteRunStore

    bundle, target = Bundle.load(path), SqliteRunStore(store or default_store())
    _told(import_evaluation_bundle(target, bundle), as_json=as_json)


def _write(bundle: object, output: Path | None) -> None:
    from themis.cli.shell import say
    from themis.exchange.bundles import Bundle

    assert isinstance(bundle, Bundle)
    if output is None:
        typer.echo(bundle.data, nl=False)
    else:
        with writing(output):
            bundle.save(output)
        say(f"{bundle.kind} bundle of run {bundle.run_id} written to {output}")


def _told(run_id: RunId, *, as_json: bool) -> None:
    show(lambda: {"run_id": run_id}, lambda: f"Imported run {run_id}", as_json=as_json)
