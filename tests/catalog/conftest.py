"""Contexts made by hand: the parts of the catalog are tested without the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.contexts import (
    EvalScoreContext,
    GenerateContext,
    ParseContext,
    ReduceContext,
    ScoreContext,
    SelectContext,
)
from themis.core.models import Case

COMMON: dict[str, Any] = {
    "run_id": RunId("run"),
    "case_id": CaseId("case-1"),
    "dataset_id": DatasetId("data"),
    "case_key": CaseKey("key"),
    "seed": 7,
}


@pytest.fixture
def generate_context() -> Callable[..., GenerateContext]:
    return lambda **more: GenerateContext(**{**COMMON, **more})


@pytest.fixture
def select_context() -> Callable[..., SelectContext]:
    case = Case(case_id="case-1", input="2+2")
    return lambda **more: SelectContext(**{**COMMON, "case": case, **more})


@pytest.fixture
def reduce_context() -> Callable[..., ReduceContext]:
    return lambda **more: ReduceContext(**{**COMMON, **more})


@pytest.fixture
def parse_context() -> ParseContext:
    return ParseContext(**COMMON, candidate_id=CandidateId("c"))


@pytest.fixture
def score_context() -> Callable[[Case], ScoreContext]:
    return lambda case: ScoreContext(**COMMON, case=case, parsed_output=None)


@pytest.fixture
def judge_context() -> Callable[..., EvalScoreContext]:
    def make(case: Case, **more: Any) -> EvalScoreContext:
        return EvalScoreContext(**{**COMMON, **more}, case=case, parsed_output=None)

    return make
