"""Compiling refuses what cannot be meant: one line with the field, the value and the way out.

Covers: themis.experiment.checking, themis.experiment.experiment, themis.planning,
themis.planning.compile, themis.planning.components, themis.planning.datasets, themis.planning.sets
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import Experiment, use
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, UnknownComponentError
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.testing.scripted import CountingMetric, ScriptedGenerator, ScriptedJudge

RUBRIC = use("builtin/llm_rubric", rubric="Good?")


def _metric(**declared: Any) -> CountingMetric:
    metric = CountingMetric()
    for name, value in declared.items():
        setattr(metric, name, value)
    return metric


def _generator(**declared: Any) -> ScriptedGenerator:
    generator = ScriptedGenerator()
    for name, value in declared.items():
        setattr(generator, name, value)
    return generator


class NoFingerprint:
    component_id = "mine"
    version = "1"

    async def generate(self, case: Any, ctx: Any) -> Any: ...


class NoGenerate:
    component_id = "mine"
    version = "1"

    def fingerprint(self) -> str:
        return ""


def _twice() -> Dataset:
    return Dataset(dataset_id="d", cases=[Case(case_id=i, input=1) for i in ("a", "b", "a")])


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no dataset": ({"cases": []}, ["datasets is empty"]),
    "an empty dataset": ({"cases": 0}, ["dataset 'data' has no cases", "at least one"]),
    "a case id twice": ({"cases": _twice()}, ["'d'", "case_id 'a' twice", "case 3"]),
    "a dataset id twice": ({"cases": [dataset(), dataset()]}, ["datasets", "'data' twice"]),
    "no generator": (
        {"generator": use("builtin/demo_generatr")},
        ["did you mean 'builtin/demo_generator'"],
    ),
    "an unknown metric": (
        {"metrics": ["builtin/exactmatch"]},
        ["builtin/exactmatch", "did you mean 'builtin/exact_match'"],
    ),
    "an unknown parser": ({"parser": "builtin/txt"}, ["builtin/txt", "builtin/text"]),
    "an unknown judge": (
        {"judges": ["builtin/demo_juge"]},
        ["builtin/demo_juge", "builtin/demo_judge"],
    ),
    "an unknown reducer": ({"reducer": "majority"}, ["majority", "builtin/majority_vote"]),
    "a metric where a parser is wanted": (
        {"parser": "builtin/exact_match"},
        ["is a metric, not a parser"],
    ),
    "an import path to nowhere": ({"metrics": ["nowhere.at.all:metric"]}, ["no module 'nowhere'"]),
    "an import path without its end": (
        {"metrics": ["themis.catalog.metrics.match:ExactMach"]},
        ["no 'ExactMach'", "ExactMatch"],
    ),
    "a param that is none": ({"metrics": [use("builtin/exact_match", tol=1)]}, ["no param 'tol'"]),
    "a param that is missing": (
        {"metrics": [use("builtin/llm_rubric")], "judges": ["builtin/demo_judge"]},
        ["needs the param 'rubric'"],
    ),
    "a class in place of an object": (
        {"metrics": [CountingMetric]},
        ["CountingMetric is a class", "CountingMetric(...)"],
    ),
    "no metric": ({"metrics": [None]}, ["metrics[0] is None"]),
    "a number for a metric": ({"metrics": [5]}, ["int has no"]),
    "a metric twice": (
        {"metrics": [CountingMetric(), CountingMetric()]},
        ["metrics holds 'counting/metric' twice", "use(..., name=...)"],
    ),
    "a judge twice": (
        {"judges": [ScriptedJudge(), ScriptedJudge()]},
        ["judge_models holds 'scripted/judge' twice"],
    ),
    "a judged metric without a judge": (
        {"metrics": [RUBRIC]},
        ["'builtin/llm_rubric' needs a judge", "judge_models"],
    ),
    "a selector without a judge": (
        {"selector": "builtin/best_of_n", "samples": 2},
        ["'builtin/best_of_n' needs a judge", "judge_models"],
    ),
    "a judge that is not there": (
        {
            "metrics": [use("builtin/llm_rubric", rubric="Good?", judge="scripted/juge")],
            "judges": [ScriptedJudge()],
        },
        ["scripted/juge", "did you mean 'scripted/judge'"],
    ),
    "fewer seeds than samples": (
        {"samples": 2, "seeds": [1]},
        ["seeds has 1 values for num_samples = 2"],
    ),
    "more seeds than samples": ({"seeds": [1, 2]}, ["seeds has 2 values for num_samples = 1"]),
    "equal seeds": ({"samples": 2, "seeds": [7, 7]}, ["seeds holds 7 twice", "make them differ"]),
    "a seed that is no integer": ({"seeds": [1.5]}, ["seeds holds 1.5"]),
    "a seed that is true": ({"seeds": [True]}, ["seeds holds True"]),
    "a generator without a fingerprint": (
        {"generator": NoFingerprint()},
        ["NoFingerprint has no fingerprint()", "add a method"],
    ),
    "a generator that generates nothing": (
        {"generator": NoGenerate()},
        ["NoGenerate has no generate()"],
    ),
    "a judge for a generator": ({"generator": ScriptedJudge()}, ["looks like a judge"]),
    "a fingerprint that is no text": (
        {"generator": _generator(_fingerprint=5)},
        ["fingerprint() gave int", "text"],
    ),
    "an empty component id": (
        {"generator": _generator(component_id="")},
        ["component_id is ''", "non-empty"],
    ),
    "a version that is no text": ({"generator": _generator(version=2)}, ["version is 2"]),
    "an unknown part read": ({"generator": _generator(reads=("gold",))}, ["reads has 'gold'"]),
    "a part read, misspelt": (
        {"metrics": [_metric(reads=("expected",))]},
        ["reads has 'expected'", "expected_output"],
    ),
    "a number of parts read": ({"generator": _generator(reads=5)}, ["reads is 5"]),
    "an unknown kind": ({"metrics": [_metric(kind="bool")]}, ["kind is 'bool'", "binary, value"]),
    "an unknown unparsed": ({"metrics": [_metric(unparsed="skip")]}, ["unparsed is 'skip'"]),
    "a range upside down": ({"metrics": [_metric(value_range=(1, 0))]}, ["value_range is (1, 0)"]),
    "a range of one": ({"metrics": [_metric(value_range=(1,))]}, ["value_range is (1,)"]),
    "a range of three": ({"metrics": [_metric(value_range=(0, 1, 2))]}, ["value_range"]),
    "a range of text": ({"metrics": [_metric(value_range="01")]}, ["value_range is '01'"]),
    "a range without end": (
        {"metrics": [_metric(value_range=(0, math.inf))]},
        ["value_range is (0, inf)"],
    ),
    "a range of NaN": ({"metrics": [_metric(value_range=(math.nan, 1))]}, ["value_range"]),
    "a unit that is no text": ({"metrics": [_metric(unit=5)]}, ["unit", "5"]),
    "a template field that a case lacks": (
        {"prompt": PromptSpec(template="{{ metadata.topic }}")},
        ["topic", "case 'c0'", "dataset 'data'"],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_experiment_is_refused_before_anything_runs(what: str) -> None:
    change, named = BAD[what]
    one = experiment(**change)
    with pytest.raises(DefinitionError) as refused:
        one.compile()
    words = str(refused.value)
    assert "\n" not in words
    for name in named:
        assert name in words
    with pytest.raises(DefinitionError):
        one.run()
    assert list(one.store.runs()) == []


def test_an_unknown_id_tells_programs_the_nearest() -> None:
    with pytest.raises(UnknownComponentError) as refused:
        experiment(metrics=["builtin/exactmatch"]).compile()
    assert refused.value.nearest == "builtin/exact_match"


def test_no_generator_is_refused_by_name() -> None:
    from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
    from themis.experiment.experiment import Experiment

    one = Experiment(
        generation=GenerationConfig(generator=None),
        evaluation=EvaluationConfig(),
        storage=StorageConfig(store="memory"),
        datasets=[dataset()],
    )
    with pytest.raises(DefinitionError, match=r"generation\.generator is None"):
        one.compile()


def test_workflow_overrides_name_metrics_of_the_run() -> None:
    from themis.core.config import EvaluationConfig

    one = experiment()
    one.evaluation = EvaluationConfig(
        metrics=[CountingMetric()], workflow_overrides={"counting/metrc": {}}
    )
    with pytest.raises(DefinitionError, match="did you mean 'counting/metric'"):
        one.compile()


@pytest.mark.parametrize("key", ["api_key", "OPENAI_API_KEY", "password"])
def test_environment_metadata_that_look_like_a_secret_are_refused(key: str) -> None:
    one = experiment()
    one.environment_metadata = {key: "sk-123"}
    with pytest.raises(DefinitionError, match="looks like a secret") as refused:
        one.compile()
    assert "sk-123" not in str(refused.value)


KEY = "ghp_" + "aB3dE5gH7jK9" * 3


@pytest.mark.parametrize("place", ["environment", "dataset", "judge_config", "overrides", "params"])
def test_a_value_like_a_key_is_refused_where_it_would_be_stored_and_not_shown(place: str) -> None:
    note = {"about": ["all is well", {"note": f"use {KEY}"}]}
    metric = use("builtin/llm_rubric", rubric=KEY if place == "params" else "Is it right?")
    metadata = note if place == "dataset" else {}
    one = experiment(
        cases=Dataset(dataset_id="d", cases=[Case(case_id="1", input=KEY)], metadata=metadata),
        metrics=[metric],
        judges=["builtin/demo_judge"],
        judge_config=note if place == "judge_config" else {},
    )
    if place == "environment":
        one.environment_metadata = note
    if place == "overrides":
        overrides = {"workflow_overrides": {"builtin/llm_rubric": note}}
        one.evaluation = one.evaluation.model_copy(update=overrides)
    with pytest.raises(DefinitionError, match="looks like a secret") as refused:
        one.compile()
    assert KEY not in str(refused.value)
    assert ("rubric" if place == "params" else "about[1].note") in str(refused.value)


def test_what_a_case_asks_and_expects_may_look_like_a_key() -> None:
    case = Case(case_id="1", input=f"Is {KEY} a key?", expected_output={"key": KEY})
    assert experiment(cases=Dataset(dataset_id="d", cases=[case])).compile()


def test_two_different_parsers_of_one_name_are_refused() -> None:
    from themis.testing.scripted import CountingParser

    one = experiment(
        parser=CountingParser(fingerprint="a"),
        metrics=[use("builtin/exact_match", parser=CountingParser(fingerprint="b"))],
    )
    with pytest.raises(DefinitionError, match="two different parsers go by the name"):
        one.compile()


def test_duplicates_are_found_among_many_cases() -> None:
    cases = [Case(case_id=f"c{i}", input=i) for i in range(60_000)]
    cases.append(Case(case_id="c59999", input=0))
    with pytest.raises(DefinitionError, match="case_id 'c59999' twice"):
        experiment(cases=Dataset(dataset_id="d", cases=cases)).compile()


def test_a_function_in_a_generators_place_is_told_how_to_be_one() -> None:
    def answer(text: str) -> str:
        return text

    with pytest.raises(DefinitionError, match=r"answer is a function; wrap it: themis\.adapters"):
        experiment(answer).compile()


def _refused(work: Any, *named: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        work()
    said = str(refused.value)
    assert "\n" not in said
    assert [word for word in named if word not in said] == []


def _filed(path: Path, **parts: Any) -> Experiment:
    storage = StorageConfig(store="sqlite", parameters={"path": str(path)})
    return experiment(storage=storage, **parts)


def test_an_aggregate_that_would_have_to_be_awaited_is_refused_while_compiling() -> None:
    class Corpus(CountingMetric):
        async def aggregate(self, statistics: Any) -> float:
            return 42.0

    _refused(experiment(metrics=[Corpus()]).compile, "Corpus", "aggregate()", "plain method")


WRONG: dict[str, dict[str, Any]] = {
    "an empty mapping": {"runtime": {}},
    "a mapping": {"runtime": {"max_concurrent_tasks": 2}},
    "a store's name": {"store": "x"},
    "a number": {"subscribers": 3},
    "an object": {"tracing_provider": object()},
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("verb", ["run", "replay", "rejudge"])
def test_options_of_the_wrong_kind_are_refused_before_a_file_is_made(
    verb: str, what: str, tmp_path: Path
) -> None:
    options = WRONG[what]
    generator = ScriptedGenerator()
    one = _filed(tmp_path / "runs.db", generator=generator)
    (named,) = options
    stage = {"stage": "score"} if verb == "replay" else {}
    _refused(lambda: getattr(one, verb)(**options, **stage), named)
    assert list(tmp_path.iterdir()) == []
    assert generator.count() == 0


@pytest.mark.parametrize("name", ["on_event", "before_generate", "after_score"])
def test_an_async_subscriber_is_refused_before_a_file_is_made(name: str, tmp_path: Path) -> None:
    async def told(self: Any, *_: Any) -> None: ...

    subscriber = type("Async", (), {name: told})()
    one = _filed(tmp_path / "runs.db")
    _refused(lambda: one.run(subscribers=[subscriber]), "Async", "async")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("shut"), OSError(5)])
def test_data_that_cannot_be_read_is_refused_naming_the_dataset(error: OSError) -> None:
    class Source:
        def __iter__(self) -> Iterator[Case]:
            yield Case(case_id="c0", input=1)
            raise error

    data = Dataset.from_source(Source(), dataset_id="far away")
    _refused(experiment(cases=data).compile, "far away")
    _refused(experiment(cases=data).run, "far away")
