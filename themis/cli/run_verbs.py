"""The verbs that carry out an experiment: run, resume, replay, rejudge, estimate."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from themis.cli.output import AsJson, columns, show, show_run, spending_lines
from themis.cli.runs import find_run

if TYPE_CHECKING:
    from themis.core.config import RuntimeConfig
    from themis.experiment.experiment import Experiment

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The experiment's YAML or TOML.")]
MaybeConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="The experiment's YAML or TOML.")
]
ExperimentPath = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE:NAME]", help="An Experiment, or a function that makes it."),
]
UntilStage = Annotated[str, typer.Option(help="The last stage to run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the config, as in a.b=c."),
]
Progress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Show progress; by default at a terminal only."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that works on the run.")
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Take the run from a process that is surely dead, as on a machine that is off; one "
        "that is seen to run keeps it.",
    ),
]
MetricNames = Annotated[
    list[str] | None, typer.Option("--metric", help="Only this metric; may be given again.")
]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Do every step again; the earlier attempt is kept as RUN@n.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Reuse nothing made before this attempt, in any run.")
]
MaxAge = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Reuse nothing older than this, as in 24h (s, m, h, d)."),
]


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (run, resume, replay, rejudge, estimate):
        app.command()(verb)


def run(
    config: ConfigPath,
    until_stage: UntilStage = "judge",
    rerun: Rerun = False,
    fresh: Fresh = False,
    max_age: MaxAge = None,
    overrides: Overrides = None,
    progress: Progress = None,
    wait: Wait = False,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Run an experiment; steps that are done already are reused."""
    reuse = reuse_asked(rerun=rerun, fresh=fresh, max_age=max_age)
    experiment = from_config(config, overrides)
    policy = {"existing_run_policy": "rerun"} if rerun else {}
    with _telling_how_to_go_on(config_options(config, overrides)):
        result = experiment.run(
            until_stage=until_stage,
            reuse=reuse,
            runtime=_patient(experiment, wait).model_copy(update=policy),
            progress=progress,
            take_over=take_over,
        )
    show_run(experiment.store, result, as_json=as_json)


