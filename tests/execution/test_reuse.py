"""What may be reused: bounds of age, and who made it; each by counting calls.

Covers: themis.execution.attempt, themis.execution.notes, themis.execution.run_or_reuse
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment, table
from themis import InMemoryRunStore, RunResult, RuntimeConfig, sqlite_store, use
from themis.core.config import seconds_in
from themis.core.errors import DefinitionError, ProviderError, RunStoppedError
from themis.core.store import RunStore
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

HOUR = 3600.0


class Clock:
    """The time of day, as far ahead as told."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.ahead = 0.0

    def __call__(self) -> float:
        return float(self._real()) + self.ahead

    def pass_hours(self, hours: float) -> None:
        self.ahead += hours * HOUR


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(time.time)
    monkeypatch.setattr(time, "time", made)
    return made


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    made: RunStore = (
        InMemoryRunStore() if request.param == "memory" else sqlite_store(tmp_path / "runs.db")
    )
    yield made
    made.close()


class Parts:
    """An experiment with a generator, a parser, a metric and a judge that count."""

    def __init__(self, **settings: Any) -> None:
        self.generator = ScriptedGenerator()
        self.parser, self.metric = CountingParser(), CountingMetric()
        self.judge = ScriptedJudge()
        self.one = experiment(
            self.generator,
            parser=self.parser,
            metrics=[self.metric, use("builtin/llm_rubric", rubric="Right?", name="rubric")],
            judges=[self.judge],
            **settings,
        )

    def counts(self) -> tuple[int, int, int, int]:
        return (
            self.generator.count(),
            len(self.parser.calls),
            len(self.metric.calls),
            self.judge.count(),
        )


def test_fresh_makes_everything_anew_where_another_run_has_it(store: RunStore) -> None:
    parts = Parts()
    other = experiment(parts.generator)
    other.run(store=store)
    result = parts.one.run(store=store, reuse="none")
    assert parts.counts() == (6, 3, 3, 3)
    assert sum(stage.reused for stage in result.progress.stages.values()) == 0
    assert result.progress.renewed == 6  # generations, and the scores of the same outputs
    assert other.run(store=store).progress.stages["generate"].done == 3
    assert parts.counts() == (6, 3, 3, 3)


def test_fresh_makes_a_finished_run_anew_as_another_attempt(store: RunStore) -> None:
    parts = Parts()
    first = parts.one.run(store=store)
    assert parts.counts() == (3, 3, 3, 3)
    parts.generator.answers = {"c0": 7}
    result = parts.one.run(store=store, reuse="none")
    assert parts.counts() == (6, 6, 6, 6)
    assert result.state.attempt == 2
    assert result.state.attempts[1]["reuse"] == "none"
    assert result.metrics["counting/metric"].mean == pytest.approx(2 / 3)
    assert RunResult.of(store, f"{first.run_id}@1").metrics["counting/metric"].mean == 1.0
    assert parts.one.run(store=store).state.attempt == 2
    assert parts.counts() == (6, 6, 6, 6)


def test_equal_questions_are_asked_once_in_a_fresh_attempt_as_in_any(store: RunStore) -> None:
    generator = ScriptedGenerator()
    data = [dataset(3, dataset_id="a"), dataset(3, dataset_id="b")]
    one = experiment(generator, cases=data, max_concurrent_tasks=1)
    first = one.run(store=store)
    result = one.run(store=store, reuse="none")
    assert generator.count() == 6
    assert result.progress.stages["generate"].reused == 3
    assert table(result) == table(first)


