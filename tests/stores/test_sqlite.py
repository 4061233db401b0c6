"""The SQLite store keeps the contract of every store, and says plainly what fails.

Covers: themis.core.events, themis.stores.closing, themis.stores.sqlite,
themis.stores.sqlite_journal, themis.stores.sqlite_schema, themis.stores.sqlite_statements
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from themis.core.errors import (
    RunNotFoundError,
    StoreDamagedError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from themis.core.events import EventKind
from themis.core.store import RunStore
from themis.stores import SqliteRunStore, sqlite_schema, sqlite_store
from themis.stores.sqlite_schema import schema_number
from themis.testing.store_contract import StoreContract
from themis.testing.store_samples import (
    OTHER_RUN,
    RUN,
    artifact,
    done,
    key,
    note,
    reused,
    snapshot,
    stored_case,
)


class TestSqliteRunStore(StoreContract):
    durable = True

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_store(self) -> RunStore:
        return SqliteRunStore(self.folder / "runs.db", synchronous="off")

    def reopen(self, store: RunStore) -> RunStore:
        store.close()
        return self.make_store()


def _ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        found = db.execute(statement).fetchall()
        db.commit()
    finally:
        db.close()
    return found


# ── The file ──────────────────────────────────────────────────────────────────────────────────────


def test_a_new_file_has_every_migration_in_its_ledger(tmp_path: Path) -> None:
    sqlite_store(tmp_path / "runs.db").close()
    numbers = [row[0] for row in _ask(tmp_path / "runs.db", "SELECT number FROM migrations")]
    assert numbers == list(range(1, len(sqlite_schema.MIGRATIONS) + 1))


def test_opening_again_migrates_nothing(tmp_path: Path) -> None:
    sqlite_store(tmp_path / "runs.db").close()
    before = _ask(tmp_path / "runs.db", "SELECT * FROM migrations")
    sqlite_store(tmp_path / "runs.db").close()
    assert _ask(tmp_path / "runs.db", "SELECT * FROM migrations") == before


def test_an_older_file_is_migrated_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [note(1)], epoch=0)
    store.close()
    later = (*sqlite_schema.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN colour TEXT",))
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", later)
    store = sqlite_store(tmp_path / "runs.db")
    assert len(list(store.events(RUN))) == 1
    store.close()
    assert _ask(tmp_path / "runs.db", "SELECT max(number) FROM migrations") == [(len(later),)]
    assert _ask(tmp_path / "runs.db", "SELECT colour FROM runs") == [(None,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store(tmp_path / "runs.db").close()
    broken = (*sqlite_schema.MIGRATIONS, ("CREATE TABLE more (x)", "no SQL at all"))
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_schema, "MIGRATIONS", broken)
        with pytest.raises(StoreError):
            sqlite_store(tmp_path / "runs.db")
    assert _ask(tmp_path / "runs.db", "SELECT name FROM sqlite_master WHERE name = 'more'") == []
    sqlite_store(tmp_path / "runs.db").close()


def test_a_newer_store_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    sqlite_store(path).close()
    _ask(path, "INSERT INTO migrations VALUES (99, 0)")
    content = path.read_bytes()
    with pytest.raises(StoreVersionError) as caught:
        sqlite_store(path)
    assert (caught.value.found, caught.value.known) == (99, len(sqlite_schema.MIGRATIONS))
    assert "99" in str(caught.value)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    _ask(path, "CREATE TABLE runs (x)")
    content = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="another program"):
        sqlite_store(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"just some words, no database\n" * 100, b"\0" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailableError, match="not a SQLite database") as caught:
        sqlite_store(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    sqlite_store(tmp_path / "runs.db").append(RUN, [note(1)], epoch=0)


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = sqlite_store(path, synchronous="off")
    store.append(RUN, [done(n, artifact(f"{n}", "x" * 500)) for n in range(1, 500)], epoch=0)
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError) as caught:
        list(sqlite_store(path).events(RUN))
    assert str(path) in str(caught.value)


def test_places_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = [tmp_path, tmp_path / "file" / "runs.db", tmp_path / "file" / "deep" / "runs.db"]
    if sys.platform == "linux":
        places += [Path("/proc/runs.db"), Path("/proc/deep/runs.db")]
    for place in places:
        with pytest.raises(StoreUnavailableError) as caught:
            sqlite_store(place)
        assert str(place) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_to_be_full_and_the_batch_is_undone(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [note(1)], epoch=0)
    with store._database.reading() as db:
        db.execute("PRAGMA max_page_count = 30")  # what SQLite reports is what a full disk gives
    batch = [done(n, artifact(f"{n}", f"{n}" * 2000)) for n in range(2, 90)]
    with pytest.raises(StoreUnavailableError, match="disk is full"):
        store.append(RUN, batch, epoch=0)
    with store._database.reading() as db:
        db.execute("PRAGMA max_page_count = 100000")
    assert [event.seq for event in store.events(RUN)] == [1]
    store.append(RUN, [note(2)], epoch=0)
    store.close()


def test_a_lock_that_lasts_is_named_and_the_append_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = sqlite_store(path, busy_timeout=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match=r"locked for 0.05 seconds.*busy_timeout"):
        store.append(RUN, [note(1)], epoch=0)
    assert list(store.events(RUN)) == []
    other.execute("ROLLBACK")
    other.close()
    store.append(RUN, [note(1)], epoch=0)


def test_reading_waits_for_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = sqlite_store(path, busy_timeout=0)
    store.append(RUN, [note(1)], epoch=0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert len(list(store.events(RUN))) == 1
    other.close()


def test_a_paused_reader_holds_no_transaction(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [note(n) for n in range(1, 2000)], epoch=0)
    store.save_cases("t1:data", 0, [stored_case(f"c{n}") for n in range(1000)])
    readers = [store.events(RUN), store.case_events(RUN, 0, 9), store.cases("t1:data", 0, 999)]
    for reader in readers:
        next(reader, None)
    other = sqlite3.connect(tmp_path / "runs.db")
    # A checkpoint that truncates needs every reader gone: its first figure is 1 if one is not.
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()


def test_each_append_is_synced_unless_it_is_relaxed(tmp_path: Path) -> None:
    for level, number in (("full", 2), ("normal", 1), ("off", 0)):
        store = sqlite_store(tmp_path / f"{level}.db", synchronous=level)  # type: ignore[arg-type]
        with store._database.reading() as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (number,)
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.close()


def test_a_store_is_opened_by_its_first_use_and_again_after_close(tmp_path: Path) -> None:
    store = SqliteRunStore(tmp_path / "runs.db")
    assert not (tmp_path / "runs.db").exists()
    store.append(RUN, [note(1)], epoch=0)
    store.close()
    assert len(list(store.events(RUN))) == 1
    store.close()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "runs.db"]


def test_a_later_chdir_does_not_move_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteRunStore("runs.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.initialize()
    assert (tmp_path / "runs.db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
@pytest.mark.parametrize("what", ["deleted", "moved", "replaced"])
def test_a_file_that_is_taken_away_in_use_is_missed_by_the_next_append(
    tmp_path: Path, what: str
) -> None:
    path = tmp_path / "runs.db"
    store = sqlite_store(path)
    store.append(RUN, [note(1)], epoch=0)
    if what == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "elsewhere.db")
    if what == "replaced":
        sqlite_store(path).close()
    with pytest.raises(StoreUnavailableError, match=r"are in no file.*run again") as caught:
        store.append(RUN, [note(2)], epoch=0)
    assert str(path) in str(caught.value)
    assert ("replaced" if what == "replaced" else "deleted or moved") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.exists() == (what == "replaced")  # no new file is made behind the user's back
    store.close()
    store.append(RUN, [note(1)], epoch=0)
    assert [event.seq for event in store.events(RUN)] == [1]


def test_a_missing_run_is_answered_with_the_nearest(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    made = store.save_snapshot(snapshot("a"))
    with pytest.raises(RunNotFoundError, match=made.run_id):
        store.load_snapshot(type(made.run_id)(made.run_id[:-1] + "x"))


# ── What lies in it ───────────────────────────────────────────────────────────────────────────────


def test_a_large_payload_lies_compressed_once_and_goes_with_its_artifacts(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = sqlite_store(path)
    big = artifact("a", "x" * 1_000_000).raw
    batch = [done(1, artifact("a", "x" * 1_000_000)), done(2, artifact("b", "x" * 1_000_000))]
    store.append(RUN, batch, epoch=0)
    assert _ask(path, "SELECT count(*), max(length(data)) < 100000 FROM blobs") == [(1, 1)]
    assert _ask(path, "SELECT count(payload) FROM artifacts") == [(0,)]
    assert store.lookup([key("b")])[key("b")].raw == big
    store.append(OTHER_RUN, [reused(1, "b")], epoch=0)
    store.clear_run(RUN)
    assert store.lookup([key("b")])[key("b")].raw == big
    store.clear_run(OTHER_RUN)
    assert _ask(path, "SELECT count(*) FROM blobs") == [(0,)]
    store.close()


def test_a_losers_large_payload_is_not_kept(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
    store.append(RUN, [done(2, artifact("a", "x" * 1_000_000))], epoch=0)
    assert _ask(tmp_path / "runs.db", "SELECT count(*) FROM blobs") == [(0,)]


def test_a_large_payload_that_is_gone_is_never_read_as_empty(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [done(1, artifact("a", "x" * 1_000_000))], epoch=0)
    _ask(tmp_path / "runs.db", "DELETE FROM blobs")
    with pytest.raises(StoreError, match="missing"):
        store.lookup([key("a")])


def test_clearing_every_run_leaves_the_tables_empty(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    for name in ("a", "b"):
        made = store.save_snapshot(snapshot(name))
        store.save_cases("t1:data", 0, [stored_case("c", input="x" * 100_000)])
        store.append(made.run_id, [done(1, artifact("a")), note(2)], epoch=0)
    for record in store.runs():
        store.clear_run(record.run_id)
    store.close()
    for table in (
        "runs",
        "events",
        "artifacts",
        "blobs",
        "cases",
        "datasets",
        "manifests",
        "run_datasets",
    ):
        assert _ask(tmp_path / "runs.db", f"SELECT count(*) FROM {table}") == [(0,)], table


def test_an_append_reads_no_artifact_where_nothing_collides(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    statements: list[str] = []
    with store._database.reading() as db:
        pass
    db.set_trace_callback(statements.append)
    store.append(RUN, [done(n, artifact(f"{n}")) for n in range(1, 100)], epoch=0)
    assert not [text for text in statements if "SELECT" in text and "artifacts" in text]
    assert sum(text.startswith("COMMIT") for text in statements) == 1


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200])
def test_an_append_takes_few_statements_and_keeps_every_row(tmp_path: Path, n: int) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    statements: list[str] = []
    with store._database.reading() as db:
        db.set_trace_callback(statements.append)
    store.append(RUN, [done(i, artifact(f"{i}")) for i in range(1, n + 1)], epoch=0)
    inserts = [text for text in statements if text.startswith("INSERT INTO events")]
    assert len(inserts) <= n // 64 + 6
    assert [event.seq for event in store.events(RUN)] == list(range(1, n + 1))
    assert [event.key for event in store.events(RUN)] == [key(f"{i}") for i in range(1, n + 1)]


def test_looking_up_many_keys_takes_few_statements(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    statements: list[str] = []
    with store._database.reading() as db:
        db.set_trace_callback(statements.append)
    store.lookup([key(f"{n}") for n in range(1000)])
    assert sum("SELECT" in text for text in statements) == 4


@pytest.mark.parametrize(
    "statement",
    ["events", "rare", "case_events", "find_case"],
    ids=["a run's events", "a run's own events", "a case's events", "a case's position"],
)
def test_reading_one_page_never_scans_a_table(tmp_path: Path, statement: str) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    store.append(RUN, [done(1, artifact("a"), case_index=3), note(2)], epoch=0)
    store.save_cases("t1:data", 0, [stored_case("c")])
    statements: list[str] = []
    with store._database.reading() as db:
        db.set_trace_callback(statements.append)
    if statement == "events":
        list(store.events(RUN, after=5, kinds=[EventKind.STEP_DONE]))
    elif statement == "rare":
        list(store.events(RUN, kinds=[EventKind.RUN_STARTED, EventKind.NOTE]))
    elif statement == "case_events":
        list(store.case_events(RUN, 3, 4))
    else:
        store.find_case("t1:data", "c")
    db.set_trace_callback(None)
    with store._database.reading() as db:
        plan = [
            row[3]
            for asked in statements
            if asked.startswith(("SELECT", "\n    SELECT"))
            for row in db.execute(f"EXPLAIN QUERY PLAN {asked}")
        ]
    assert plan
    assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step], plan
    if statement == "rare":
        assert any("rare_events" in step for step in plan)


def test_a_file_that_becomes_a_store_while_it_is_looked_at_is_no_other_programs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"

    class Slow(sqlite3.Connection):
        """Lets another process make the file a store between two of its own statements."""

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            cursor = super().execute(sql, *args)
            if sql == "PRAGMA application_id":
                maker = threading.Thread(target=lambda: sqlite_store(str(path)).close())
                maker.start()
                maker.join(0.3)
                makers.append(maker)
            return cursor

    makers: list[threading.Thread] = []
    db = sqlite3.connect(path, factory=Slow, isolation_level=None)
    assert schema_number(db, str(path)) == 0
    db.close()
    for maker in makers:
        maker.join()
    assert len(makers) == 1
