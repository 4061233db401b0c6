"""A headline that was kept is taken only where it is true of all that the journal holds.

Covers: themis.views.headline, themis.views.state
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from tests.views.journals import EXACT, Journal, snapshot_of
from tests.views.journals import store_of as plain_store_of
from tests.views.test_accumulators import cases_of, journals
from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.hashing import decode, digest_value, encode
from themis.core.snapshot import RunSnapshot
from themis.stores.memory import InMemoryRunStore
from themis.views import headline
from themis.views.headline import HeadlineFold, fold_journal, keep, read_standing
from themis.views.state import RUN_KINDS


class CountingStore(InMemoryRunStore):
    """A store that counts readings of cases."""

    readings = 0

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        self.readings += 1
        return super().case_events(run_id, start, stop)


def store_of(snapshot: RunSnapshot, journal: Journal) -> CountingStore:
    store = CountingStore()
    store.save_snapshot(snapshot)
    store.append(snapshot.run_id, journal.events, epoch=1)
    return store


def end(snapshot: RunSnapshot, journal: Journal) -> Event:
    """End the attempt, keeping the headline of all that the journal holds."""
    event = journal.finished()
    fold = HeadlineFold(snapshot)
    for one in journal.events:
        if one.kind in RUN_KINDS:
            fold.take_event(one)
    for steps in cases_of(journal.events).values():
        fold.add(steps)
    keep(event, fold.headline())
    return event


def small() -> tuple[RunSnapshot, Journal]:
    snapshot, journal = snapshot_of(3), Journal()
    journal.started()
    usage = {"prompt_tokens": 3}
    journal.generate(0, token_usage=usage, latency_ms=7.5).data["cost"] = 0.1
    journal.score(0, 1)
    journal.generate(1, output="", token_usage=usage, artifacts={"finish_reason": "length"})
    journal.score(1, 0, failure={"category": "parse_failure", "message": "no answer"})
    journal.failed(2, StepAddress(Stage.GENERATE, 0), "timeout", "gen: no answer within 1 s")
    for case in range(3):
        journal.case_finished(case)
    return snapshot, journal


@settings(max_examples=150, deadline=None)
@given(journals())
def test_what_is_kept_is_what_is_folded_to_the_last_bit(
    run: tuple[RunSnapshot, Journal],
) -> None:
    snapshot, journal = run
    event = end(snapshot, journal)
    assert decode(encode(event.data)) == event.data
    store = store_of(snapshot, journal)
    standing = read_standing(store, snapshot)
    assert store.readings == 0
    fold = fold_journal(store, snapshot)
    assert standing.headline == fold.headline()
    assert standing.headline.model_dump_json() == fold.headline().model_dump_json()
    assert standing.state(snapshot.run_id) == read_standing(
        plain_store_of(snapshot, journal), snapshot
    ).state(snapshot.run_id)


@pytest.mark.parametrize(
    "follow",
    [
        lambda journal: journal.started(attempt=2),
        lambda journal: journal.score(0, 0),
        lambda journal: journal.note("said afterwards"),
        lambda journal: journal._add(EventKind.BUDGET_DRAWN, data={"tokens": 1}),
    ],
    ids=["another attempt", "a step", "a note", "a budget"],
)
def test_a_headline_that_something_follows_is_folded_again(follow: Any) -> None:
    snapshot, journal = small()
    end(snapshot, journal)
    follow(journal)
    store = store_of(snapshot, journal)
    assert read_standing(store, snapshot).headline == fold_journal(store, snapshot).headline()
    assert store.readings == 2


def test_another_versions_headline_is_folded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, journal = small()
    with monkeypatch.context() as patch:
        patch.setattr(headline, "FOLDED_AS", headline.FOLDED_AS + 1)
        end(snapshot, journal).data["headline"]["progress"] = {"cases_finished": 99}
    store = store_of(snapshot, journal)
    assert read_standing(store, snapshot).headline.progress.cases_finished == 3
    with monkeypatch.context() as patch:
        patch.setattr("themis.__version__", "0.0.0")
        assert end(snapshot, journal).data["headline"]["by"].startswith("0.0.0/")
    assert read_standing(store_of(snapshot, journal), snapshot).headline.progress.n_cases == 3


@pytest.mark.parametrize("damage", [{"progress": 3}, {"more": 1}, {"summaries": [{}]}])
def test_a_damaged_headline_is_folded_again(damage: dict[str, Any]) -> None:
    snapshot, journal = small()
    end(snapshot, journal).data["headline"].update(damage)
    assert read_standing(store_of(snapshot, journal), snapshot).headline.progress.n_cases == 3


def test_a_run_of_before_headlines_were_kept_is_folded() -> None:
    snapshot, journal = small()
    journal.finished()
    store = store_of(snapshot, journal)
    standing = read_standing(store, snapshot)
    assert store.readings == 1
    assert standing.headline.summaries[0].metric_id == EXACT
    assert standing.headline.summaries[0].n_scored == 2


def test_folds_that_say_something_else_are_told_apart() -> None:
    """Where this fails, a fold has changed: count ``FOLDED_AS`` up, then write down the digest."""
    snapshot, journal = small()
    journal.generate(0, token_usage={"prompt_tokens": 4}, reused=True)
    kept = end(snapshot, journal).data["headline"]
    told = {name: value for name, value in kept.items() if name != "by"}
    golden = "57b27afee8e27b0199f10a370c08d88c"
    assert (headline.FOLDED_AS, digest_value("golden", told).hex()) == (2, golden)


def test_a_headline_is_small_however_many_cases_there_are() -> None:
    snapshot, journal = snapshot_of(2000), Journal()
    journal.started()
    for case in range(2000):
        journal.generate(case, latency_ms=1.5 * case)
        journal.score(case, case % 2)
    assert len(encode(end(snapshot, journal).data)) < 4000


@pytest.mark.parametrize("damage", [3, "text", [1], {"m": 3}, {"m": {"more": 1}}, [["m"]]])
def test_damaged_values_over_a_corpus_are_none_and_no_crash(damage: Any) -> None:
    snapshot, journal = small()
    event = end(snapshot, journal)
    event.data["corpus"] = damage
    store = store_of(snapshot, journal)
    assert headline.corpus_kept(store, snapshot.run_id, event) == {}
    assert read_standing(store, snapshot).headline.progress.n_cases == 3
