"""Run ids and keys: the same everywhere and always, and different where something else was asked.

The golden ids hold for every supported Python: ``make test-all`` runs this module on each of them.
A change here changes what can be reused, and belongs under "Identity" in the changelog.

Covers: themis.core.hashing, themis.core.snapshot, themis.planning.compile, themis.planning.keys,
themis.planning.provenance
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.planning.fixed_experiment import (
    Generator,
    Judge,
    Judged,
    Metric,
    Parser,
    Reducer,
    Selector,
    folding,
    identities,
    make,
)
from themis import RuntimeConfig, use
from themis.core.base import case_key
from themis.core.config import StorageConfig
from themis.core.models import Case
from themis.core.prompts import PromptSpec
from themis.planning.keys import CaseDigests, derived_seed, sample_seed

GOLDEN: dict[str, Any] = {
    "run_id": "a27f87cdeb02ae2e848fffa7050d3c90",
    "dataset": "dbe9cabfd128d1d7b464a95917a2875c",
    "case_key": "142c305e5c47d3749b83676896a7a5c7",
    "keys": {
        "generate 0": "t1:53ce2e8879cf47013422bdef48e6c457",
        "generate 1": "t1:b2ae19392739c5cb3680ac750e1fdf9e",
        "generate 2": "t1:cc276f73330a58b682cb2398078fb4bd",
        "judge judged": "t1:5bc2da4c66854aac4951fe924ce74bdd",
        "judge judged one": "t1:de66278e2518128928d33613ed9f2994",
        "parse parser": "t1:a59d1331b8a9ee906657731631d5820c",
        "reduce": "t1:23e4ff0920201dd70c8550e9128351c5",
        "score metric": "t1:f88a905f33ada2406e58485c84f95e80",
        "select": "t1:cdf060b89980f8720df7a109cb8bd5ee",
    },
}
FOLDING = {
    "run_id": "4f8f4e1119c960fc64cf3635e74ed8b8",
    "keys": ["t1:a156f98818364a69f7ca0809836c505d"],
}
ROOT = Path(__file__).resolve().parents[2]


def test_ids_and_keys_are_what_they_always_were() -> None:
    assert identities() == GOLDEN
    assert folding() == FOLDING


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_ids_and_keys_do_not_depend_on_the_process(seed: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.planning.fixed_experiment"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    assert json.loads(said.stdout) == {**GOLDEN, "folding": FOLDING}


SAME: dict[str, dict[str, Any]] = {
    "another store": {"storage": StorageConfig(store="sqlite", parameters={"path": "x.db"})},
    "other settings": {
        "runtime": RuntimeConfig(max_concurrent_tasks=1, existing_run_policy="rerun")
    },
    "the default spelled out": {"candidate_policy": {"num_samples": 3}},
    "a block written otherwise": {
        "prompt_spec": PromptSpec(instructions="Be brief.", blocks=[{"n": 1, "title": "Näh"}])
    },
    "an empty judge prompt": {},
}


@pytest.mark.parametrize("what", SAME)
def test_what_is_not_asked_does_not_change_the_run_id(what: str) -> None:
    assert make(**SAME[what]).compile().run_id == GOLDEN["run_id"]


def _cases(**change: Any) -> list[Case]:
    first, second = make().datasets[0].cases
    return [first.model_copy(update=change), second]


OTHER: dict[str, dict[str, Any]] = {
    "another generator": {"generator": Generator("other")},
    "another prompt block": {
        "prompt_spec": PromptSpec(instructions="Be brief.", blocks=[{"title": "Näh", "n": 2}])
    },
    "no prompt": {"prompt_spec": None},
    "another number of samples": {"candidate_policy": {"num_samples": 4}},
    "no selector": {"selector": None},
    "another selector": {"selector": Selector("other")},
    "no reducer": {"reducer": None},
    "another reducer": {"reducer": Reducer("other")},
    "another parser": {"parsers": [Parser("other")]},
    "another metric": {"metrics": [Metric("other"), Judged("judged")]},
    "another order of metrics": {"metrics": [Judged("judged"), Metric("metric")]},
    "one metric less": {"metrics": [Metric("metric")]},
    "another judge": {"judge_models": [Judge("judge"), Judge("second")]},
    "another judge setting": {"judge_config": {"scale": [0, 2]}},
    "seeds": {"seeds": [1, 2, 3]},
    "another dataset id": {"dataset_id": "other"},
    "another revision": {"revision": "v2"},
    "other dataset metadata": {"metadata": {"source": "found"}},
    "another input": {"cases": _cases(input="1+2")},
    "another gold answer": {"cases": _cases(expected_output="3")},
    "other metadata": {"cases": _cases(metadata={})},
    "another case id": {"cases": _cases(case_id="aa")},
    "another order of cases": {"cases": list(reversed(_cases()))},
    "a number that was text": {"cases": _cases(expected_output=2)},
}


def test_whatever_is_asked_differently_is_another_run() -> None:
    ids = {what: make(**change).compile().run_id for what, change in OTHER.items()}
    ids["as it is"] = make().compile().run_id
    assert len(set(ids.values())) == len(ids), ids


def test_the_name_in_tables_and_the_params_of_a_metric_are_asked_for() -> None:
    def run_id(**params: Any) -> str:
        return make(metrics=[use("builtin/choice_accuracy", **params)]).compile().run_id

    ids = {run_id(), run_id(name="close"), run_id(first_index=1), run_id(parser="builtin/text")}
    assert len(ids) == 4


def test_a_key_of_a_generation_knows_neither_name_nor_revision_nor_number_of_samples() -> None:
    case = Case(case_id="a", input="1+1", expected_output="2")
    read = CaseDigests(case).read_by(frozenset({"input"}))
    corrected = case.model_copy(update={"expected_output": "3", "metadata": {"x": 1}})
    assert CaseDigests(corrected).read_by(frozenset({"input"})) == read
    assert CaseDigests(corrected).whole != CaseDigests(case).whole
    assert (
        CaseDigests(case.model_copy(update={"case_id": "b"})).read_by(frozenset({"input"})) != read
    )


def test_null_and_empty_and_absent_parts_are_told_apart() -> None:
    def whole(**parts: Any) -> bytes:
        return CaseDigests(Case(**{"case_id": "a", "input": None, **parts})).whole

    digests = [
        whole(),
        whole(input={}),
        whole(input=""),
        whole(input=[]),
        whole(expected_output={}),
        whole(expected_output=""),
        whole(metadata={"a": None}),
        whole(input={"a": None}),
    ]
    assert len(set(digests)) == len(digests)
    one = CaseDigests(Case(case_id="a", input=None))
    assert one.read_by(frozenset()) != one.read_by(frozenset({"input"}))


def test_case_keys_tell_datasets_apart_however_their_ids_are_cut() -> None:
    keys = {case_key("a", "b:c"), case_key("a:b", "c"), case_key("ab", "c"), case_key("a", "bc")}
    assert len(keys) == 4


def test_derived_seeds_are_small_fixed_and_follow_the_case_id_alone() -> None:
    assert sample_seed([], "c", 0) == derived_seed("c", 0) == 835592065
    seeds = {derived_seed(f"c{i}", sample) for i in range(100) for sample in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert sample_seed([7, 9], "c", 1) == 9


def test_a_snapshot_reads_back_with_its_id() -> None:
    snapshot = make().compile()
    again = type(snapshot)(**json.loads(snapshot.model_dump_json()))
    assert again.run_id == snapshot.run_id == GOLDEN["run_id"]
