"""The verbs export and import: a run as a bundle, from one store to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from themis.cli.output import AsJson, show, writing
from themis.cli.run_verbs import Overrides, config_options, from_config
from themis.cli.runs import RunName, StorePath, TargetPath, default_store, find_shown, opened
from themis.core.shown_text import shown_json

if TYPE_CHECKING:
    from themis.exchange.bundle import Bundle
    from themis.exchange.records import BundleKind

exporting = typer.Typer(
    name="export", help="Write a bundle.", no_args_is_help=True, rich_markup_mode=None
)
importing = typer.Typer(
    name="import",
    help="Read a bundle, or outputs made elsewhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file; standard output by default.")
]
BundlePath = Annotated[Path, typer.Argument(metavar="PATH", help="The bundle's file.")]
_UP_TO = {
    "generation": "candidates",
    "reduction": "selections and reductions",
    "parse": "parsed values",
    "score": "scores that need no judge",
    "evaluation": "judgments: a run as it stands",
}


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.add_typer(exporting)
    app.add_typer(importing)


def _exporter(kind: BundleKind) -> Callable[..., None]:
    def verb(run_id: RunName, output: Output = None, store: StorePath = None) -> None:
        from themis.exchange.outgoing import export

        kept = opened(store)
        _write(export(kept, find_shown(kept, run_id), kind), output)

    return verb


def _importer(kind: BundleKind) -> Callable[..., None]:
    def verb(path: BundlePath, store: TargetPath = None, as_json: AsJson = False) -> None:
        _bring_in(kind, path, store, as_json=as_json)

    return verb


for _kind, _what in _UP_TO.items():
    exporting.command(_kind, help=f"Write a run up to its {_what}.")(_exporter(_kind))  # type: ignore[arg-type]
    if _kind != "generation":
        importing.command(_kind, help=f"Import a run up to its {_what}.")(_importer(_kind))  # type: ignore[arg-type]


@importing.command("generation")
def import_generation(
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="A bundle's file.")] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="JSONL", help="Outputs made elsewhere: case_id and output a line."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The experiment that the outputs are answers to."),
    ] = None,
    overrides: Overrides = None,
    store: TargetPath = None,
    as_json: AsJson = False,
) -> None:
    """Import a bundle's candidates, or outputs made elsewhere."""
    from themis.core.errors import DefinitionError

    if (path is None) == (outputs is None):
        raise DefinitionError("give a bundle's file, or outputs made elsewhere: --from OUTPUTS")
    if path is not None:
        if config is not None or overrides:
            raise DefinitionError("--config and --set belong to outputs made elsewhere (--from)")
        _bring_in("generation", path, store, as_json=as_json)
    elif config is None:
        raise DefinitionError("--from needs the experiment: --config FILE")
    elif store is not None:
        raise DefinitionError("--store: with --config the store is the experiment's own")
    elif outputs is not None:
        _import_outputs(outputs, config, overrides, as_json=as_json)


def _import_outputs(
    outputs: Path, config: Path, overrides: list[str] | None, *, as_json: bool
) -> None:
    from themis.cli.shell import say
    from themis.exchange.imported_outputs import import_outputs

    done = import_outputs(from_config(config, overrides), outputs)
    run_id = done.result.run_id
    params = f"{{path: {json.dumps(str(outputs.resolve()))}}}"
    generator = f"generation.generator={{use: builtin/outputs, params: {params}}}"
    then = f"themis run {config_options(config, [*(overrides or ()), generator])}"
    show(
        lambda: {
            "run_id": run_id,
            "outputs": done.n_outputs,
            "missing": done.n_missing,
            "then": then,
        },
        lambda: f"Imported {done.n_outputs:,} outputs as run {run_id}. Score them: {then}",
        as_json=as_json,
    )
    if done.n_missing:
        say(
            f"warning: samples without an output: {done.n_missing:,}; each is a failed generation, "
            "until a file has it too"
        )


def _bring_in(kind: BundleKind, path: Path, store: Path | None, *, as_json: bool) -> None:
    from themis.exchange.bundle import Bundle
    from themis.exchange.incoming import bring_in
    from themis.stores.closing import close_in_time
    from themis.stores.sqlite import SqliteRunStore

    bundle = Bundle.load(path)
    target = close_in_time(SqliteRunStore(store or default_store()))
    run_id = bring_in(target, bundle, kind)
    show(lambda: {"run_id": run_id}, lambda: f"Imported run {run_id}", as_json=as_json)


def _write(bundle: Bundle, output: Path | None) -> None:
    from themis.cli.shell import say

    if output is None:
        at_terminal = sys.stdout.isatty()
        for chunk in bundle.chunks():
            # The same JSON, without a command to the terminal; a file is as it is signed.
            shown = shown_json(chunk.decode()).encode() if at_terminal else chunk
            sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()
        return
    with writing(output):
        bundle.save(output)
    say(f"{bundle.kind} bundle of run {bundle.run_id} written to {output}")