def test_a_run_reuses_nothing_that_is_too_old_and_all_that_is_not(
    store: RunStore, clock: Clock
) -> None:
    parts = Parts(cases=2)
    parts.one.run(store=store)
    clock.pass_hours(20)
    grown = Parts(cases=4)
    grown.one.run(store=store)  # two cases of 20 hours ago, two of now
    assert grown.counts() == (2, 2, 2, 2)
    clock.pass_hours(10)
    other = Parts(cases=4)
    other.one.evaluation = other.one.evaluation.model_copy(
        update={"metrics": [CountingMetric(component_id="another")]}
    )
    result = other.one.run(store=store, reuse="24h")
    assert other.generator.count() == 2
    assert result.progress.stages["generate"].reused == 2
    assert result.progress.renewed == 2 + 2  # generations, and what was parsed of them
    assert "made again since too old: 4" in repr(result)
    assert result.progress.newest is not None
    assert result.progress.oldest is not None
    assert result.progress.newest - result.progress.oldest == pytest.approx(10 * HOUR, abs=60)


def test_a_finished_run_is_visited_only_where_it_rests_on_what_is_too_old(
    store: RunStore, clock: Clock
) -> None:
    parts = Parts(cases=2)
    parts.one.run(store=store)
    clock.pass_hours(20)
    grown = Parts(cases=4)
    first = grown.one.run(store=store)
    clock.pass_hours(10)
    same = grown.one.run(store=store, reuse="2d")
    assert same.state.attempt == 1
    result = grown.one.run(store=store, reuse="24h")
    assert [case for case, _ in grown.generator.calls[2:]] == ["c0", "c1"]
    assert grown.counts() == (4, 4, 4, 4)
    assert result.state.attempt == 2
    assert result.progress.renewed == 2 * (1 + 1 + 1 + 2)  # the judge's answer and its metric
    assert result.progress.cases_finished == 4
    assert result.metrics == first.metrics
    assert grown.one.run(store=store, reuse="24h").state.attempt == 2
    assert grown.counts() == (4, 4, 4, 4)


def test_a_new_answer_that_equals_a_too_old_one_is_as_new_as_it_is(
    store: RunStore, clock: Clock
) -> None:
    parts = Parts()
    parts.one.run(store=store)
    clock.pass_hours(30)
    parts.one.run(store=store, reuse="24h")
    clock.pass_hours(1)
    again = parts.one.run(store=store, reuse="24h")
    assert again.state.attempt == 2
    assert parts.counts() == (6, 6, 6, 6)


def test_an_attempt_that_is_gone_on_with_keeps_its_bound(store: RunStore, clock: Clock) -> None:
    parts = Parts()
    parts.one.run(store=store)
    clock.pass_hours(30)
    parts.generator.failures = {"c1": ProviderError("no key", status=401, fatal=True)}
    with pytest.raises(RunStoppedError):
        parts.one.run(
            store=store,
            reuse="24h",
            runtime=parts.one.runtime.model_copy(update={"max_concurrent_tasks": 1}),
        )
    parts.generator.failures = {}
    clock.pass_hours(40)
    result = parts.one.run(store=store)
    assert result.state.attempt == 2
    assert result.state.attempts[1]["reuse"] == "24h"
    # What it had made stands, though it is older than 24 hours by now; what it had not is made.
    assert parts.generator.count("c0") == 2
    assert parts.generator.count("c2") == 2
    assert parts.generator.count("c1") == 3
    assert result.status == "completed"


def test_an_unfinished_attempt_of_another_bound_is_not_gone_on_with(store: RunStore) -> None:
    parts = Parts(max_concurrent_tasks=1)
    parts.generator.failures = {"c1": ProviderError("no key", status=401, fatal=True)}
    with pytest.raises(RunStoppedError):
        parts.one.run(store=store)
    parts.generator.failures = {}
    result = parts.one.run(store=store, reuse="none")
    assert result.state.attempt == 2
    assert parts.generator.count("c0") == 2
    assert result.status == "completed"


