"""Scores by group: the cases' own scores, two means told apart, and what cannot be grouped.

Covers: themis.views.groups, themis.analysis.group_means, themis.analysis.group_tables,
themis.execution.corpus_values
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from themis import Experiment, Reporter, RunResult, use
from themis.adapters import function
from themis.analysis.group_means import mean_of_groups
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.errors import DefinitionError
from themis.core.models import Case, Dataset
from themis.core.results import MetricSummary
from themis.stores.memory import InMemoryRunStore
from themis.views import groups as module


def dataset(name: str, metadata: list[dict[str, Any]]) -> Dataset:
    cases = [
        Case(case_id=f"{name}{at}", input=f"{name} {at}", expected_output="yes", metadata=facts)
        for at, facts in enumerate(metadata)
    ]
    return Dataset(dataset_id=name, cases=cases)


def run_of(
    *datasets: Dataset, right: list[str], broken: tuple[str, ...] = (), **evaluation: Any
) -> tuple[RunResult, InMemoryRunStore]:
    """Return a run in which the named inputs ("a 0") are answered right, or not at all."""

    def answer(prompt: str) -> str:
        if prompt in broken:
            raise RuntimeError("down")
        return "yes" if prompt in right else "no"

    store = InMemoryRunStore()
    made = Experiment(
        generation=GenerationConfig(generator=function(answer, version="1")),
        evaluation=EvaluationConfig(**{"metrics": ["builtin/exact_match"], **evaluation}),
        storage=StorageConfig(store="memory"),
        datasets=datasets,
    )
    return made.run(store=store, progress=False), store


def uneven() -> tuple[RunResult, InMemoryRunStore]:
    """Four cases of one data set, two of another, one of them without an answer."""
    law, maths = {"subject": "law", "source": {"year": 10}}, {"subject": "maths"}
    return run_of(
        dataset("long", [law, maths, {**law, "source": {"year": 9}}, {}]),
        dataset("brief", [maths, law]),
        right=["long 0", "long 1", "long 2", "brief 0"],
        broken=("brief 1",),
    )


def figures(result: RunResult, by: str | list[str]) -> dict[tuple[str, ...], Any]:
    return {
        tuple(group.by.values()): (one.mean, one.n_cases, one.n_errors)
        for group in result.groups(by)
        for one in group.metrics
    }


def test_a_group_has_the_scores_and_errors_of_its_own_cases() -> None:
    result, _ = uneven()
    assert figures(result, "dataset") == {("long",): (0.75, 4, 0), ("brief",): (1.0, 2, 1)}
    by_subject = figures(result, "subject")
    assert by_subject == {("law",): (1.0, 3, 1), ("maths",): (1.0, 2, 0), ("(none)",): (0.0, 1, 0)}
    assert list(by_subject)[-1] == ("(none)",)
    assert figures(result, ["dataset", "subject"])["long", "law"] == (1.0, 2, 0)


def test_numbers_stand_by_size_and_fields_within_fields_are_found() -> None:
    result, _ = uneven()
    assert list(figures(result, "source.year")) == [("9",), ("10",), ("(none)",)]


def test_the_field_named_like_the_dataset_is_reached_as_metadata() -> None:
    result, _ = run_of(dataset("d", [{"dataset": "x"}, {"dataset": "y"}]), right=["d 0"])
    assert list(figures(result, "dataset")) == [("d",)]
    assert list(figures(result, "metadata.dataset")) == [("x",), ("y",)]


def test_the_mean_of_all_cases_and_the_mean_over_datasets_are_told_apart() -> None:
    result, _ = uneven()
    lines = result.table(by="dataset").splitlines()
    assert [line.split("builtin")[0].strip() for line in lines[1:]] == [
        "long",
        "brief",
        "all cases",
        "mean over 2 datasets",
    ]
    assert " 0.800 " in next(line for line in lines if line.startswith("all cases"))
    assert " 0.875 " in next(line for line in lines if line.startswith("mean over 2"))


@pytest.mark.parametrize("form", ["markdown", "html", "json"])
def test_every_format_tells_the_groups(form: str) -> None:
    result, store = uneven()
    text = Reporter(store).render(result.run_id, form, by="subject")
    if form == "json":
        (run,) = json.loads(text)["runs"]
        assert run["groups"][0]["by"] == {"subject": "law"}
        assert run["groups"][0]["metrics"][0]["interval"] is not None
        return
    for fact in ("maths", "(none)", "all cases", "mean over 3 groups"):
        assert fact.replace("(", "").strip(")") in text
    assert "maths" not in Reporter(store).render(result.run_id, "markdown")


def test_a_field_that_no_case_has_is_refused_with_what_there_is() -> None:
    result, _ = uneven()
    with pytest.raises(DefinitionError, match=r"'subjet'.*did you mean 'subject'.*source"):
        result.groups("subjet")


def test_too_many_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", 1)
    result, _ = uneven()
    with pytest.raises(DefinitionError, match="more than 1 groups"):
        result.table(by="subject")


@pytest.mark.parametrize("by", ["", [], ["subject", "subject"], [3]])
def test_fields_are_names(by: Any) -> None:
    result, _ = uneven()
    with pytest.raises(DefinitionError, match="by"):
        result.groups(by)


def test_a_corpus_value_is_made_of_its_groups_cases_alone() -> None:
    pytest.importorskip("sacrebleu")
    facts = [{"part": "a"}, {"part": "a"}, {"part": "b"}]
    metrics = [use("builtin/bleu")]
    whole, _ = run_of(dataset("d", facts), right=["d 0", "d 2"], metrics=metrics)
    only, _ = run_of(dataset("d", facts[:2]), right=["d 0"], metrics=metrics)
    (group, _) = whole.groups("part")
    assert group.metrics[0].corpus is not None
    (alone,) = only.metrics.values()
    assert alone.corpus is not None
    assert group.metrics[0].corpus.value == alone.corpus.value


def summary(mean: float | None, variance: float | None, n: int) -> MetricSummary:
    return MetricSummary(
        metric_id="m",
        mean=mean,
        n_cases=n,
        n_cases_scored=n,
        n_scored=n,
        n_errors=0,
        n_unparsed=0,
        variance=variance,
        value_range=[0.0, 1.0],
    )


def test_the_mean_of_groups_has_the_error_of_independent_means() -> None:
    found = mean_of_groups([summary(0.5, 0.25, 100), summary(0.9, 0.09, 25)])
    assert found is not None
    assert found.value == pytest.approx(0.7)
    error = math.sqrt(0.0025 + 0.0036) / 2
    assert found.standard_error == pytest.approx(error)
    assert found.interval == pytest.approx([0.7 - 1.959964 * error, 0.7 + 1.959964 * error])


def test_a_mean_of_groups_of_which_one_has_no_value_is_none() -> None:
    assert mean_of_groups([summary(0.5, 0.25, 4), summary(None, None, 4)]) == (None, 2, None, None)
    assert mean_of_groups([summary(0.5, 0.25, 4)]) is None
