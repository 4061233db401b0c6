"""The verbs that show stored runs: report, quickcheck, verify, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from themis.cli.output import FAILED, AsJson, show, show_outline, writing
from themis.cli.runs import RunName, StorePath, find_shown, opened

Dataset = Annotated[
    str | None, typer.Option("--dataset", help="The case's dataset, where ids are shared.")
]

inspecting = typer.Typer(
    name="inspect", help="Look into a run.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(report)
    app.command()(quickcheck)
    app.command()(verify)
    app.add_typer(inspecting)


def report(
    run_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_ID...", help="Run ids, beginnings, or 'latest'; @n shows attempt n."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="markdown (default), html, json, csv or latex."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; its suffix says the format.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Scores by 'dataset' or a field of the cases' metadata too."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A run's name in the report; once for each run.")
    ] = None,
    store: StorePath = None,
) -> None:
    """Report the results of a run, or of several side by side."""
    from themis.cli.shell import echo, say
    from themis.reporting import Reporter
    from themis.reporting.facts import ReportOptions

    kept = opened(store)
    found = [find_shown(kept, name) for name in run_ids]
    runs = found[0] if len(found) == 1 else found
    options: ReportOptions = {"labels": label or None, "by": by or None}
    if output is None:
        for piece in Reporter(kept).stream(runs, form or "markdown", metric, **options):
            echo(piece, end="")
    else:
        with writing(output):
            Reporter(kept).write(runs, output, form, metric, **options)
        say(f"report written to {output}")


def quickcheck(
    run_id: RunName,
    deep: Annotated[
        bool, typer.Option("--deep", help="First look through the whole store for damage.")
    ] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's headline: status, counts, metrics."""
    from themis.cli.shell import say
    from themis.core.errors import StoreDamagedError
    from themis.experiment import queries
    from themis.experiment.result import RunResult

    kept = opened(store)
    if deep:
        found_damages = list(kept.damages())
        for line in found_damages:
            say(f"error: {line}")
        if found_damages:
            raise typer.Exit(StoreDamagedError.exit_code)
    found = find_shown(kept, run_id)
    show(
        lambda: queries.quickcheck(kept, found),
        lambda: repr(RunResult.of(kept, found)),
        as_json=as_json,
    )


def verify(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Derive a run's numbers again; exit with 1 if they differ."""
    from themis.views.attempts import as_of
    from themis.views.verification import verify_run

    kept = opened(store)
    found = verify_run(*as_of(kept, find_shown(kept, run_id)))
    show_outline(found.model_dump(mode="json"), as_json=as_json)
    if found.differences:
        raise typer.Exit(FAILED)


@inspecting.command()
def snapshot(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show a run's snapshot: identity, components, provenance."""
    from themis.experiment.queries import get_run_snapshot, snapshot_report

    kept = opened(store)
    data = snapshot_report(get_run_snapshot(kept, find_shown(kept, run_id)))
    show_outline(data, as_json=as_json)


@inspecting.command()
def state(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show a run's state: status, attempts, steps, tokens, errors."""
    from themis.experiment.queries import get_execution_state

    kept = opened(store)
    data = get_execution_state(kept, find_shown(kept, run_id)).model_dump(mode="json")
    show_outline(data, as_json=as_json)


@inspecting.command()
def evaluation(
    run_id: RunName,
    case_id: str,
    metric_id: str,
    dataset: Dataset = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a judged metric's prompts and judgments of a case."""
    from themis.experiment.queries import get_evaluation_execution

    kept = opened(store)
    found = get_evaluation_execution(
        kept, find_shown(kept, run_id), case_id, metric_id, dataset_id=dataset
    )
    data = found.model_dump(mode="json")
    show_outline(data, as_json=as_json)


@inspecting.command()
def judges(
    run_id: RunName, metric_id: str, store: StorePath = None, as_json: AsJson = False
) -> None:
    """Show how judges agree, how consistent and biased they are."""
    from dataclasses import asdict

    from themis.experiment.result import RunResult

    kept = opened(store)
    data = asdict(RunResult.of(kept, find_shown(kept, run_id)).judges(metric_id))
    show_outline(data, as_json=as_json)


@inspecting.command()
def case(
    run_id: RunName,
    case_id: str,
    dataset: Dataset = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a case: candidates, parsed outputs, scores, failures."""
    from themis.views.attempts import as_of
    from themis.views.case_results import case_result
    from themis.views.cases import find_case

    kept = opened(store)
    shown, run = as_of(kept, find_shown(kept, run_id))
    asked = shown.load_snapshot(run)
    place = find_case(shown, asked, case_id, dataset_id=dataset).position
    data = case_result(shown, asked, place).model_dump(mode="json")
    show_outline(data, as_json=as_json)
