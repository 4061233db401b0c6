"""What counts as one answer in a vote, and by what seed sets of samples are drawn.

Covers: themis.catalog.metrics.at_k, themis.catalog.metrics.samples
"""

from __future__ import annotations

from typing import Any

import pytest

from themis.catalog.metrics import at_k
from themis.catalog.metrics.samples import Consistency, MajorityAtK
from themis.core.base import CaseKey, RunId
from themis.core.contexts import SetScoreContext
from themis.core.errors import DefinitionError
from themis.core.models import Case, ParsedOutput, SampleScore

CASE = Case(case_id="c", input="q", expected_output="a")


def samples(*answers: Any) -> list[SampleScore]:
    """Return a sample for each parsed value; None for one that could not be parsed."""
    return [
        SampleScore(
            sample=place,
            value=1.0 if place == 0 else 0.0,
            parsed=None if answer is None else ParsedOutput(value=answer),
        )
        for place, answer in enumerate(answers)
    ]


def context(seed: int) -> SetScoreContext:
    return SetScoreContext(
        run_id=RunId("r"),
        case_id="c",
        dataset_id="d",
        case_key=CaseKey("k"),
        case=CASE,
        seed=seed,
    )


def consistency(*answers: Any) -> tuple[float, int]:
    score = Consistency(of="m").score_set(samples(*answers), CASE, context(0))
    return score.value, score.details["n_answers"]


def test_values_that_are_equal_as_json_are_one_answer() -> None:
    assert consistency(1, 1.0, 2) == (2 / 3, 2)
    assert consistency({"a": 1, "b": 2}, {"b": 2, "a": 1.0}) == (1.0, 1)
    assert consistency("1", 1) == (0.5, 2)
    assert consistency(True, 1) == (0.5, 2)


def test_a_sample_that_could_not_be_parsed_counts_and_agrees_with_none() -> None:
    assert consistency("a", None, None, None) == (0.25, 1)
    assert consistency(None, None) == (0.0, 0)


def test_drawn_votes_go_by_the_runs_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_k, "_COUNTABLE", 0)
    monkeypatch.setattr(at_k, "DRAWS", 50)
    metric = MajorityAtK(of="m", k=3)
    given = samples("a", "b", "c", "a", "b", None)

    def value(seed: int) -> float:
        return metric.score_set(given, CASE, context(seed)).value

    assert value(1) == value(1)
    assert len({value(seed) for seed in range(1, 9)}) > 1


@pytest.mark.parametrize(("k", "c"), [(True, 1), (1.0, 1), (1, True), (1, 1.0)])
def test_counts_are_whole_numbers_and_nothing_else(k: Any, c: Any) -> None:
    with pytest.raises(DefinitionError, match="must be an integer"):
        at_k.pass_at_k(3, c, k)
