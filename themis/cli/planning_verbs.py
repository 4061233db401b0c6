"""The verbs plan (what would run, and why) and explain (why two runs have different ids)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from themis.cli.output import AsJson, columns, show, spending_lines
from themis.cli.run_verbs import (
    ExperimentPath,
    Fresh,
    MaxAge,
    MaybeConfig,
    Overrides,
    Rerun,
    UntilStage,
    named_experiment,
    reuse_asked,
)
from themis.cli.runs import StorePath, find_run, opened

if TYPE_CHECKING:
    from themis.core.run_plan import Explanation, RunPlan
    from themis.core.store import RunStore
    from themis.experiment.experiment import Experiment

_SHOWN = 3


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(plan)
    app.command()(explain)


def plan(
    experiment: ExperimentPath = None,
    config: MaybeConfig = None,
    until_stage: UntilStage = "judge",
    compare_with: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The run that reasons compare with; else the closest."),
    ] = None,
    rerun: Rerun = False,
    fresh: Fresh = False,
    max_age: MaxAge = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show how many steps a run would do or reuse, and why."""
    reuse = reuse_asked(rerun=rerun, fresh=fresh, max_age=max_age)
    found = named_experiment(config, overrides, experiment)
    policy = {"existing_run_policy": "rerun"} if rerun else {}
    planned = found.plan(
        until_stage=until_stage,
        reuse=reuse,
        compare_with=None if compare_with is None else find_run(_kept(found), compare_with),
        runtime=found.runtime.model_copy(update=policy),
    )
    show(planned.plain, lambda: _plan_text(planned), as_json=as_json)


def explain(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="A run id, its beginning, or 'latest'.")
    ],
    run_b: Annotated[
        str | None, typer.Argument(metavar="[RUN_B]", help="Another, or give --config.")
    ] = None,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show how two runs differ, or a run and its experiment now."""
    from themis.core.errors import DefinitionError
    from themis.planning.compare.explain import explain as explained

    if (run_b is None) == (config is None):
        raise DefinitionError("give a second run, or the experiment's --config FILE")
    if run_b is not None:
        if overrides:
            raise DefinitionError("--set changes a config: give it with --config FILE")
        kept = opened(store)
        found = explained(kept, find_run(kept, run_a), find_run(kept, run_b))
    else:
        experiment = named_experiment(config, overrides, None)
        kept_in = _kept(experiment) if store is None else opened(store)
        found = experiment.explain(find_run(kept_in, run_a), store=kept_in)
    show(
        lambda: {"equal": found.equal, **found.model_dump(mode="json")},
        lambda: _explanation_text(found),
        as_json=as_json,
    )


def _kept(experiment: Experiment) -> RunStore:
    """Return the experiment's store; raise if it does not exist, without making a file."""
    from themis.core.errors import StoreUnavailableError
    from themis.stores.factory import open_existing_store

    found = open_existing_store(experiment.storage)
    if found is None:
        raise StoreUnavailableError(
            f"there is no store '{experiment.storage.parameters.get('path')}' yet, so there is no "
            "run to compare with"
        )
    return found


def _plan_text(planned: RunPlan) -> str:
    head = f"Run {planned.run_id}: {planned.n_cases:,} cases"
    against = (
        "no related run is kept"
        if planned.compared_with is None
        else "it is kept already"
        if planned.compared_with == planned.run_id
        else f"compared with run {planned.compared_with}"
    )
    rows = [
        (
            stage,
            f"{'at least ' if one.at_least else ''}{one.to_run:,}",
            f"{one.reused:,}",
            f"{one.done:,}",
        )
        for stage, one in planned.stages.items()
    ]
    lines = [f"{head} ({against})", columns(("stage", "to run", "reused", "done"), rows)]
    for stage, one in planned.stages.items():
        for reason in one.reasons:
            name = stage if reason.component is None else f"{stage} {reason.component}"
            cases = f" ({', '.join(reason.cases)})" if reason.count <= _SHOWN else ""
            lines.append(f"{name}: {reason.count:,} to run: {reason.text}{cases}")
    return "\n".join([*lines, *spending_lines(planned), *planned.notes])


def _explanation_text(found: Explanation) -> str:
    if found.equal:
        head = f"equal: both are run {found.now}"
    else:
        head = f"run {found.before} -> run {found.now}"
    lines = [head, *(one.text() for one in found.identity), *(one.text() for one in found.data)]
    if found.code:
        lines.append("not part of the id, but changed since:")
        lines += [f"  {one.field} changed" for one in found.code]
    return "\n".join(lines)
