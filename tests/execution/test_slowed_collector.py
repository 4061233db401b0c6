"""The collector of cycles wakes less often while a run is open, and is left as it was found.

Covers: themis.execution.collector
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.runs import experiment
from themis import use
from themis.core.models import Case, GenerationResult
from themis.execution.collector import YOUNG, slowed_collector
from themis.testing import ScriptedJudge

METRICS = ["builtin/exact_match", use("builtin/llm_rubric", rubric="Right?")]


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.enable()


class Looking:
    """A generator that looks how often the collector wakes."""

    component_id = "generator/looking"
    version = "1"

    def __init__(self) -> None:
        self.seen: set[tuple[int, int, int]] = set()

    def fingerprint(self) -> str:
        return "looking"

    async def generate(self, case: Case, ctx: Any) -> GenerationResult:
        self.seen.add(gc.get_threshold())
        return GenerationResult(candidate_id=case.case_id, final_output=case.input)


def test_a_run_slows_the_collector_and_leaves_it_as_it_was() -> None:
    looking = Looking()
    experiment(looking, cases=3).run(progress=False)
    assert looking.seen == {(YOUNG, 10, 10)}
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_run_that_ends_gives_it_back() -> None:
    with slowed_collector():
        with slowed_collector():
            assert gc.get_threshold() == (YOUNG, 10, 10)
        assert gc.get_threshold() == (YOUNG, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


def test_it_is_given_back_after_an_error() -> None:
    with pytest.raises(KeyError), slowed_collector():
        raise KeyError
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [(0, 10, 10), (YOUNG, 5, 5), (50_000, 20, 20)])
def test_a_users_own_setting_is_left_alone(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with slowed_collector():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen


def test_what_a_user_sets_meanwhile_stays() -> None:
    with slowed_collector():
        gc.set_threshold(123, 4, 5)
    assert gc.get_threshold() == (123, 4, 5)


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with slowed_collector():
        assert not gc.isenabled()
    assert not gc.isenabled()


def left_behind(cases: int) -> int:
    """Return how many objects of a run only the collector could clear away."""
    made = experiment(cases=cases, samples=2, judges=[ScriptedJudge()], metrics=METRICS)
    gc.collect()
    gc.disable()
    made.run(progress=False)
    found = gc.collect()
    gc.enable()
    return found


def test_what_a_run_leaves_to_the_collector_does_not_grow_with_its_cases() -> None:
    left_behind(5)  # what is loaded and cached once
    assert left_behind(505) - left_behind(5) < 250
