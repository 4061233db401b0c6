"""One call for the plain case: a model, some data, a metric."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from themis.core.config import (
    EvaluationConfig,
    GenerationConfig,
    GeneratorLike,
    JudgeLike,
    MetricLike,
    ParserLike,
    ReducerLike,
    RuntimeConfig,
    SelectorLike,
    StorageConfig,
)
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.models import Dataset
from themis.core.prompts import PromptSpec
from themis.experiment.experiment import Experiment, RunOptions

if TYPE_CHECKING:
    from themis.core.store import RunStore
    from themis.experiment.result import RunResult

DEFAULT_PATH = Path(".themis") / "runs.db"
Data = (
    Dataset
    | Sequence[Dataset]
    | Sequence[Mapping[str, Any]]
    | Iterator[Mapping[str, Any]]
    | Callable[[], Iterable[Mapping[str, Any]]]
)


class EvaluateOptions(TypedDict, total=False):
    """What ``evaluate`` takes besides model, data and metric."""

    parser: ParserLike | None
    """Reads the value that metrics score."""
    judge: JudgeLike | Sequence[JudgeLike] | None
    """A judge, or several."""
    samples: int
    """Samples a case; 1 by default."""
    selector: SelectorLike | None
    reducer: ReducerLike | None
    prompt_spec: PromptSpec | None
    storage: StorageConfig | None
    """Where the run is kept; ``.themis/runs.db`` by default, and the path is said."""
    runtime: RuntimeConfig | None
    seeds: Sequence[int] | None
    workflow_overrides: Mapping[str, Any] | None
    judge_config: Mapping[str, Any] | None
    store: RunStore | None
    """An open store in place of ``storage``."""
    environment_metadata: Mapping[str, Any] | None
    until_stage: str
    subscribers: Sequence[Any] | None
    tracing_provider: Any
    progress: bool | None
    take_over: bool


def evaluate(
    *,
    model: GeneratorLike,
    data: Data,
    metric: MetricLike | Sequence[MetricLike] | None = None,
    **options: Unpack[EvaluateOptions],
) -> RunResult:
    """Evaluate a model on data and return the result; the run is kept and resumes by itself.

    Args:
        model: a generator: an id, an import path, ``use(...)``, an adapter or an own object.
        data: a Dataset, several, or mappings with ``input`` and ``expected_output``: a list of
            them, an iterator, or a function that returns one.
        metric: a metric or several; none only generates.
        **options: see ``EvaluateOptions``.

    Example:
        ``evaluate(model="builtin/demo_generator", data=[{"input": "2+2", "expected_output": "4"}],
        metric="builtin/exact_match")``
    """
    experiment = _experiment(model, data, metric, options)
    return experiment.run(**_run_options(options))


async def evaluate_async(
    *,
    model: GeneratorLike,
    data: Data,
    metric: MetricLike | Sequence[MetricLike] | None = None,
    **options: Unpack[EvaluateOptions],
) -> RunResult:
    """Do what ``evaluate`` does, on the caller's event loop."""
    experiment = _experiment(model, data, metric, options)
    return await experiment.run_async(**_run_options(options))


def as_datasets(data: Data) -> list[Dataset]:
    """Return data as datasets.

    Mappings become one dataset named "data"; a mapping without ``case_id`` is numbered from 1. A
    list is checked at once; what yields them, an iterator or a function, is read lazily.

    Raises:
        DefinitionError: it is neither datasets nor mappings.
    """
    if isinstance(data, Dataset):
        return [data]
    if isinstance(data, Iterator) or callable(data):
        return [Dataset.from_source(data, dataset_id="data")]
    given: object = data  # whatever its type promises
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise DefinitionError(
            f"data is {type(data).__name__}: give a Dataset, several, or a list of mappings; "
            "for a file, Dataset.from_jsonl(path); for a DataFrame, frame.to_dict('records')",
            field="data",
            value=data,
        )
    datasets = [item for item in data if isinstance(item, Dataset)]
    if datasets and len(datasets) == len(data):
        return datasets
    from themis.data.sources import as_cases

    cases = as_cases(data, lambda number: f"data[{number - 1}]")
    return [Dataset(dataset_id="data", cases=list(cases))]


def _experiment(
    model: GeneratorLike, data: Data, metric: Any, options: EvaluateOptions
) -> Experiment:
    _refuse_unknown(options)
    samples = options.get("samples", 1)
    storage = options.get("storage")
    if storage is None:
        if options.get("store") is not None:
            storage = StorageConfig(store="memory")
        else:
            storage = StorageConfig(store="sqlite", parameters={"path": str(DEFAULT_PATH)})
            if options.get("progress") is not False:
                sys.stderr.write(f"themis: runs are kept in {DEFAULT_PATH}\n")
    return Experiment(
        generation=GenerationConfig(
            generator=model,
            candidate_policy={"num_samples": samples},
            prompt_spec=options.get("prompt_spec"),
            selector=options.get("selector"),
            reducer=options.get("reducer"),
        ),
        evaluation=EvaluationConfig(
            metrics=_as_list(metric),
            parsers=_as_list(options.get("parser")),
            judge_models=_as_list(options.get("judge")),
            judge_config=_as_dict("judge_config", options.get("judge_config")),
            workflow_overrides=_as_dict("workflow_overrides", options.get("workflow_overrides")),
        ),
        storage=storage,
        runtime=options.get("runtime"),
        datasets=as_datasets(data),
        seeds=() if (seeds := options.get("seeds")) is None else seeds,
        environment_metadata=options.get("environment_metadata"),
    )


def _run_options(options: EvaluateOptions) -> Any:
    names = {*RunOptions.__annotations__, "until_stage"} - {"runtime"}
    return {name: options[name] for name in names if name in options}  # type: ignore[literal-required]


def _refuse_unknown(options: EvaluateOptions) -> None:
    known = [*EvaluateOptions.__annotations__, "model", "data", "metric"]
    for name in options:
        if name not in known:
            raise TypeError(f"evaluate() has no argument '{name}'{did_you_mean(name, known)}")


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _as_dict(name: str, value: Any) -> dict[str, Any]:
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    raise DefinitionError(
        f"{name} is {type(value).__name__}; it must be a mapping", field=name, value=value
    )