def resume(
    run_id: Annotated[str, typer.Argument(help="The run id, its beginning, or 'latest'.")],
    experiment: ExperimentPath = None,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    progress: Progress = None,
    wait: Wait = False,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Resume an interrupted run, or try its failed steps again."""
    found = named_experiment(config, overrides, experiment)
    how = shlex.quote(str(experiment)) if config is None else config_options(config, overrides)
    _check_same(found, run_id)
    with _telling_how_to_go_on(how):
        # A resumed attempt keeps its own limit on the age of reused results.
        result = found.run(
            reuse="all", progress=progress, runtime=_patient(found, wait), take_over=take_over
        )
    show_run(found.store, result, as_json=as_json)


def replay(
    config: ConfigPath,
    stage: Annotated[str, typer.Option(help="The first stage to do again.")],
    metric: MetricNames = None,
    overrides: Overrides = None,
    progress: Progress = None,
    wait: Wait = False,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Do a stage, and the stages after it, again."""
    experiment = from_config(config, overrides)
    with _telling_how_to_go_on(config_options(config, overrides)):
        result = experiment.replay(
            stage=stage,
            metric_ids=metric,
            progress=progress,
            runtime=_patient(experiment, wait),
            take_over=take_over,
        )
    show_run(experiment.store, result, as_json=as_json)


def rejudge(
    config: ConfigPath,
    metric: MetricNames = None,
    overrides: Overrides = None,
    progress: Progress = None,
    wait: Wait = False,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Ask the judges again."""
    experiment = from_config(config, overrides)
    with _telling_how_to_go_on(config_options(config, overrides)):
        result = experiment.rejudge(
            metric_ids=metric,
            progress=progress,
            runtime=_patient(experiment, wait),
            take_over=take_over,
        )
    show_run(experiment.store, result, as_json=as_json)


def estimate(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show how many steps, tokens and dollars a run would take."""
    found = from_config(config, overrides).estimate()

    def text() -> str:
        rows = [(stage, count, found.to_run.get(stage, "")) for stage, count in found.steps.items()]
        head = f"Run {found.run_id}: {found.n_cases} cases"
        steps = columns(("stage", "steps", "new"), rows)
        return "\n".join([head, steps, *spending_lines(found), *found.notes])

    show(found.plain, text, as_json=as_json)


def reuse_asked(*, rerun: bool, fresh: bool, max_age: str | None) -> str | None:
    """Return the options' value for ``reuse``; None if the config decides."""
    from themis.core.config import seconds_in
    from themis.core.errors import DefinitionError

    given = [("--rerun", rerun), ("--fresh", fresh), ("--max-age", max_age is not None)]
    names = [name for name, is_given in given if is_given]
    if len(names) > 1:
        raise DefinitionError(f"{' and '.join(names)}: give one of them")
    if max_age is not None:
        seconds_in(max_age, "--max-age")
    return "none" if fresh else max_age


def importable_here() -> None:
    """Let import paths begin in the current folder, as they do under ``python -m``."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def named_experiment(
    config: Path | None, overrides: list[str] | None, path: str | None
) -> Experiment:
    """Return the experiment of a config file or of an import path, whichever is given.

    Raises:
        DefinitionError: neither is given, or both are, or the path leads to no experiment.
    """
    from themis.core.errors import DefinitionError

    if (path is None) == (config is None):
        raise DefinitionError("give the experiment's --config FILE, or its 'pkg.module:experiment'")
    if config is not None:
        return from_config(config, overrides)
    if overrides:
        raise DefinitionError("--set changes a config: give it with --config FILE")
    return _imported(str(path))


def from_config(config: Path, overrides: list[str] | None) -> Experiment:
    """Return the experiment of a config file."""
    from themis.experiment.experiment import Experiment

    return Experiment.from_config(config, overrides or [])


def _patient(experiment: Experiment, wait: bool) -> RuntimeConfig:
    """Return an experiment's runtime settings; ``wait`` makes them wait for the run's owner."""
    settings = experiment.runtime
    return settings.model_copy(update={"owner_wait": None}) if wait else settings


def config_options(config: Path, overrides: list[str] | None) -> str:
    """Return the options that name an experiment, quoted for a shell."""
    words = ["--config", str(config)]
    for override in overrides or ():
        words += ["--set", override]
    return shlex.join(words)


def _imported(path: str) -> Experiment:
    from themis.catalog.registry import load
    from themis.core.errors import DefinitionError
    from themis.experiment.experiment import Experiment

    if ":" not in path:
        raise DefinitionError(f"'{path}' is no import path: write 'pkg.module:experiment'")
    importable_here()
    found: object = load(path, "generator")  # the kind makes no difference for an import path
    if callable(found):
        found = found()
    if not isinstance(found, Experiment):
        raise DefinitionError(
            f"'{path}' is a {type(found).__name__}; name an Experiment, or a function without "
            "arguments that returns one"
        )
    return found


def _check_same(experiment: Experiment, name: str) -> None:
    """Raise if the experiment does not compile to the run that was named."""
    from themis.core.errors import DefinitionError
    from themis.stores.factory import check_storage

    compiled = experiment.compile().run_id
    check_storage(experiment.storage)
    file = experiment.storage.parameters.get("path")
    if file is not None and not Path(file).expanduser().exists():
        raise DefinitionError(f"there is no store '{file}' yet, so there is no run to resume")
    kept = find_run(experiment.store, name)
    if kept != compiled:
        raise DefinitionError(
            f"the experiment compiles to run {compiled}, not {kept}: it was changed since; "
            "'themis run' starts it as a run of its own"
        )


@contextmanager
def _telling_how_to_go_on(how: str) -> Iterator[None]:
    from themis.core.errors import RunInterrupted

    try:
        yield
    except RunInterrupted as error:
        raise RunInterrupted(
            f"run {error.run_id} was interrupted; all that was finished is kept. "
            f"Go on with: themis resume {error.run_id} {how}",
            run_id=error.run_id,
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; what was finished is kept: the same command goes on from there"
        ) from None
