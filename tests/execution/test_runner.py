"""A run while it is open: who is told, where it may run, what its store may do to it.

Covers: themis.execution, themis.execution.hooks, themis.execution.journal,
themis.execution.notes, themis.execution.runner, themis.execution.session
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import UnreliableStore, dataset, events, experiment, table
from themis import InMemoryRunStore, SqliteRunStore, get_execution_state, sqlite_store, use
from themis.core.config import StorageConfig
from themis.core.errors import (
    DefinitionError,
    ProviderError,
    RunOwnedError,
    RunStoppedError,
    StoreUnavailableError,
)
from themis.core.events import EventKind
from themis.core.models import Case, Dataset
from themis.testing.scripted import CountingParser, ScriptedGenerator, ScriptedJudge

# ── subscribers and spans ─────────────────────────────────────────────────────────────────────────


class Watcher:
    """Notes what it is told, and checks that it was told after the commit."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.before: list[tuple[str, Any]] = []
        self.after: list[Any] = []
        self.events: list[Any] = []
        self.run_id: Any = None

    def before_generate(self, case_id: str, address: Any) -> None:
        self.before.append((case_id, address.stage))

    def before_score(self, case_id: str, address: Any) -> None:
        self.before.append((case_id, address.stage))

    def after_generate(self, event: Any) -> None:
        kept = {one.seq for one in self.store.events(self.run_id)}
        assert event.seq in kept
        assert event.key in self.store.lookup([event.key])
        self.after.append(event)

    def after_judge(self, event: Any) -> None:
        self.after.append(event)

    def on_event(self, event: Any) -> None:
        self.events.append(event)


def test_subscribers_are_told_before_the_work_and_after_its_commit() -> None:
    one = experiment(
        metrics=[use("builtin/llm_rubric", rubric="Good?")], judges=[ScriptedJudge()], cases=2
    )
    watcher = Watcher(one.store)
    watcher.run_id = one.compile().run_id
    result = one.run(subscribers=[watcher])
    assert [name for name, _ in watcher.before].count("c0") == 1
    assert [event.address.stage.value for event in watcher.after].count("generate") == 2
    assert [event.address.stage.value for event in watcher.after].count("judge") == 4
    assert [event.seq for event in watcher.events] == [
        event.seq for event in events(result, one.store)
    ]


def test_a_subscriber_that_raises_is_reported_once_and_the_run_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Clumsy:
        def before_generate(self, case_id: str, address: Any) -> None:
            raise ValueError("before")

        def after_score(self, event: Any) -> None:
            raise ValueError("after")

        def on_event(self, event: Any) -> None:
            raise ValueError("event")

    with caplog.at_level(logging.WARNING, logger="themis"):
        result = experiment(cases=5).run(subscribers=[Clumsy()])
    assert result.status == "completed"
    said = [record.getMessage() for record in caplog.records]
    assert sum("before_generate" in words for words in said) == 1
    assert sum("after_score" in words for words in said) == 1
    assert sum("on_event" in words for words in said) == 1


def test_a_subscriber_that_listens_to_nothing_is_refused() -> None:
    class Deaf:
        def before_generation(self) -> None: ...

    with pytest.raises(DefinitionError, match="Deaf"):
        experiment().run(subscribers=[Deaf()])


class Spans:
    """A tracing provider that keeps its spans."""

    def __init__(self) -> None:
        self.open: list[Any] = []
        self.closed: list[tuple[str, str]] = []

    def start_span(self, name: str, attributes: Mapping[str, Any]) -> Any:
        span = (name, dict(attributes))
        self.open.append(span)
        return span

    def end_span(self, span: Any, status: str) -> None:
        self.open.remove(span)
        self.closed.append((span[0], status))


def test_every_span_that_begins_ends_whatever_happens_within() -> None:
    spans = Spans()
    generator = ScriptedGenerator(
        failures={"c1": [ProviderError("busy", status=503)], "c2": ValueError()}
    )
    experiment(generator).run(tracing_provider=spans)
    assert spans.open == []
    names = [name for name, _ in spans.closed]
    assert names.count("themis.run") == 1
    assert names.count("themis.case") == 3
    assert names.count("themis.generate") == 4
    assert spans.closed.count(("themis.generate", "error")) == 2
    spans = Spans()
    stopped = ScriptedGenerator(failures={"c1": ProviderError("no key", fatal=True)})
    with pytest.raises(RunStoppedError):
        experiment(stopped, cases=40).run(tracing_provider=spans)
    assert spans.open == []


