"""Sync components that do what a test hands them, in a thread, for the second of three cases."""

from __future__ import annotations

from typing import Any

from tests.support.runs import experiment
from themis import Experiment
from themis.core.models import Case, GenerationResult, ReducedCandidate

CASES = ["correct", "error", "correct"]
"""Outcomes where the second of three cases is the one that fails."""


CATEGORY = {"generator": "generation", "reducer": "reduction", "selector": "selection"}


class Part:
    """A component that does what the test hands it, under one name."""

    component_id = "part"
    version = "1"

    def __init__(self, act: Any) -> None:
        self.act = act

    def fingerprint(self) -> str:
        return "part"


class SyncGenerator(Part):
    def generate(self, case: Case, ctx: Any) -> GenerationResult:
        if case.case_id == "c1":
            return self.act()
        return GenerationResult(candidate_id="x", final_output=case.input)


class SyncReducer(Part):
    def reduce(self, candidates: Any, ctx: Any) -> ReducedCandidate:
        if ctx.case_id == "c1":
            return self.act()
        return ReducedCandidate(
            candidate_id="r",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=candidates[0].final_output,
        )


class SyncSelector(Part):
    def select(self, candidates: Any, ctx: Any) -> Any:
        return self.act() if ctx.case_id == "c1" else candidates[:1]


def in_threads(role: str, act: Any, **settings: Any) -> Experiment:
    """Return an experiment in which ``act`` is called, in a thread, for case c1 only."""
    if role == "generator":
        return experiment(SyncGenerator(act), generation_retry_attempts=1, **settings)
    part = SyncReducer(act) if role == "reducer" else SyncSelector(act)
    return experiment(samples=2, **{role: part}, **settings)
