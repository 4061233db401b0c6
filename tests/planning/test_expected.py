"""How many steps a case takes, said beforehand and counted afterwards.

Covers: themis.core.pipeline
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.runs import events, experiment
from themis import use
from themis.core.events import EventKind
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedJudge

PASS = use("builtin/pass_at_k", of=CountingMetric().component_id, k=1)
JUDGED = use("builtin/llm_rubric", rubric="Right?")
VOTE: dict[str, Any] = {"samples": 3, "reducer": "builtin/majority_vote"}


@pytest.mark.parametrize(
    ("parts", "parses"),
    [
        ({"parser": CountingParser()}, 1),
        ({"samples": 3, "parser": CountingParser()}, 3),
        (VOTE, 0),
        ({**VOTE, "parser": CountingParser()}, 3 + 1),
        ({**VOTE, "parser": CountingParser(), "metrics": [JUDGED]}, 3 + 1),
        ({"samples": 2, "metrics": [CountingMetric(), PASS, JUDGED]}, 0),
    ],
)
def test_a_run_takes_as_many_steps_as_were_said_beforehand(
    parts: dict[str, Any], parses: int
) -> None:
    one = experiment(judges=[ScriptedJudge()], **parts)
    said = one.estimate().steps
    result = one.run(progress=False)
    taken = Counter(
        event.address.stage.value
        for event in events(result, one.store)
        if event.kind is EventKind.STEP_DONE
        and event.address is not None
        and event.address.call is None
    )
    assert said == taken
    assert taken["parse"] == parses * 3
