"""A damaged file says so, or reads as it was written: never as something else.

Covers: themis.stores.marks, themis.stores.sqlite_checks, themis.stores.sqlite_deep
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from themis.core.base import RunId
from themis.core.errors import StoreDamagedError, StoreError
from themis.core.events import EventKind
from themis.stores import sqlite_store
from themis.testing.store_samples import (
    OTHER_RUN,
    RUN,
    artifact,
    artifact_facts,
    done,
    facts,
    key,
    note,
    reused,
    snapshot,
    stored_case,
)

DATA = "t1:data"


def _fill(path: Path) -> RunId:
    """Make a store of two runs with a large payload, and return the id of the one with cases."""
    store = sqlite_store(path, synchronous="off")
    made = store.save_snapshot(snapshot("one"))
    store.save_cases(DATA, 0, [stored_case(f"c{n}") for n in range(90)])
    for run in (made.run_id, OTHER_RUN):
        events = [
            done(n, artifact(f"{run}{n}", f"answer {n}"), case_index=n // 2) for n in range(1, 150)
        ]
        store.append(run, [*events, note(150, "the end")], epoch=0)
    store.append(RUN, [reused(1, f"{OTHER_RUN}7"), done(2, artifact("big", "x" * 90_000))], epoch=0)
    store.close()
    return made.run_id


def _read(path: Path, run_id: RunId) -> list[object]:
    """Return all that a store tells."""
    store = sqlite_store(path, synchronous="off")
    try:
        read: list[object] = [sorted(run.run_id for run in store.runs())]
        read.append(store.load_snapshot(run_id).model_dump(mode="json"))
        for run in (run_id, OTHER_RUN, RUN):
            read += [
                [facts(event) for event in store.events(run)],
                [facts(event) for event in store.events(run, kinds=[EventKind.NOTE])],
                [facts(event) for event in store.case_events(run, 0, 100)],
                [facts(event) for event in store.case_events(run, 7, 8)],
            ]
        read.append([case.model_dump() for _, case in store.cases(DATA, 0, 90)])
        read.append(artifact_facts(store.lookup([key("big")])[key("big")]))
        return read
    finally:
        store.close()


def test_no_change_of_a_file_is_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    run_id = _fill(path)
    whole, whole_content = _read(path, run_id), path.read_bytes()
    rng = random.Random(7)
    told = 0
    for place in range(0, len(whole_content), len(whole_content) // 150):
        content = bytearray(whole_content)
        content[min(place + rng.randrange(64), len(content) - 1)] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            found = _read(path, run_id)
        except (StoreError, KeyError):
            told += 1
        else:
            assert found == whole, place
    assert told > 30


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE artifacts SET payload = replace(payload, 'answer 9', 'answer 8')",
        "UPDATE artifacts SET version = 1 WHERE id = 3",
        "UPDATE artifacts SET payload = CAST(x'ff' AS TEXT) WHERE id = 3",
        "DELETE FROM artifacts WHERE id = 3",
        "UPDATE events SET meta = NULL WHERE seq = 20",
        "UPDATE events SET at = 'then' WHERE seq = 20",
        "UPDATE events SET case_index = 5 WHERE seq = 20",
        "UPDATE events SET mark = NULL WHERE seq = 20",
        "DELETE FROM events WHERE seq = 20",
        "DELETE FROM events WHERE seq = 149",
        "DELETE FROM events WHERE kind = 6",
        "UPDATE events SET run = 3 - run, seq = seq + 1000 WHERE seq = 30 AND run < 3",
        "UPDATE blobs SET data = substr(data, 2)",
        "DELETE FROM blobs",
        "UPDATE runs SET snapshot = replace(snapshot, 'data-0', 'data-1')",
        "UPDATE runs SET created_at = created_at + 1",
        "UPDATE runs SET run_id = 'another' WHERE ref = 1",
        "DELETE FROM runs WHERE ref = 2",
        "UPDATE cases SET payload = replace(payload, 'yes', 'no') WHERE rowid = 5",
        "DELETE FROM cases WHERE rowid = 5",
        "UPDATE manifests SET case_id = 'another' WHERE position = 5",
        "DELETE FROM manifests WHERE position = 89",
        "UPDATE datasets SET fingerprint = 't1:other'",
        "DELETE FROM checks WHERE kind = 1",
    ],
)
def test_what_was_changed_is_told_with_the_file_and_found_by_looking_through_it(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "runs.db"
    run_id = _fill(path)
    with sqlite3.connect(path) as db:
        assert db.execute(statement).rowcount > 0
    db.close()
    with pytest.raises(StoreDamagedError) as caught:
        _read(path, run_id)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(sqlite_store(path).damages())


def test_looking_through_a_whole_store_finds_nothing(tmp_path: Path) -> None:
    _fill(tmp_path / "runs.db")
    assert list(sqlite_store(tmp_path / "runs.db").damages()) == []


def test_a_store_without_marks_is_given_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    run_id = _fill(path)
    whole = _read(path, run_id)
    db = sqlite3.connect(path)
    for table in ("events", "artifacts", "cases", "manifests"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN mark")
    db.execute("DROP TABLE checks")
    db.execute("DELETE FROM migrations WHERE number = 3")
    db.commit()
    db.close()
    assert _read(path, run_id) == whole
    assert list(sqlite_store(path).damages()) == []
