"""An endpoint that changes its model in the midst of a run is found out.

Covers: themis.views.reported
"""

from __future__ import annotations

import json

import pytest

from tests.endpoints.questions import model, questions
from tests.support.endpoint import Asked, Endpoint, Reply
from tests.support.runs import experiment
from themis import Reporter, quickcheck
from themis.testing.scripted import CountingMetric

pytestmark = pytest.mark.network


def _changing(asked: Asked) -> Reply:
    served = "model-of-today" if asked.number <= 7 else "model-of-tomorrow"
    return Reply(fields={"model": served, "system_fingerprint": f"fp-{served[-5:]}"})


@pytest.mark.parametrize("api_mode", ["chat_completions", "responses"])
def test_an_endpoint_that_changes_its_model_in_mid_run_is_counted_and_shown(api_mode: str) -> None:
    with Endpoint(_changing) as endpoint:
        one = experiment(
            model(endpoint, api_mode=api_mode),
            cases=questions(10),
            metrics=["builtin/exact_match"],
            max_concurrent_tasks=1,
        )
        result = one.run()
        reused = experiment(
            model(endpoint, api_mode=api_mode),
            cases=questions(10),
            metrics=[CountingMetric()],
        ).run(store=one.store)
        assert len(endpoint.requests) == 10
    said = (
        "3 of 10 answers came from another model or system than the rest: model-of-tomorrow / "
        "fp-orrow (3); the rest: model-of-today / fp-today (7)"
    )
    for run in (result, reused):
        assert run.progress.deviating == 3
        assert said in repr(run)
        assert quickcheck(one.store, run.run_id)["deviating"] == 3
        html = Reporter(one.store).render(run.run_id, "html")
        assert said in html
        told = json.loads(Reporter(one.store).render(run.run_id, "json"))["runs"][0]
        assert told["state"]["progress"]["reported"][1]["answers"] == 3


def test_an_endpoint_of_one_model_is_not_told_of() -> None:
    with Endpoint() as endpoint:
        result = experiment(model(endpoint), cases=questions(3), metrics=[]).run()
    assert result.progress.deviating == 0
    assert [one.answers for one in result.progress.reported] == [3]
    assert "another model" not in repr(result)
