"""Why a run's id is another: every difference of what was asked is named, and nothing else.

Covers: themis.adapters.http, themis.planning.compare, themis.planning.compare.closest_run,
themis.planning.compare.explain, themis.planning.compare.fields, themis.planning.compare.reasons
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.runs import dataset, experiment
from themis import Experiment, InMemoryRunStore, PromptSpec, explain, use
from themis.core.errors import RunNotFoundError
from themis.core.models import Case, Dataset
from themis.planning.compare.fields import identity_differences
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge


def said(store: InMemoryRunStore, one: Experiment, other: Experiment) -> list[str]:
    """Return the lines that tell two experiments apart, both having been run."""
    first, second = one.run(store=store), other.run(store=store)
    found = explain(store, first.run_id, second.run_id)
    assert found.equal == (first.run_id == second.run_id)
    # The experiment as it stands is told apart in the same words.
    assert other.explain(first.run_id, store=store) == found
    return [difference.text() for difference in (*found.identity, *found.data)]


@pytest.fixture
def store() -> InMemoryRunStore:
    return InMemoryRunStore()


def test_equal_experiments_are_equal(store: InMemoryRunStore) -> None:
    assert said(store, experiment(), experiment()) == []


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        (
            {"prompt": PromptSpec(instructions="A", prefix="P")},
            {"prompt": PromptSpec(instructions="B", prefix="P")},
            ['prompt_spec.instructions changed ("A" -> "B")'],
        ),
        ({}, {"prompt": PromptSpec(suffix="S")}, ['prompt_spec.suffix added ("S")']),
        ({"samples": 2}, {"samples": 3}, ["num_samples changed (2 -> 3)"]),
        ({"seeds": [1]}, {"seeds": [2]}, ["seeds changed ([1] -> [2])"]),
        (
            {"metrics": [use("builtin/exact_match"), CountingMetric()]},
            {"metrics": [CountingMetric(), use("builtin/exact_match")]},
            [
                'order of metrics changed (["metric:builtin/exact_match","metric:counting/metric"]'
                ' -> ["metric:counting/metric","metric:builtin/exact_match"])'
            ],
        ),
        (
            {"metrics": [CountingMetric(component_id="m")]},
            {"metrics": [CountingMetric(component_id="n")]},
            ["metric:m removed", "metric:n added"],
        ),
        (
            {"generator": use("builtin/demo_generator", accuracy=0.5)},
            {"generator": use("builtin/demo_generator", accuracy=1.0)},
            ["generator:builtin/demo_generator.settings.accuracy changed (0.5 -> 1.0)"],
        ),
        (
            {"parser": CountingParser(fingerprint="x")},
            {"parser": CountingParser(fingerprint="y")},
            ['parser:counting/parser.fingerprint changed ("x" -> "y")'],
        ),
        ({"samples": 2}, {"samples": 2, "reducer": "builtin/majority_vote"}, None),
        (
            {"judge_config": {"a": {"b": 1, "c": 2}}},
            {"judge_config": {"a": {"b": 1, "c": 3}}},
            ["judge_config.a.c changed (2 -> 3)"],
        ),
    ],
)
def test_the_field_that_differs_is_named(
    store: InMemoryRunStore, one: dict[str, Any], other: dict[str, Any], lines: list[str] | None
) -> None:
    found = said(store, experiment(**one), experiment(**other))
    assert found == (["reducer:builtin/majority_vote added"] if lines is None else lines)


def test_another_model_is_told_by_what_it_is(store: InMemoryRunStore) -> None:
    found = said(
        store,
        experiment(ScriptedGenerator(component_id="one")),
        experiment(ScriptedGenerator(component_id="two")),
    )
    assert found == [
        'generator:two.name changed ("one" -> "two")',
        'generator:two.component_id changed ("one" -> "two")',
    ]


def test_a_rubric_is_told_from_and_to(store: InMemoryRunStore) -> None:
    def one(rubric: str) -> Any:
        metric = use("builtin/llm_rubric", rubric=rubric, name="r")
        return experiment(metrics=[metric], judges=[ScriptedJudge()])

    assert said(store, one("Right?"), one("Short?")) == [
        'metric:r.settings.rubric changed ("Right?" -> "Short?")'
    ]


def test_cases_added_removed_and_changed_are_counted(store: InMemoryRunStore) -> None:
    cases = list(dataset(6).cases)
    changed = cases[1].model_copy(update={"expected_output": "other"})
    new = [Case(case_id=f"n{i}", input=i) for i in range(3)]
    later = Dataset(dataset_id="data", cases=[cases[0], changed, *cases[3:], *new])
    found = said(store, experiment(cases=6), experiment(cases=later))
    assert found[-1] == "cases of dataset 'data': 3 added, 1 removed, 1 changed"
    assert any(line.startswith("dataset:data.fingerprint changed") for line in found)
    assert "dataset:data.n_cases changed (6 -> 8)" in found


def test_another_order_of_cases_is_said_to_be_one(store: InMemoryRunStore) -> None:
    turned = Dataset(dataset_id="data", cases=list(reversed(dataset(4).cases)))
    found = said(store, experiment(cases=4), experiment(cases=turned))
    assert found[-1] == "cases of dataset 'data': another order"


def test_another_dataset_is_added_and_the_former_removed(store: InMemoryRunStore) -> None:
    found = said(store, experiment(), experiment(cases=dataset(3, dataset_id="other")))
    assert found == ["dataset:data removed", "dataset:other added"]


def test_code_is_told_apart_from_what_was_asked(store: InMemoryRunStore) -> None:
    class One(ScriptedGenerator):
        async def generate(self, case: Case, ctx: Any) -> Any:
            return await super().generate(case, ctx)

    class Two(ScriptedGenerator):
        async def generate(self, case: Case, ctx: Any) -> Any:
            self.calls.clear()
            return await super().generate(case, ctx)

    first, second = experiment(One()), experiment(Two())
    ran = first.run(store=store)
    found = second.explain(ran.run_id, store=store)
    assert found.equal
    assert found.identity == []
    assert [one.field for one in found.code] == ["code of generator:scripted/generator"]
    second.run(store=store)  # the newest attempt's code is the one compared with
    assert second.explain(ran.run_id, store=store).code == []
    assert first.explain(ran.run_id, store=store).code != []


def test_a_run_that_is_not_there_is_refused(store: InMemoryRunStore) -> None:
    with pytest.raises(RunNotFoundError):
        explain(store, "a" * 32, "b" * 32)
    with pytest.raises(RunNotFoundError):
        experiment().explain("a" * 32, store=store)


def test_a_secret_among_an_adapters_settings_is_not_kept_with_the_run() -> None:
    from themis.adapters import http

    generator = http(
        "http://127.0.0.1:9/answer",
        body={"q": "{{ input }}"},
        answer="a",
        headers={"x-plain": "hello"},
    )
    told = experiment(generator).compile().provenance.settings
    [settings] = told.values()
    assert settings["headers"] == {"x-plain": "hello"}
    secret = ScriptedGenerator()
    secret.fingerprinted = {"api_key": "walrus-on-a-bicycle", "mode": 1}  # type: ignore[attr-defined]
    told = experiment(secret).compile().provenance.settings
    assert told["generator:scripted/generator"]["mode"] == 1
    assert "walrus" not in str(told)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
ASKED = st.fixed_dictionaries(
    {
        "samples": st.integers(1, 2),
        "judge_config": OBJECTS,
        "metrics": st.permutations(["m", "n"]).map(lambda names: names[:2])
        | st.just(["m"])
        | st.just([]),
        "parser": st.sampled_from([None, "p", "q"]),
        "prefix": st.sampled_from([None, "", "A", "B"]),
        "blocks": st.lists(OBJECTS, max_size=2),
        "revision": st.sampled_from([None, "1"]),
        "metadata": OBJECTS,
        "gold": st.integers(0, 1),
    }
)


def asked(shape: dict[str, Any]) -> Experiment:
    parser = shape["parser"]
    return experiment(
        samples=shape["samples"],
        judge_config=shape["judge_config"],
        metrics=[CountingMetric(component_id=name) for name in shape["metrics"]],
        parser=None if parser is None else CountingParser(component_id=parser),
        prompt=PromptSpec(prefix=shape["prefix"], blocks=shape["blocks"]),
        cases=Dataset(
            dataset_id="d",
            cases=[Case(case_id="c", input=1, expected_output=shape["gold"])],
            revision=shape["revision"],
            metadata=shape["metadata"],
        ),
    )


@settings(max_examples=80, deadline=None)
@given(one=ASKED, other=ASKED, names=st.sets(st.sampled_from(["judge_config", "blocks", "gold"])))
def test_two_runs_differ_in_a_field_exactly_where_their_ids_do(
    one: dict[str, Any], other: dict[str, Any], names: set[str]
) -> None:
    near = {**one, **{name: other[name] for name in names}}
    for shape in (near, other):
        first, second = asked(one).compile(), asked(shape).compile()
        found = identity_differences(first, second)
        assert bool(found) == (first.run_id != second.run_id)
        assert all(difference.text() for difference in found)
