"""Reducers that keep one sample keep the one that their rule names, and the first of equals.

Covers: themis.catalog.reducers
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from rapidfuzz.distance import Levenshtein

from tests.support.runs import experiment
from themis import use
from themis.catalog.reducers import MajorityVote, Medoid, token_distance
from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.contexts import ReduceContext
from themis.core.errors import DefinitionError
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate
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


def results(*outputs: Any) -> list[GenerationResult]:
    return [
        GenerationResult(candidate_id=f"c{index}", final_output=output)
        for index, output in enumerate(outputs)
    ]


async def test_the_most_frequent_output_wins_by_its_first_sample(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    reduced = await MajorityVote().reduce(results("a", 4, 4.0, "b"), reduce_context())
    assert reduced.final_output == 4
    assert reduced.metadata["votes"] == [
        {"value": 4, "count": 2}, {"value": "a", "count": 1}, {"value": "b", "count": 1},
    ]  # fmt: skip
    assert reduced.metadata["tie"] is False
    assert reduced.metadata["kept"] == 1
    assert reduced.source_candidate_ids == ["c0", "c1", "c2", "c3"]


async def test_samples_vote_with_their_parsed_values_and_the_unparsed_do_not_vote(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    parsed = {
        "c0": None,
        "c1": ParsedOutput(value="B"),
        "c2": ParsedOutput(value="A"),
        "c3": ParsedOutput(value="A"),
        "c4": ParsedOutput(value=None),
    }
    candidates = results("x", "it is B", "A!", "(A)", "x")
    ctx = reduce_context(candidate_ids=list(parsed), parsed=parsed)
    reduced = await MajorityVote().reduce(candidates, ctx)
    assert reduced.final_output == "A!"
    assert (reduced.metadata["n_voting"], reduced.metadata["n_unparsed"]) == (3, 2)


async def test_a_tie_goes_to_the_earliest_and_is_said(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    reduced = await MajorityVote().reduce(results("b", "a"), reduce_context())
    assert (reduced.final_output, reduced.metadata["tie"]) == ("b", True)


async def test_where_nobody_can_vote_the_first_is_kept_and_it_is_said(
    reduce_context: Callable[..., ReduceContext],
) -> None:
    ctx = reduce_context(parsed={"c0": None, "c1": None})
    reduced = await MajorityVote().reduce(results("x", "y"), ctx)
    assert reduced.final_output == "x"
    assert reduced.metadata["note"] == "no sample could vote; the first is kept"
