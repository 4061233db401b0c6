"""Reducers that keep one sample keep the one that their rule names, and the first of equals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rapidfuzz.distance import Levenshtein

from tests.support.runs import experiment
from themis import use
from themis.catalog.reducers import Medoid, token_distance
from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.contexts import ReduceContext
from themis.core.errors import DefinitionError
from themis.core.models import GenerationResult, ReducedCandidate
from themis.testing.scripted import ScriptedGenerator


def reduced(reducer: Any, outputs: list[Any]) -> ReducedCandidate:
    generator = ScriptedGenerator({"c0": outputs})
    result = experiment(generator, cases=1, samples=len(outputs), reducer=reducer).run()
    found = result.cases[0].reduced_candidate
    assert found is not None
    return found


def test_first_keeps_what_a_single_sample_would_have_been() -> None:
    found = reduced("builtin/first", ["b", "aa", "aa"])
    assert (found.final_output, found.metadata) == ("b", {"kept": 0})
    assert found.source_candidate_ids == ["c0-scripted#0"]


def test_longest_counts_code_points_and_keeps_the_first_of_equally_long_ones() -> None:
    found = reduced("builtin/longest", ["ß", "日本", "👩x", "y"])
    assert found.final_output == "日本"
    assert found.metadata == {"kept": 1, "length": 2, "tie": True}


def test_longest_measures_json_as_text() -> None:
    assert reduced("builtin/longest", ["four", {"a": 1}]).final_output == {"a": 1}


def test_no_output_is_never_the_longest() -> None:
    found = reduced("builtin/longest", [None, "7"])
    assert (found.final_output, found.metadata["length"]) == ("7", 1)


def test_medoid_keeps_what_is_nearest_to_all_others() -> None:
    outputs = ["the cat sat", "a dog ran off", "the cat sat down", "the cat sat up"]
    found = reduced("builtin/medoid", outputs)
    expected = [sum(token_distance(one, other) for other in outputs) for one in outputs]
    assert found.metadata["kept"] == expected.index(min(expected)) == 0
    assert found.metadata["distance"] == pytest.approx(min(expected) / 3)
    assert found.metadata["tie"] is False


def test_medoid_of_two_is_the_first_and_says_that_it_is_a_tie() -> None:
    found = reduced("builtin/medoid", ["one", "two"])
    assert found.metadata == {"kept": 0, "distance": 1.0, "tie": True}


def test_medoid_by_edits_measures_as_rapidfuzz_does() -> None:
    outputs = ["kitten", "sitting", "mitten", ""]
    found = reduced(use("builtin/medoid", distance="levenshtein"), outputs)
    expected = [
        sum(Levenshtein.normalized_distance(one, other) for other in outputs) for one in outputs
    ]
    assert found.metadata["kept"] == expected.index(min(expected))


def test_medoid_of_one_is_that_one() -> None:
    context = ReduceContext(
        run_id=RunId("r"),
        case_id=CaseId("c"),
        dataset_id=DatasetId("d"),
        case_key=CaseKey("k"),
        seed=None,
        candidate_ids=[CandidateId("x")],
    )
    only = GenerationResult(candidate_id="x", final_output="alone")
    found = asyncio.run(Medoid().reduce([only], context))
    assert found.metadata == {"kept": 0, "distance": 0.0, "tie": False}


def test_a_distance_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'levenshtein'"):
        Medoid(distance="levenstein")