def test_a_tracing_provider_that_raises_does_not_break_a_run() -> None:
    ended: list[Any] = []

    class Broken:
        def start_span(self, name: str, attributes: Any) -> Any:
            raise OSError("collector away")

        def end_span(self, span: Any, status: str) -> None:
            ended.append(span)

    assert experiment().run(tracing_provider=Broken()).status == "completed"
    assert ended == []


# ── loops ─────────────────────────────────────────────────────────────────────────────────────────


async def test_run_works_inside_a_running_loop() -> None:
    generator = ScriptedGenerator()
    result = experiment(generator).run()
    assert result.status == "completed"
    assert generator.count() == 3


async def test_run_async_runs_on_the_callers_loop() -> None:
    loops: list[Any] = []

    async def wait() -> None:
        loops.append(asyncio.get_running_loop())

    result = await experiment(ScriptedGenerator(wait=wait)).run_async()
    assert result.status == "completed"
    assert set(loops) == {asyncio.get_running_loop()}


async def test_a_cancelled_run_keeps_what_was_finished_and_goes_on_later() -> None:
    started = asyncio.Event()

    async def wait() -> None:
        if generator.count() > 5:
            started.set()
            await asyncio.Event().wait()

    generator = ScriptedGenerator(wait=wait)
    one = experiment(generator, cases=20, max_concurrent_tasks=2)
    task = asyncio.create_task(one.run_async())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = get_execution_state(one.store, one.compile().run_id)
    assert state.status == "interrupted"
    finished = state.progress.stages["generate"].done
    generator._wait = None
    calls = generator.count()
    assert (await one.run_async()).status == "completed"
    assert generator.count() - calls == 20 - finished


async def test_two_experiments_run_side_by_side_over_one_store(tmp_path: Path) -> None:
    store = sqlite_store(str(tmp_path / "runs.db"))
    store.initialize()

    async def wait() -> None:
        await asyncio.sleep(0.001)

    first = experiment(ScriptedGenerator(wait=wait, component_id="a"), cases=60)
    second = experiment(ScriptedGenerator(wait=wait, component_id="b"), cases=60)
    results = await asyncio.gather(first.run_async(store=store), second.run_async(store=store))
    assert [one.status for one in results] == ["completed", "completed"]
    assert [len(table(one)) for one in results] == [60, 60]
    store.close()


async def test_two_runs_that_race_for_the_same_steps_agree_in_the_end() -> None:
    """Whoever commits a step first wins, and the other goes on from what it gave."""
    store = InMemoryRunStore()
    count = [0]

    def answers(case: Any, ctx: Any) -> Any:
        count[0] += 1
        return [case.input, count[0]]

    def one(name: str) -> Any:
        generator = ScriptedGenerator(
            answers, fingerprint="same", wait=lambda: asyncio.sleep(0.001)
        )
        parser = CountingParser(lambda output: output[1], fingerprint=name)
        return experiment(generator, parser=parser, cases=30)

    first, second = await asyncio.gather(
        one("a").run_async(store=store), one("b").run_async(store=store)
    )
    assert first.run_id != second.run_id
    for left, right in zip(first.cases, second.cases, strict=True):
        assert left.generated_candidates == right.generated_candidates
        assert left.parsed_output is not None
        assert right.parsed_output is not None
        assert left.parsed_output.value == left.generated_candidates[0].final_output[1]
        assert right.parsed_output.value == right.generated_candidates[0].final_output[1]


async def test_the_same_run_twice_at_once_is_refused_naming_the_owner() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await release.wait()

    one = experiment(ScriptedGenerator(wait=wait))
    task = asyncio.create_task(one.run_async())
    await started.wait()
    with pytest.raises(RunOwnedError, match="process"):
        await one.run_async()
    release.set()
    assert (await task).status == "completed"
    assert (await one.run_async()).status == "completed"


