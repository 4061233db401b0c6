"""Replay: a stage and those below it are done again, nothing above; and after a change likewise.

Covers: themis.execution.attempt, themis.execution.run_or_reuse
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import events, experiment, table
from themis import Experiment, InMemoryRunStore, RunResult, sqlite_store, use
from themis.core.config import StorageConfig
from themis.core.contexts import ReduceContext, SelectContext
from themis.core.errors import DefinitionError
from themis.core.models import GenerationResult, ReducedCandidate
from themis.core.store import RunStore
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

CASES = 4
SAMPLES = 3


class CountingSelector:
    """Keeps the first two and counts."""

    component_id = "counting/selector"
    version = "1"

    def __init__(self) -> None:
        self.calls = 0

    def fingerprint(self) -> str:
        return "first two"

    async def select(
        self, candidates: Sequence[GenerationResult], ctx: SelectContext
    ) -> Sequence[GenerationResult]:
        self.calls += 1
        return candidates[:2]


class CountingReducer:
    """Takes the last and counts."""

    component_id = "counting/reducer"
    version = "1"

    def __init__(self) -> None:
        self.calls = 0

    def fingerprint(self) -> str:
        return "last"

    async def reduce(
        self, candidates: Sequence[GenerationResult], ctx: ReduceContext
    ) -> ReducedCandidate:
        self.calls += 1
        return ReducedCandidate(
            candidate_id="reduced",
            source_candidate_ids=[one.candidate_id for one in candidates],
            final_output=candidates[-1].final_output,
        )


@dataclass
class Parts:
    """One of each, that count what they are asked."""

    generator: ScriptedGenerator = field(default_factory=ScriptedGenerator)
    selector: CountingSelector = field(default_factory=CountingSelector)
    reducer: CountingReducer = field(default_factory=CountingReducer)
    parser: CountingParser = field(default_factory=CountingParser)
    first: CountingMetric = field(
        default_factory=lambda: CountingMetric(component_id="metric/first")
    )
    second: CountingMetric = field(
        default_factory=lambda: CountingMetric(component_id="metric/second")
    )
    judge: ScriptedJudge = field(default_factory=ScriptedJudge)

    def experiment(self, **changes: Any) -> Experiment:
        told: dict[str, Any] = {
            "generator": self.generator,
            "cases": CASES,
            "samples": SAMPLES,
            "selector": self.selector,
            "reducer": self.reducer,
            "parser": self.parser,
            "metrics": [self.first, self.second, _rubric("good"), _rubric("short")],
            "judges": [self.judge],
            **changes,
        }
        return experiment(told.pop("generator"), **told)

    def counts(self) -> dict[str, int]:
        return {
            "generate": self.generator.count(),
            "select": self.selector.calls,
            "reduce": self.reducer.calls,
            "parse": len(self.parser.calls),
            "first": len(self.first.calls),
            "second": len(self.second.calls),
            "judge": self.judge.count(),
        }


def _rubric(name: str) -> Any:
    return use("builtin/llm_rubric", rubric=f"Is it {name}?", name=name)


ONCE = {
    "generate": CASES * SAMPLES,
    "select": CASES,
    "reduce": CASES,
    "parse": CASES,
    "first": CASES,
    "second": CASES,
    "judge": 2 * CASES,
}
BELOW = {
    "generate": ["generate", "select", "reduce", "parse", "first", "second", "judge"],
    "select": ["select", "reduce", "parse", "first", "second", "judge"],
    "reduce": ["reduce", "parse", "first", "second", "judge"],
    "parse": ["parse", "first", "second", "judge"],
    "score": ["first", "second", "judge"],
    "judge": ["judge"],
}


def _after(*again: str, times: int = 1, **exactly: int) -> dict[str, int]:
    counts = {name: n * (1 + times * (name in again)) for name, n in ONCE.items()}
    return {**counts, **exactly}


@pytest.fixture(params=["memory", "sqlite"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], RunStore]]:
    """Gives the store; where it is a file, opened anew each time, as another process would."""
    held: list[RunStore] = [InMemoryRunStore()] if request.param == "memory" else []
    held[0].initialize() if held else None

    def open_it() -> RunStore:
        if request.param == "memory":
            return held[0]
        while held:
            held.pop().close()
        held.append(sqlite_store(tmp_path / "runs.db"))
        return held[0]

    yield open_it
    for store in held:
        store.close()


@pytest.mark.parametrize("stage", list(BELOW))
def test_a_replay_redoes_its_stage_and_those_below_once_each_and_nothing_above(
    reopened: Callable[[], RunStore], stage: str
) -> None:
    parts = Parts()
    first = parts.experiment().run(store=reopened())
    told = table(first)
    assert parts.counts() == ONCE
    again = parts.experiment().replay(stage=stage, store=reopened())
    assert parts.counts() == _after(*BELOW[stage])
    assert (again.run_id, again.status, table(again)) == (first.run_id, "completed", told)
    assert [one["mode"] for one in again.state.attempts] == ["run", "replay"]
    # It is done: another run does nothing, another replay does it once more.
    parts.experiment().run(store=reopened())
    assert parts.counts() == _after(*BELOW[stage])
    parts.experiment().replay(stage=stage, store=reopened())
    assert parts.counts() == _after(*BELOW[stage], times=2)
    assert table(RunResult.of(reopened(), f"{first.run_id}@1")) == told


def test_rejudging_asks_every_judge_again_and_does_nothing_else(
    reopened: Callable[[], RunStore],
) -> None:
    parts = Parts()
    parts.experiment().run(store=reopened())
    parts.judge.answer = "VERDICT: FAIL"
    result = parts.experiment().rejudge(store=reopened())
    assert parts.counts() == _after("judge")
    assert [result.metrics[name].mean for name in ("good", "short")] == [0, 0]
    one = parts.experiment().rejudge(store=reopened(), metric_ids=["good"])
    assert parts.counts() == _after("judge", judge=5 * CASES)
    assert one.metrics["good"].mean == 0


@pytest.mark.parametrize(
    ("stage", "metrics", "again"),
    [
        ("score", ["metric/second"], ["second"]),
        ("score", ["metric/first", "metric/second"], ["first", "second"]),
        ("parse", ["metric/first"], ["parse", "first"]),
        ("judge", ["short"], []),
        ("score", ["metric/first", "good"], ["first"]),
    ],
)
def test_a_replay_of_some_metrics_redoes_what_these_need_and_no_other(
    reopened: Callable[[], RunStore], stage: str, metrics: list[str], again: list[str]
) -> None:
    parts = Parts()
    parts.experiment().run(store=reopened())
    parts.experiment().replay(stage=stage, metric_ids=metrics, store=reopened())
    asked = sum(name in ("good", "short") for name in metrics)
    assert parts.counts() == _after(*again, judge=(2 + asked) * CASES)


@pytest.mark.parametrize("stage", list(BELOW))
def test_a_replay_that_was_cut_off_goes_on_and_redoes_nothing_twice(
    reopened: Callable[[], RunStore], stage: str
) -> None:
    parts = Parts()
    before = parts.experiment().run(store=reopened())
    parts.judge.prompts.clear()
    stop: list[asyncio.Task[Any]] = []

    async def wait() -> None:
        if parts.judge.count() == 3 and stop:
            stop.pop().cancel()
            await asyncio.sleep(60)

    parts.judge._wait = wait
    one = parts.experiment(max_concurrent_tasks=1)

    async def live(store: RunStore) -> None:
        task = asyncio.ensure_future(one.replay_async(stage=stage, store=store))
        stop.append(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(live(reopened()))
    after = parts.experiment().replay(stage=stage, store=reopened())
    counts = parts.counts()
    judged = counts.pop("judge")
    expected = _after(*BELOW[stage])
    expected.pop("judge")
    assert counts == expected
    # Of the calls of the case that was cut off, one or both were in flight.
    assert 2 * CASES <= judged <= 2 * CASES + 2
    assert [one["mode"] for one in after.state.attempts] == ["run", "replay"]
    assert after.status == "completed"
    assert table(after) == table(before)


CHANGES: dict[str, tuple[Callable[[Parts], dict[str, Any]], list[str]]] = {
    "another parser": (
        lambda parts: {"parser": _replaced(parts, "parser", CountingParser(fingerprint="2"))},
        ["parse"],
    ),
    "a parser that reads otherwise": (
        lambda parts: {
            "parser": _replaced(
                parts, "parser", CountingParser(lambda value: [value], fingerprint="3")
            )
        },
        ["parse", "first", "second"],
    ),
    "another metric": (
        lambda parts: {
            "metrics": [
                _replaced(
                    parts, "first", CountingMetric(component_id="metric/first", fingerprint="2")
                ),
                parts.second,
                _rubric("good"),
                _rubric("short"),
            ]
        },
        ["first"],
    ),
    "another rubric": (
        lambda parts: {"metrics": [parts.first, parts.second, _rubric("good"), _rubric("brief")]},
        [],
    ),
}


def _replaced(parts: Parts, name: str, part: Any) -> Any:
    """Put a part in the place of another, whose count goes on."""
    part.calls = list(getattr(parts, name).calls)
    setattr(parts, name, part)
    return part


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_part_is_another_run_that_does_what_changed_and_can_be_replayed(
    reopened: Callable[[], RunStore], change: str
) -> None:
    parts = Parts()
    first = parts.experiment().run(store=reopened())
    make, again = CHANGES[change]
    changes = make(parts)
    with pytest.raises(DefinitionError, match="as it stands, was never run"):
        parts.experiment(**changes).replay(stage="parse", store=reopened())

    second = parts.experiment(**changes).run(store=reopened())

    asked = CASES if change == "another rubric" else 0
    once = _after(*again, judge=2 * CASES + asked)
    assert parts.counts() == once
    assert second.run_id != first.run_id
    stages = second.progress.stages
    assert stages["generate"].reused == stages["generate"].done == CASES * SAMPLES
    parts.experiment(**changes).replay(stage="parse", store=reopened())
    below = {name: n + ONCE[name] * (name in BELOW["parse"]) for name, n in once.items()}
    assert parts.counts() == below
    # The first run is as it was.
    assert table(RunResult.of(reopened(), first.run_id)) == table(first)


@pytest.mark.parametrize(
    ("changes", "stage"), [({"selector": None}, "select"), ({"reducer": None}, "reduce")]
)
def test_a_stage_that_the_experiment_does_not_take_cannot_be_replayed(
    changes: dict[str, Any], stage: str
) -> None:
    one = Parts().experiment(**changes)
    one.run()
    with pytest.raises(DefinitionError, match=f"replay from '{stage}'"):
        one.replay(stage=stage)
    with pytest.raises(DefinitionError, match="did you mean"):
        one.replay(stage="scores")


RUBRIC = use("builtin/llm_rubric", rubric="Is it right?", name="rubric")


def _refused(work: Any, *named: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        work()
    said = str(refused.value)
    assert "\n" not in said
    assert [word for word in named if word not in said] == []


@pytest.mark.parametrize("verb", ["replay", "rejudge"])
def test_what_was_never_run_is_not_done_again(verb: str, tmp_path: Path) -> None:
    generator, judge = ScriptedGenerator(), ScriptedJudge()
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    one = experiment(generator, metrics=[RUBRIC], judges=[judge], storage=storage)
    again = {"stage": "generate"} if verb == "replay" else {}
    _refused(lambda: getattr(one, verb)(**again), verb, one.compile().run_id)
    assert list(tmp_path.iterdir()) == []
    other = experiment(generator).run(store=one.store)
    _refused(lambda: getattr(one, verb)(**again), verb, one.compile().run_id)
    assert [record.run_id for record in one.store.runs()] == [other.run_id]
    assert (generator.count(), judge.count()) == (3, 0)
    one.store.close()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"stage": "select"}, ["select"]),
        ({"stage": "reduce"}, ["reduce"]),
        ({"stage": "judge"}, ["judge"]),
        ({"stage": "judge", "metric_ids": ["counting/metric"]}, ["counting/metric", "judge"]),
        ({"stage": "score", "metric_ids": []}, ["metric_ids", "leave it out"]),
        ({"stage": "score", "metric_ids": "counting/metric"}, ["metric_ids", "list"]),
        ({"stage": "score", "metric_ids": ["counting/metrics"]}, ["did you mean"]),
    ],
    ids=str,
)
def test_a_replay_of_nothing_is_refused(asked: dict[str, Any], named: list[str]) -> None:
    one = experiment()
    first = one.run()
    journal = len(events(first, one.store))
    _refused(lambda: one.replay(**asked), *named)
    if asked["stage"] == "judge":
        del asked["stage"]
        _refused(lambda: one.rejudge(**asked), *named)
    assert len(events(first, one.store)) == journal
