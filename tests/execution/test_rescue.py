"""What a store could not keep is set aside, and the next run takes it in.

Covers: themis.execution.rescue
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.execution.test_keeping import Counting
from tests.support.runs import experiment, table
from themis import SqliteRunStore
from themis.core.errors import StoreFailedError, StoreUnavailableError
from themis.core.events import Event


class Full(SqliteRunStore):
    """A store whose disk fills up after so many answers."""

    room = 20

    def append(self, run_id: Any, events: Sequence[Event], *, epoch: int) -> Any:
        answers = sum(event.artifact is not None for event in events)
        if answers > self.room:
            self.room = -1
            raise StoreUnavailableError("the disk is full")
        self.room -= answers
        return super().append(run_id, events, epoch=epoch)


class Kept(SqliteRunStore):
    """A store that keeps a commit and says that it failed."""

    room = 20

    def append(self, run_id: Any, events: Sequence[Event], *, epoch: int) -> Any:
        if self.room < 0:
            raise StoreUnavailableError("the disk is gone")
        self.room -= sum(event.artifact is not None for event in events)
        done = super().append(run_id, events, epoch=epoch)
        if self.room < 0:
            raise StoreUnavailableError("the disk is gone")
        return done


def stopped(generator: Counting, store: SqliteRunStore) -> str:
    settings = {"max_concurrent_tasks": 8, "store_retry_attempts": 1}
    one = experiment(generator, cases=100, **settings)
    with pytest.raises(StoreFailedError) as caught:
        one.run(store=store)
    store.close()
    return str(caught.value)


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("themis-*.jsonl")
    return found


def gone_on(generator: Counting, path: Path) -> Any:
    return experiment(generator, cases=100, max_concurrent_tasks=8).run(
        store=SqliteRunStore(str(path))
    )


def test_the_next_run_asks_for_nothing_that_was_set_aside(tmp_path: Path) -> None:
    generator = Counting()
    said = stopped(generator, Full(str(tmp_path / "runs.db")))
    file = file_of(tmp_path)
    assert str(file) in said
    assert "the next run takes them in" in said
    assert file.stat().st_mode & 0o77 == 0
    result = gone_on(generator, tmp_path / "runs.db")
    assert generator.answers == 100
    assert not file.exists()
    assert any("took in" in note for note in result.notes)
    assert table(result) == table(experiment(Counting(), cases=100).run())


def test_what_was_kept_after_all_is_not_taken_in_twice(tmp_path: Path) -> None:
    generator = Counting()
    stopped(generator, Kept(str(tmp_path / "runs.db")))
    result = gone_on(generator, tmp_path / "runs.db")
    assert generator.answers == 100
    assert result.status == "completed"
    assert not list(tmp_path.glob("themis-*"))


def test_a_run_that_went_on_without_it_leaves_it_where_it_is(tmp_path: Path) -> None:
    generator = Counting()
    stopped(generator, Full(str(tmp_path / "runs.db")))
    file = file_of(tmp_path)
    away = file.rename(tmp_path / "elsewhere")
    gone_on(generator, tmp_path / "runs.db")
    asked = generator.answers
    away.rename(file)
    settings: dict[str, Any] = {"max_concurrent_tasks": 8, "existing_run_policy": "rerun"}
    one = experiment(generator, cases=100, **settings)
    result = one.run(store=SqliteRunStore(str(tmp_path / "runs.db")))
    assert generator.answers == asked + 100
    assert result.status == "completed"
    assert not file.exists()
    assert (tmp_path / f"{file.name}.stale").exists()


@pytest.mark.parametrize("cut", ["half", "flipped", "empty"])
def test_a_damaged_file_is_taken_in_up_to_the_damage(tmp_path: Path, cut: str) -> None:
    generator = Counting()
    stopped(generator, Full(str(tmp_path / "runs.db")))
    file = file_of(tmp_path)
    raw = bytearray(file.read_bytes())
    if cut == "half":
        raw = raw[: len(raw) // 2]
    elif cut == "flipped":
        raw[len(raw) // 2] ^= 1
    else:
        raw.clear()
    file.write_bytes(bytes(raw))
    before = generator.answers
    result = gone_on(generator, tmp_path / "runs.db")
    assert result.status == "completed"
    assert 100 <= generator.answers <= 100 + 2 * 8
    assert generator.answers > before


def test_a_folder_that_cannot_be_written_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    generator = Counting()
    store = Full(str(tmp_path / "store" / "runs.db"))
    store.initialize()
    real = Path.mkdir

    def mkdir(self: Path, *args: Any, **more: Any) -> None:
        if self == tmp_path / "store":
            raise OSError(28, "No space left on device")
        real(self, *args, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    said = stopped(generator, store)
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert str(file_of(tmp_path / "tmp")) in said
    gone_on(generator, tmp_path / "store" / "runs.db")
    assert generator.answers == 100
