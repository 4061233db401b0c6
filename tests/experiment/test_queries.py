"""Whoever asks for one case or one page of a run has one case or one page read.

Covers: themis.experiment.queries, themis.experiment.result, themis.views.cases, themis.views.steps
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import InMemoryRunStore, Reporter, RunResult, SqliteRunStore, get_execution_state
from themis.core.base import RunId
from themis.core.errors import DefinitionError
from themis.core.events import Event, EventKind
from themis.core.models import Case
from themis.experiment.queries import quickcheck
from themis.views.cases import find_case
from themis.views.steps import PAGE

N = 1200


class Shelf(InMemoryRunStore):
    """A store that notes what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[tuple[int, int]] = []
        self.events_given = 0
        self.cases_given = 0

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        self.pages.append((start, stop))
        for event in super().case_events(run_id, start, stop):
            self.events_given += 1
            yield event

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        for event in super().events(run_id, after=after, kinds=kinds):
            self.events_given += 1
            yield event

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        for one in super().cases(fingerprint, start, stop):
            self.cases_given += 1
            yield one

    def forget(self) -> None:
        """Begin noting anew."""
        self.pages, self.events_given, self.cases_given = [], 0, 0


@pytest.fixture(scope="module")
def kept() -> tuple[Shelf, RunResult]:
    store = Shelf()
    return store, experiment(cases=N, max_concurrent_tasks=64).run(store=store)


@pytest.fixture
def run(kept: tuple[Shelf, RunResult]) -> tuple[Shelf, RunResult]:
    store, result = kept
    store.forget()
    return store, RunResult(store, result.snapshot)


def test_a_finished_runs_headline_reads_no_case(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    assert result.status == "completed"
    assert result.progress.cases_finished == N
    assert next(iter(result.metrics.values())).interval is not None
    assert quickcheck(store, result.run_id)["cases_finished"] == N
    assert get_execution_state(store, result.run_id).progress == result.progress
    assert store.pages == []
    assert store.events_given < 20


@pytest.mark.parametrize("form", ["markdown", "json", "latex"])
def test_a_report_of_the_headline_reads_no_case(run: tuple[Shelf, RunResult], form: str) -> None:
    store, result = run
    assert result.run_id in Reporter(store).render(result.run_id, form)
    assert (store.pages, store.cases_given) == ([], 0)


def test_a_page_of_cases_is_one_reading(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    assert [case.case_id for case in result.cases[300:350]] == [f"c{i}" for i in range(300, 350)]
    assert store.pages == [(300, 350)]
    assert store.cases_given == 50


def test_one_case_is_read_alone(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    assert result.cases[-1].case_id == f"c{N - 1}"
    assert store.pages == [(N - 1, N)]
    assert store.cases_given == 1


@pytest.mark.parametrize(
    "piece",
    [
        slice(None, None, 400),
        slice(10, 40, 3),
        slice(40, 10, -3),
        slice(5, None, -1),
        slice(-3, None),
        slice(5, 5),
        slice(9, 3),
        slice(N - 2, N + 50),
        slice(N + 5, N + 9),
    ],
    ids=str,
)
def test_a_slice_is_what_a_list_would_give_and_reads_little(
    run: tuple[Shelf, RunResult], piece: slice
) -> None:
    store, result = run
    wanted = [f"c{i}" for i in range(N)][piece]
    assert [case.case_id for case in result.cases[piece]] == wanted
    assert sum(stop - start for start, stop in store.pages) <= 4 * len(wanted)


def test_iterating_reads_each_case_once_page_by_page(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    cases = iter(result.cases)
    next(cases)
    assert store.pages == [(0, PAGE)]
    assert sum(1 for _ in cases) == N - 1
    assert store.pages == [(0, PAGE), (PAGE, 2 * PAGE), (2 * PAGE, N)]
    assert store.cases_given == N


def test_rows_stream_page_by_page(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    rows = result.score_rows()
    assert next(rows).case_id == "c0"
    assert store.pages == [(0, PAGE)]
    assert sum(1 for _ in rows) == N - 1


def test_a_csv_report_streams_and_reads_the_journal_once(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    pieces = Reporter(store).stream(result.run_id, "csv")
    first = next(iter(pieces))
    assert store.pages == [(0, PAGE)]
    lines = list(csv.reader(StringIO(first + "".join(pieces))))
    assert len(lines) == N + 1
    assert sum(stop - start for start, stop in store.pages) == N


def test_what_a_stream_refuses_it_refuses_at_once(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    with pytest.raises(DefinitionError, match="no metric 'none'"):
        Reporter(store).stream(result.run_id, "csv", ["none"])


def test_a_case_is_found_by_its_id_without_reading_others(run: tuple[Shelf, RunResult]) -> None:
    store, result = run
    assert find_case(store, result.snapshot, "c777").position == 777
    assert (store.pages, store.cases_given) == ([], 1)


def test_a_case_is_found_in_whichever_dataset_it_is_and_refused_where_several_have_it() -> None:
    store = Shelf()
    data = [dataset(3, dataset_id="one"), dataset(5, dataset_id="two")]
    snapshot = experiment(cases=data).run(store=store).snapshot
    assert find_case(store, snapshot, "c4").position == 7
    second = find_case(store, snapshot, "c1", dataset_id="two")
    assert second.position == 4
    assert find_case(store, snapshot, "c1", case_key=second.case_key) == second
    with pytest.raises(DefinitionError, match="'one', 'two'"):
        find_case(store, snapshot, "c1")
    with pytest.raises(DefinitionError, match="no case 'c4' in dataset 'one'"):
        find_case(store, snapshot, "c4", dataset_id="one")


def test_a_frame_is_made_of_columns(run: tuple[Shelf, RunResult]) -> None:
    pandas: Any = pytest.importorskip("pandas")
    store, result = run
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["case_id"]) == [f"c{i}" for i in range(N)]
    assert len(store.pages) == 3


def test_a_headline_in_a_file_is_read_without_touching_its_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteRunStore(tmp_path / "runs.db", synchronous="off")
    snapshot = experiment(cases=40).run(store=store).snapshot
    statements: list[str] = []
    with store._database.reading() as db:
        pass
    db.set_trace_callback(statements.append)
    result = RunResult(store, snapshot)
    assert (result.progress.cases_finished, len(result.metrics)) == (40, 1)
    db.set_trace_callback(None)
    asked = [one for one in statements if one not in ("BEGIN", "COMMIT")]
    with store._database.reading() as db:
        plans = [db.execute(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in asked]
    assert 1 <= len(asked) <= 8
    assert not [row for plan in plans for row in plan if "SCAN" in row[3]]