# ── the store ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["append", "lookup", "save_cases"])
def test_a_store_that_is_away_for_a_moment_is_asked_again(method: str) -> None:
    store = UnreliableStore({method: 2})
    generator = ScriptedGenerator()
    judge = ScriptedJudge()
    result = experiment(
        generator,
        cases=5,
        metrics=[use("builtin/llm_rubric", rubric="Good?")],
        judges=[judge],
        store_retry_attempts=3,
    ).run(store=store)
    assert result.status == "completed"
    assert (generator.count(), judge.count()) == (5, 5)
    assert store.outages[method] == 0


@pytest.mark.parametrize("method", ["append", "lookup", "save_cases"])
def test_a_store_that_stays_away_ends_the_run_cleanly_and_it_goes_on_later(method: str) -> None:
    store = UnreliableStore({method: 1_000_000})
    generator = ScriptedGenerator()
    one = experiment(
        generator,
        cases=2_000,
        metrics=[use("builtin/llm_rubric", rubric="Good?")],
        judges=[ScriptedJudge()],
        store_retry_attempts=2,
    )
    with pytest.raises(StoreUnavailableError, match=method):
        one.run(store=store)
    assert generator.count() < 2_000
    store.outages.clear()
    assert one.run(store=store).status == "completed"


def test_a_store_that_goes_away_half_way_loses_only_what_was_in_flight() -> None:
    class Leaving(UnreliableStore):
        def append(self, run_id: Any, events: Any, *, epoch: int) -> Any:
            if self.asked.get("append", 0) == 6:
                self.outages["append"] = 1_000_000
            return super().append(run_id, events, epoch=epoch)

    store = Leaving({})
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0.01))
    one = experiment(generator, cases=400, max_concurrent_tasks=4, store_retry_attempts=2)
    with pytest.raises(StoreUnavailableError):
        one.run(store=store)
    run_id = one.compile().run_id
    kept = [
        event.case_index
        for event in store.events(run_id)
        if event.address is not None and event.address.stage == "generate"
    ]
    assert 0 < len(kept) < 400
    store.outages.clear()
    store.asked["append"] = 100
    calls = len(generator.calls)
    assert one.run(store=store).status == "completed"
    again = {case_id for case_id, _ in generator.calls[calls:]}
    assert again.isdisjoint(f"c{index}" for index in kept)
    assert len(generator.calls) - calls == 400 - len(kept)


class Changing:
    """A source whose second reading differs."""

    def __init__(self, change: str) -> None:
        self.change = change
        self.readings = 0

    def __iter__(self) -> Any:
        self.readings += 1
        for i in range(10):
            later = self.readings > 1
            if later and self.change == "fewer" and i == 9:
                return
            given = "edited" if later and self.change == "edited" and i == 7 else i
            yield Case(case_id=f"c{i}", input=given, expected_output=i)
        if self.readings > 1 and self.change == "more":
            yield Case(case_id="c10", input=10)


@pytest.mark.parametrize(
    ("change", "named"), [("edited", "c7"), ("fewer", "9 cases"), ("more", "c10")]
)
def test_data_that_changed_since_compiling_is_refused_naming_the_case(
    change: str, named: str
) -> None:
    data = Dataset.from_source(Changing(change), dataset_id="moving")
    with pytest.raises(DefinitionError, match=named):
        experiment(cases=data).run()


def test_a_sqlite_store_may_be_handed_in_unopened(tmp_path: Path) -> None:
    store = SqliteRunStore(str(tmp_path / "runs.db"))
    assert experiment().run(store=store).status == "completed"
    store.close()


def test_a_run_is_kept_between_experiments_of_one_file(tmp_path: Path) -> None:
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    generator = ScriptedGenerator()
    first = experiment(generator, cases=dataset(4), storage=storage)
    rows = table(first.run())
    first.store.close()
    second = experiment(generator, cases=dataset(4), storage=storage)
    assert table(second.run()) == rows
    assert generator.count() == 4
    second.store.close()


def test_progress_is_shown_of_committed_cases_only() -> None:
    one = experiment(cases=30)
    finished: list[int] = []

    class Counting:
        def on_event(self, event: Any) -> None:
            if event.kind is EventKind.CASE_FINISHED:
                kept = [
                    kept.seq
                    for kept in one.store.events(one.compile().run_id)
                    if kept.kind is EventKind.CASE_FINISHED
                ]
                assert event.seq in kept
                finished.append(event.case_index or 0)

    one.run(subscribers=[Counting()])
    assert sorted(finished) == list(range(30))
