"""The verbs that look at kept runs: report, quickcheck, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from themis.cli.kept import RunName, StorePath, find_shown, opened
from themis.cli.output import AsJson, outline, show, writing

Dataset = Annotated[
    str | None, typer.Option("--dataset", help="The case's dataset, where ids are shared.")
]

inspecting = typer.Typer(
    name="inspect", help="Look into a run.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(report)
    app.command()(quickcheck)
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
    store: StorePath = None,
) -> None:
    """Tell what came of a run, or of several side by side."""
    from themis.cli.shell import say
    from themis.reporting import Reporter

    kept = opened(store)
    found = [find_shown(kept, name) for name in run_ids]
    runs = found[0] if len(found) == 1 else found
    if output is None:
        for piece in Reporter(kept).stream(runs, form or "markdown", metric):
            typer.echo(piece, nl=False)
    else:
        with writing(output):
            Reporter(kept).write(runs, output, form, metric)
        say(f"report written to {output}")


def quickcheck(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show a run's headline: status, counts, and each metric's figures."""
    from themis.experiment import looking
    from themis.experiment.result import RunResult

    kept = opened(store)
    found = find_shown(kept, run_id)
    show(
        lambda: looking.quickcheck(kept, found),
        lambda: repr(RunResult.of(kept, found)),
        as_json=as_json,
    )


@inspecting.command()
def snapshot(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show what was asked: identity, components, provenance."""
    from themis.experiment.looking import get_run_snapshot, snapshot_report

    kept = opened(store)
    data = snapshot_report(get_run_snapshot(kept, find_shown(kept, run_id)))
    show(lambda: data, lambda: outline(data), as_json=as_json)


@inspecting.command()
def state(run_id: RunName, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show how a run stands: status, attempts, steps, tokens, errors."""
    from themis.experiment.looking import get_execution_state

    kept = opened(store)
    data = get_execution_state(kept, find_shown(kept, run_id)).model_dump(mode="json")
    show(lambda: data, lambda: outline(data), as_json=as_json)


@inspecting.command()
def evaluation(
    run_id: RunName,
    case_id: str,
    metric_id: str,
    dataset: Dataset = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show all that a judged metric did about a case: prompts, answers, judgments."""
    from themis.experiment.looking import get_evaluation_execution

    kept = opened(store)
    found = get_evaluation_execution(
        kept, find_shown(kept, run_id), case_id, metric_id, dataset_id=dataset
    )
    data = found.model_dump(mode="json")
    show(lambda: data, lambda: outline(data), as_json=as_json)


@inspecting.command()
def judges(
    run_id: RunName, metric_id: str, store: StorePath = None, as_json: AsJson = False
) -> None:
    """Show how a judged metric's judges agree, repeat themselves, and prefer a place."""
    from dataclasses import asdict

    from themis.experiment.result import RunResult

    kept = opened(store)
    data = asdict(RunResult.of(kept, find_shown(kept, run_id)).judges(metric_id))
    show(lambda: data, lambda: outline(data), as_json=as_json)


@inspecting.command()
def case(
    run_id: RunName,
    case_id: str,
    dataset: Dataset = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show all that came of a case: candidates, parsed outputs, scores, failures."""
    from themis.views.attempts import as_of
    from themis.views.cases import find_case
    from themis.views.results import case_result

    kept = opened(store)
    shown, run = as_of(kept, find_shown(kept, run_id))
    asked = shown.load_snapshot(run)
    place = find_case(shown, asked, case_id, dataset_id=dataset).position
    data = case_result(shown, asked, place).model_dump(mode="json")
    show(lambda: data, lambda: outline(data), as_json=as_json)
