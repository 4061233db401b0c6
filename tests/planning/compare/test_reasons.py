"""Why a step is not there: each part of its key that differs from a kept run's is named.

Covers: themis.planning.keys, themis.planning.compare.reasons
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import InMemoryRunStore, use
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.planning import keys
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge


def judged(**changes: Any) -> dict[str, Any]:
    return {
        "metrics": [use("builtin/llm_rubric", rubric="Right?", name="r")],
        "judges": [ScriptedJudge()],
        **changes,
    }


def about(metadata: dict[str, Any]) -> Dataset:
    return Dataset(dataset_id="data", cases=dataset(2).cases, metadata=metadata)


def tagged(tag: str) -> Dataset:
    cases = [Case(case_id="c0", input=0, expected_output=0, metadata={"tag": tag})]
    return Dataset(dataset_id="data", cases=cases)


PART_CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    "generator": (
        {"generator": ScriptedGenerator(fingerprint="a")},
        {"generator": ScriptedGenerator(fingerprint="b")},
        "generate",
        ["component_changed"],
    ),
    "prompt": (
        {"prompt": PromptSpec(prefix="A")},
        {"prompt": PromptSpec(prefix="B")},
        "generate",
        ["prompt_changed"],
    ),
    "draw": ({"seeds": [1]}, {"seeds": [2]}, "generate", ["seeds_changed"]),
    "case": ({"cases": tagged("a")}, {"cases": tagged("b")}, "score", ["case_changed"]),
    "parser": (
        {"parser": CountingParser(fingerprint="a")},
        {"parser": CountingParser(fingerprint="b")},
        "parse",
        ["component_changed"],
    ),
    "metric": (
        {"metrics": [CountingMetric(fingerprint="a")]},
        {"metrics": [CountingMetric(fingerprint="b")]},
        "score",
        ["component_changed"],
    ),
    "dataset": (
        {"cases": about({"a": 1})},
        {"cases": about({"a": 2})},
        "score",
        ["dataset_changed"],
    ),
    "workflow": (
        judged(judge_config={"strict": 1}),
        judged(judge_config={"strict": 2}),
        "judge",
        ["settings_changed"],
    ),
    "judge": (
        judged(judges=[ScriptedJudge("VERDICT: PASS")]),
        judged(judges=[ScriptedJudge("VERDICT: FAIL")]),
        "judge_calls",
        ["component_changed"],
    ),
}


@pytest.mark.parametrize("part", PART_CHANGED)
def test_a_part_that_changed_is_the_reason(part: str) -> None:
    before, now, stage, causes = PART_CHANGED[part]
    store = InMemoryRunStore()
    experiment(**before).run(store=store)
    plan = experiment(**now).plan(store=store)
    assert any(part in one.parts for one in vars(keys).values() if isinstance(one, keys.KeyKind))
    found = [reason.causes for reason in plan.stages[stage].reasons]
    assert causes in found


def test_metadata_of_a_case_that_changed_is_a_reason_to_parse_again_only_if_it_is_read() -> None:
    parser = CountingParser()
    parser.reads = ("input", "expected_output")  # type: ignore[attr-defined]
    generator = ScriptedGenerator(reads=("input",))
    store = InMemoryRunStore()
    experiment(generator, cases=tagged("a"), parser=parser).run(store=store)
    plan = experiment(generator, cases=tagged("b"), parser=parser).plan(store=store)
    assert plan.to_run["parse"] == 0
