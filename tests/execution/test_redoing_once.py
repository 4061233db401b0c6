"""What a rerun asks, it asks once: where two steps share a key, and after a kill as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.runs import dataset, experiment, runtime
from themis import InMemoryRunStore, use
from themis.core.base import ArtifactKey, RunId
from themis.core.errors import StoreUnavailableError
from themis.core.events import Event, EventKind
from themis.testing import ScriptedGenerator, ScriptedJudge

RERUN = runtime(existing_run_policy="rerun", max_concurrent_tasks=1)


class TornStore(InMemoryRunStore):
    """Keeps up to the first judge call of the second attempt, then is away: as after a kill."""

    is_away = False
    was_torn = False

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        for number, event in enumerate(events, start=1):
            asks = event.address is not None and event.address.call is not None
            if asks and event.attempt == 2 and not self.was_torn:
                super().append(run_id, events[:number], epoch=epoch)
                self.is_away = self.was_torn = True
        if self.is_away:
            raise StoreUnavailableError("the process was killed")
        return super().append(run_id, events, epoch=epoch)


def test_a_question_that_two_samples_share_is_not_asked_again_by_a_rerun_that_was_killed() -> None:
    store = TornStore()
    judge = ScriptedJudge()
    one = experiment(
        cases=1,
        samples=2,
        metrics=[use("builtin/llm_rubric", rubric="Right?")],
        judges=[judge],
    )
    assert one.run(store=store, progress=False).status == "completed"
    assert judge.count() == 1  # both samples gave one answer
    with pytest.raises(StoreUnavailableError):
        one.run(store=store, runtime=RERUN, progress=False)
    assert judge.count() == 2
    store.is_away = False
    result = one.run(store=store, progress=False)
    assert result.status == "completed"
    assert judge.count() == 2
    asked = [
        event
        for event in store.events(result.run_id, kinds=[EventKind.STEP_DONE])
        if event.attempt == 2 and event.address is not None and event.address.call is not None
    ]
    assert [event.address.sample for event in asked if event.address is not None] == [0, 1]
    assert [event.version for event in asked] == [1, 1]


def test_a_rerun_asks_once_what_two_datasets_share() -> None:
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0.02))
    both = [dataset(5, dataset_id=name) for name in ("one", "two")]
    one = experiment(generator, cases=both, max_concurrent_tasks=1)
    assert one.run(progress=False).status == "completed"
    assert generator.count() == 5
    assert one.run(runtime=RERUN, progress=False).status == "completed"
    assert generator.count() == 10


def test_a_second_rerun_really_asks_again() -> None:
    generator = ScriptedGenerator()
    one = experiment(generator, cases=3)
    for number in range(1, 4):
        assert one.run(runtime=RERUN, progress=False).status == "completed"
        assert generator.count() == 3 * number
