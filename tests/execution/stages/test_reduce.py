"""Reducers within a run: a failed sample, and a reducer that fails, heal in the next run.

Covers: themis.catalog.reducers, themis.core.protocols, themis.execution.stages.reduce
"""

from __future__ import annotations

from typing import Any

from tests.support.runs import experiment, table
from themis.testing.scripted import ScriptedGenerator


def test_a_majority_votes_over_parsed_values_and_a_failed_sample_heals() -> None:
    from themis.testing.scripted import CountingParser

    generator = ScriptedGenerator(
        {"c0": ["0", " 0", "1"], "c1": ["2", "1", "1 "], "c2": ["5", "5", "2"]},
        failures={"c1": [None, ValueError("down")]},
    )
    parser = CountingParser(lambda output: int(output.strip()))

    one = experiment(
        generator,
        samples=3,
        parser=parser,
        reducer="builtin/majority_vote",
        max_concurrent_tasks=1,
    )
    first = one.run()
    assert first.status == "partial_failure"
    rows = list(first.score_rows())
    assert [row.outcome for row in rows] == ["correct", "error", "incorrect"]
    assert rows[1].error_category == "generation"
    assert first.cases[1].reduced_candidate is None
    second = one.run()
    assert [row.outcome for row in second.score_rows()] == ["correct", "correct", "incorrect"]
    assert generator.count() == 10
    reduced = second.cases[0].reduced_candidate
    assert reduced is not None
    assert len(reduced.source_candidate_ids) == 3
    assert second.cases[0].parsed_output is not None
    assert len(table(second)) == 3


def test_a_reducer_that_fails_is_a_reduction_error_that_heals() -> None:
    from themis.core.models import ReducedCandidate

    class Moody:
        component_id = "moody"
        version = "1"
        down = True

        def fingerprint(self) -> str:
            return "moody"

        def reduce(self, candidates: Any, ctx: Any) -> Any:
            if self.down:
                raise ValueError("no vote today")
            return ReducedCandidate(
                candidate_id="r",
                source_candidate_ids=[one.candidate_id for one in candidates],
                final_output=candidates[0].final_output,
            )

    reducer = Moody()
    generator = ScriptedGenerator()
    one = experiment(generator, samples=2, reducer=reducer)
    first = one.run()
    assert {row.error_category for row in first.score_rows()} == {"reduction"}
    assert first.cases[0].reduction_error is not None
    assert "no vote today" in first.cases[0].reduction_error.message
    reducer.down = False
    assert one.run().status == "completed"
    assert generator.count() == 6
