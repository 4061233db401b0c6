"""What an attempt's end keeps is what the whole journal says, to the last bit, or nothing.

Covers: themis.exchange.bundles, themis.execution.live_headline, themis.views.attempts,
themis.views.headline
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.test_resuming import ATTEMPT, SHAPES, Script, _attempt, passing_time
from tests.support.heavy import HeavyMetric
from tests.support.runs import UnreliableStore, experiment
from themis import InMemoryRunStore, RunStore, SqliteRunStore
from themis.core.base import RunId
from themis.core.errors import ProviderError, RunStoppedError, StoreUnavailableError
from themis.core.events import Event, EventKind
from themis.core.models import Case, Dataset, GenerationResult
from themis.core.snapshot import RunSnapshot
from themis.exchange.bundles import export_evaluation_bundle, import_evaluation_bundle
from themis.testing.scripted import CountingMetric, ScriptedGenerator
from themis.views.attempts import as_of
from themis.views.headline import Headline, fold_journal, read_standing


class CountingStore(InMemoryRunStore):
    """A store that counts the cases of which events are read."""

    def __init__(self) -> None:
        super().__init__()
        self.cases_read = 0

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        self.cases_read += stop - start
        return super().case_events(run_id, start, stop)


def folded(store: RunStore, snapshot: RunSnapshot) -> Headline:
    """The headline, by reading the whole journal."""
    return fold_journal(store, snapshot).headline()


def refused(*_: Any) -> Any:
    raise AssertionError("a case was read")


def kept(store: RunStore, run_id: RunId) -> list[bool]:
    """Whether each end of an attempt has kept a headline."""
    ends = store.events(run_id, kinds=[EventKind.RUN_FINISHED])
    return ["headline" in event.data for event in ends]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keeping", ["memory", "sqlite"])
def test_a_run_that_began_anew_keeps_its_headline_without_reading_a_case(
    shape: str, keeping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: RunStore = InMemoryRunStore()
    if keeping == "sqlite":
        store = SqliteRunStore(tmp_path / "runs.db", synchronous="off")
    script = Script(shape, 3, 4, 7)
    script.generator.failures = {"c1": [ValueError("broken")] * 9}
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "case_events", refused)
        result = script.one.run(store=store)
        standing = read_standing(store, result.snapshot)
    assert kept(store, result.run_id) == [True]
    assert standing.headline == folded(store, result.snapshot)
    assert result.progress.cases_with_errors == 1
    assert result.metrics["builtin/exact_match"].n_errors > 0
    store.close()


@given(
    shape=st.sampled_from(SHAPES),
    samples=st.integers(1, 3),
    tasks=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 10**6),
    plans=st.lists(ATTEMPT, min_size=1, max_size=4),
    rivals=st.integers(0, 1),
    imported=st.booleans(),
)
@settings(max_examples=20)
def test_after_any_history_the_headline_read_is_the_one_folded(
    shape: str,
    samples: int,
    tasks: int,
    seed: int,
    plans: list[dict[str, Any]],
    rivals: int,
    imported: bool,
) -> None:
    store = UnreliableStore({})
    scripts = [Script(shape, samples, tasks, seed + rival) for rival in range(rivals + 1)]
    for number, script in enumerate(scripts):
        script.one.datasets = [
            one.model_copy(update={"revision": str(number)}) for one in script.one.datasets
        ]

    if imported:
        source = InMemoryRunStore()
        carried = scripts[0].one.run(store=source)
        import_evaluation_bundle(store, export_evaluation_bundle(source, carried.run_id))
    past: dict[tuple[str, int], Headline] = {}

    def check() -> None:
        for script in scripts:
            snapshot = script.one.compile()
            now = read_standing(store, snapshot)
            assert now.headline == folded(store, snapshot)
            for number in now.head.attempts:
                bounded, _ = as_of(store, f"{snapshot.run_id}@{number}")
                then = read_standing(bounded, snapshot).headline
                assert then == folded(bounded, snapshot)
                if number < now.head.attempt:  # what was, stays
                    assert past.setdefault((snapshot.run_id, number), then) == then

    async def live() -> None:
        for plan in plans:
            await asyncio.gather(*(_attempt(script, store, plan) for script in scripts))
            check()
            go_on(plan["hence"])

    with passing_time() as go_on:
        asyncio.run(live())
        for script in scripts:
            script.mend()
            assert script.one.run(store=store).status == "completed"
        check()


def test_two_processes_that_make_the_same_step_keep_what_the_store_has() -> None:
    store = CountingStore()
    answers = iter(range(100))
    scripts = [
        experiment(
            ScriptedGenerator(lambda case, ctx: next(answers), wait=lambda: asyncio.sleep(0.01)),
            metrics=[CountingMetric(component_id=f"metric/{number}")],
        )
        for number in range(2)
    ]

    async def live() -> None:
        await asyncio.gather(*(one.run_async(store=store) for one in scripts))

    asyncio.run(live())
    for one in scripts:
        snapshot = one.compile()
        assert kept(store, snapshot.run_id) == [True]
        assert read_standing(store, snapshot).headline == folded(store, snapshot)


def test_a_run_made_of_earlier_work_keeps_its_headline_without_reading_a_case() -> None:
    store = CountingStore()
    experiment(cases=5).run(store=store)
    store.cases_read = 0
    result = experiment(cases=5, metrics=[CountingMetric(component_id="other")]).run(store=store)
    assert result.progress.stages["generate"].reused == 5
    assert kept(store, result.run_id) == [True]
    assert store.cases_read == 0
    assert result._standing.headline == folded(store, result.snapshot)


def test_an_attempt_cut_short_keeps_none_and_the_one_that_ends_it_does() -> None:
    store, generator = CountingStore(), ScriptedGenerator()
    generator.failures = {"c1": [ProviderError("no key", status=401, fatal=True)]}
    one = experiment(generator, cases=4, max_concurrent_tasks=1)
    snapshot = one.compile()
    with pytest.raises(RunStoppedError):
        one.run(store=store)
    assert True not in kept(store, snapshot.run_id)
    generator.failures = {}
    result = one.run(store=store)
    assert kept(store, snapshot.run_id)[-1]
    store.cases_read = 0
    assert result.progress.cases_finished == 4
    assert store.cases_read == 0
    assert result._standing.headline == folded(store, snapshot)


def test_every_later_attempt_keeps_its_own() -> None:
    store = CountingStore()
    one = experiment(cases=3)
    one.run(store=store, until_stage="generate")
    one.run(store=store)
    one.replay(stage="score", store=store)
    result = one.run(
        store=store, runtime=one.runtime.model_copy(update={"existing_run_policy": "rerun"})
    )
    assert kept(store, result.run_id) == [True] * 4
    store.cases_read = 0
    assert [attempt.attempt for attempt in result._standing.headline.timeline] == [1, 2, 3, 4]
    assert store.cases_read == 0
    assert result._standing.headline == folded(store, result.snapshot)


def test_an_import_keeps_the_headline_of_what_it_brought() -> None:
    source, target = InMemoryRunStore(), CountingStore()
    result = experiment(cases=3).run(store=source)
    import_evaluation_bundle(target, export_evaluation_bundle(source, result.run_id))
    assert kept(target, result.run_id) == [True]
    target.cases_read = 0
    standing = read_standing(target, result.snapshot)
    assert target.cases_read == 0
    assert standing.headline == folded(target, result.snapshot)


class Endless(ScriptedGenerator):
    """Says that its answers took longer than can be added up."""

    async def generate(self, case: Any, ctx: Any) -> GenerationResult:
        made = await super().generate(case, ctx)
        return made.model_copy(update={"latency_ms": 1e308})


def test_what_cannot_be_folded_never_stops_a_run(caplog: pytest.LogCaptureFixture) -> None:
    store = CountingStore()
    result = experiment(Endless(), cases=3).run(store=store)
    assert result.status == "completed"
    assert kept(store, result.run_id) == [False]
    assert "could not be folded" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="ends a process by a signal")
def test_a_worker_that_is_killed_is_an_error_in_the_headline_kept_and_folded() -> None:
    inputs = [0, "sigkill", 2]
    data = Dataset(
        dataset_id="data",
        cases=[Case(case_id=f"c{n}", input=one, expected_output=n) for n, one in enumerate(inputs)],
    )
    store = CountingStore()
    result = experiment(cases=data, metrics=[HeavyMetric()], cpu_workers=1).run(store=store)
    assert kept(store, result.run_id) == [True]
    assert store.cases_read == 0
    assert (result.status, result.metrics["heavy"].n_errors) == ("partial_failure", 1)
    assert result._standing.headline == folded(store, result.snapshot)


def test_a_store_that_is_away_at_the_end_is_waited_for() -> None:
    class Away(UnreliableStore):
        def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
            self._maybe("case_events")
            return super().case_events(run_id, start, stop)

    store = Away({})
    one = experiment(cases=3, store_retry_attempts=2)
    one.run(store=store, until_stage="generate")
    store.outages["case_events"] = 0
    store.asked.clear()
    result = one.run(store=store)
    assert kept(store, result.run_id) == [True, True]
    store.outages["case_events"] = 10**9
    assert result.progress.cases_finished == 3
    with pytest.raises(StoreUnavailableError):
        folded(store, result.snapshot)
