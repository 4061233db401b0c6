"""The verbs of quick-eval: an evaluation without a config file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from themis.cli.output import AsJson, show_run
from themis.cli.run_verbs import Fresh, MaxAge, Progress, importable_here, reuse_asked
from themis.cli.runs import TargetPath, default_store, opened

if TYPE_CHECKING:
    from themis.catalog.registry import Kind
    from themis.core.models import Dataset

quick = typer.Typer(
    name="quick-eval",
    help="Evaluate a model on one input, a file, or a hub data set.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_SPEC = "an id, 'pkg.module:factory', or '{use: id, params: {...}}'."
Model = Annotated[str, typer.Option("--model", help=f"The generator: {_SPEC}")]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", help=f"A metric, may be given again: {_SPEC}")
]
Parser = Annotated[str | None, typer.Option("--parser", help=f"The parser: {_SPEC}")]
Judges = Annotated[
    list[str] | None, typer.Option("--judge", help=f"A judge, may be given again: {_SPEC}")
]
Samples = Annotated[int, typer.Option("--samples", help="Samples a case.")]
InputField = Annotated[str, typer.Option("--input", help="Name of the input's field.")]
GoldField = Annotated[str, typer.Option(help="Name of the gold answer's field.")]
CaseIdField = Annotated[str, typer.Option(help="Name of the id's field.")]
Take = Annotated[int | None, typer.Option(help="Use only this many cases, from the first on.")]


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.add_typer(quick)


@quick.command()
def inline(
    model: Model,
    given: Annotated[str, typer.Option("--input", help="The model's input.")],
    expected_output: Annotated[str | None, typer.Option(help="The gold answer.")] = None,
    metric: Metrics = None,
    parser: Parser = None,
    judge: Judges = None,
    samples: Samples = 1,
    fresh: Fresh = False,
    max_age: MaxAge = None,
    store: TargetPath = None,
    progress: Progress = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate on one input."""
    from themis.experiment.config.file import read_dataset

    reuse = reuse_asked(rerun=False, fresh=fresh, max_age=max_age)
    case = {"case_id": "1", "input": given, "expected_output": expected_output}
    data = read_dataset({"dataset_id": "inline", "cases": [case]}, "--input")
    _evaluate(model, data, metric, parser, judge, samples, reuse, store, progress, as_json=as_json)


@quick.command("file")
def from_file(
    path: Annotated[Path, typer.Argument(help="A .jsonl, .json, .csv, .tsv or .parquet file.")],
    model: Model,
    metric: Metrics = None,
    parser: Parser = None,
    judge: Judges = None,
    given: InputField = "input",
    expected_output: GoldField = "expected_output",
    case_id: CaseIdField = "case_id",
    delimiter: Annotated[
        str | None, typer.Option(help="What stands between the cells of a CSV file.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="A CSV file's encoding, such as latin-1.")
    ] = None,
    take: Take = None,
    samples: Samples = 1,
    fresh: Fresh = False,
    max_age: MaxAge = None,
    store: TargetPath = None,
    progress: Progress = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate on the cases of a file."""
    from themis.experiment.config.file import read_dataset

    reuse = reuse_asked(rerun=False, fresh=fresh, max_age=max_age)
    fields = {"input": given, "expected_output": expected_output, "case_id": case_id}
    of_csv = {"delimiter": delimiter, "encoding": encoding}
    fields |= {key: text for key, text in of_csv.items() if text is not None}
    data = read_dataset({"path": str(path), "take": take, **fields}, "PATH")
    _evaluate(model, data, metric, parser, judge, samples, reuse, store, progress, as_json=as_json)


@quick.command("huggingface")
def from_huggingface(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name on the hub, or a folder of data files.")
    ],
    model: Model,
    metric: Metrics = None,
    parser: Parser = None,
    judge: Judges = None,
    given: InputField = "input",
    expected_output: GoldField = "expected_output",
    case_id: CaseIdField = "case_id",
    configuration: Annotated[
        str | None, typer.Option("--name", help="The data set's configuration.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split; needed where there are several.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="The revision on the hub.")] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read from the hub, keeping no copy on disk.")
    ] = False,
    take: Take = None,
    samples: Samples = 1,
    fresh: Fresh = False,
    max_age: MaxAge = None,
    store: TargetPath = None,
    progress: Progress = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate on a data set of the Hugging Face hub."""
    from themis.core.models import Dataset

    reuse = reuse_asked(rerun=False, fresh=fresh, max_age=max_age)
    data = Dataset.from_huggingface(
        name,
        input=given,
        expected_output=expected_output,
        case_id=case_id,
        name=configuration,
        split=split,
        revision=revision,
        streaming=streaming,
    )
    _evaluate(
        model,
        data if take is None else data.take(take),
        metric,
        parser,
        judge,
        samples,
        reuse,
        store,
        progress,
        as_json=as_json,
    )


def _evaluate(
    model: str,
    data: Dataset,
    metrics: list[str] | None,
    parser: str | None,
    judges: list[str] | None,
    samples: int,
    reuse: str | None,
    store: Path | None,
    progress: bool | None,
    *,
    as_json: bool,
) -> None:
    from themis.cli.shell import say
    from themis.core.config import RuntimeConfig, StorageConfig
    from themis.experiment.evaluate import evaluate

    importable_here()
    path = store or default_store()
    result = evaluate(
        model=_component(model, "generator", "--model"),
        data=data,
        metric=[_component(one, "metric", "--metric") for one in metrics or ()],
        parser=None if parser is None else _component(parser, "parser", "--parser"),
        judge=[_component(one, "judge", "--judge") for one in judges or ()],
        samples=samples,
        storage=StorageConfig(store="sqlite", parameters={"path": str(path)}),
        runtime=None if reuse is None else RuntimeConfig(reuse=reuse),
        progress=progress,
    )
    if progress is not False:
        say(f"runs are kept in {path}")
    show_run(opened(path), result, as_json=as_json)


def _component(text: str, kind: Kind, option: str) -> Any:
    from themis.core.errors import ConfigError
    from themis.experiment.config.data import read_yaml
    from themis.experiment.config.file import read_component

    if not text.startswith("{"):
        return read_component(text, kind, option)
    try:
        spec = read_yaml(text)
    except ConfigError:
        raise ConfigError(f"{option} is neither an id nor YAML") from None
    return read_component(spec, kind, option)