def test_a_run_that_has_all_it_needs_is_completed_though_its_last_attempt_was_cut_short(
    store: RunStore,
) -> None:
    """A bound keeps it from going on with that attempt, and leaves nothing to be done."""
    started, hangs = asyncio.Event(), [False]

    async def wait() -> None:
        if hangs[0]:
            started.set()
            await asyncio.Event().wait()

    async def cut_short() -> None:
        rerun = one.runtime.model_copy(update={"existing_run_policy": "rerun"})
        task = asyncio.ensure_future(one.run_async(store=store, runtime=rerun))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    generator = ScriptedGenerator(wait=wait)
    one = experiment(generator)
    before = one.run(store=store)
    hangs[0] = True
    asyncio.run(cut_short())
    hangs[0] = False
    calls = generator.count()
    for _ in range(2):
        result = one.run(store=store, reuse="24h")
        assert (result.status, result.state.attempt) == ("completed", 3)
        assert table(result) == table(before)
    assert generator.count() == calls


def test_a_bound_is_a_setting_and_no_part_of_the_run() -> None:
    plain, bounded = experiment(), experiment(reuse="24h")
    assert plain.compile().run_id == bounded.compile().run_id
    assert RuntimeConfig().reuse == "all"


def test_the_setting_bounds_reuse_as_the_argument_does(store: RunStore, clock: Clock) -> None:
    generator = ScriptedGenerator()
    experiment(generator).run(store=store)
    clock.pass_hours(2)
    one = experiment(generator, reuse="1h")
    one.run(store=store, reuse="all")
    assert generator.count() == 3
    one.run(store=store)
    assert generator.count() == 6


def test_what_failed_to_be_renewed_is_not_filled_with_what_was_too_old(
    store: RunStore, clock: Clock
) -> None:
    generator = ScriptedGenerator()
    one = experiment(generator)
    one.run(store=store)
    clock.pass_hours(30)
    generator.failures = {"c1": ValueError("down")}
    assert one.run(store=store, reuse="24h").status == "partial_failure"
    generator.failures = {}
    assert one.run(store=store).status == "completed"
    assert generator.count("c1") == 3
    assert generator.count() == 7


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("24h", 86400), ("7d", 604800)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert seconds_in(text, "reuse") == seconds


@pytest.mark.parametrize(
    "text", ["", "24", "h", "24 h", "1.5h", "-1h", "+1h", "0h", "1h30m", "24H", "1w", "١h", "24h\n"]
)
def test_any_other_form_of_a_duration_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="a whole number above 0 and one unit"):
        RuntimeConfig(reuse=text)
    with pytest.raises(DefinitionError, match="reuse"):
        experiment().run(reuse=text)


def test_an_estimate_counts_what_is_too_old_as_still_to_be_made(
    store: RunStore, clock: Clock
) -> None:
    experiment(cases=2).run(store=store)
    clock.pass_hours(2)
    experiment(cases=3).run(store=store)
    for reuse, new in (("all", 1), ("3h", 1), ("1h", 3), ("none", 4)):
        assert experiment(cases=4, reuse=reuse).estimate(store=store).to_run == {"generate": new}


async def test_runs_at_once_that_share_their_answers_say_how_many_they_paid_for_twice(
    store: RunStore,
) -> None:
    asked = 0

    def answer(case: Any, ctx: Any) -> str:
        nonlocal asked
        asked += 1
        return f"answer {asked}"

    both = asyncio.Barrier(2)
    generator = ScriptedGenerator(answer, wait=both.wait)
    one, other = (
        experiment(generator, metrics=[CountingMetric(component_id=name)], max_concurrent_tasks=1)
        for name in ("one", "other")
    )
    results = await asyncio.gather(*(run.run_async(store=store) for run in (one, other)))
    assert generator.count() == 3 * 2
    said = [
        [case.generated_candidates[0].final_output for case in result.cases] for result in results
    ]
    assert said[0] == said[1]
    notes = [note for result in results for note in result.notes]
    assert sum(int(note.split()[0]) for note in notes if "both were paid" in note) == 3
    generator._wait = None
    later = await experiment(generator).run_async(store=store)
    assert generator.count() == 3 * 2
    assert list(later.notes) == []
