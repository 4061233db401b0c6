"""A SQLite file that fails at work: asked again, then a clean stop that says how to go on.

Covers: themis.execution.journal
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import experiment
from themis import SqliteRunStore, get_execution_state
from themis.core.base import ArtifactKey, RunId
from themis.core.errors import StoreFailedError, StoreUnavailableError
from themis.core.events import Event
from themis.testing import ScriptedGenerator

CASES = 40


def at_call(number: int, act: Callable[[], object]) -> Any:
    """Return a generator that does something at its n-th call."""

    def answer(case: Any, ctx: Any) -> Any:
        if generator.count() == number:
            act()
        return case.input

    # Slow enough for what was answered before to be kept by then.
    generator = ScriptedGenerator(answer, wait=lambda: asyncio.sleep(0.01))
    return generator


def run(generator: Any, store: SqliteRunStore) -> Any:
    one = experiment(generator, cases=CASES, max_concurrent_tasks=1, store_retry_attempts=3)
    return one.run(store=store, progress=False)


class Locked:
    """Somebody else's connection, which locks the file on demand."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def lock(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.close()


def test_a_file_that_another_locks_for_long_stops_the_run_in_words_and_loses_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    with closing(SqliteRunStore(path, busy_timeout=0.05)) as store:
        store.initialize()
        with closing(Locked(path)) as other:
            generator = at_call(20, other.lock)
            with pytest.raises(StoreFailedError) as caught:
                run(generator, store)
        assert caught.value.exit_code == 3
        assert (
            f"run {caught.value.run_id} stopped, since its store failed: store '{path}': another "
            "connection of this process has kept it locked for 0.05 seconds; let that process "
            "finish and run again, or raise the store's busy_timeout"
        ) in str(caught.value)
        kept = get_execution_state(store, caught.value.run_id).progress.stages["generate"].done
        assert 0 < kept <= 20
        asked = generator.count()
        result = run(generator, store)
        assert result.status == "completed"
        assert CASES - 20 <= generator.count() - asked <= CASES - kept  # some were set aside


def test_a_file_that_is_free_again_by_the_next_try_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    class Freed(SqliteRunStore):
        """Whose lock is given up once it was in the way."""

        refused = 0

        def append(
            self, run_id: RunId, events: Sequence[Event], *, epoch: int
        ) -> Sequence[ArtifactKey]:
            try:
                return super().append(run_id, events, epoch=epoch)
            except StoreUnavailableError:
                self.refused += 1
                other.close()
                raise

    with closing(Freed(path, busy_timeout=0.05)) as store:
        store.initialize()
        other = Locked(path)
        generator = at_call(20, other.lock)
        assert run(generator, store).status == "completed"
        assert (store.refused, generator.count()) == (1, CASES)


def test_a_file_that_is_taken_away_stops_the_run_in_words(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with closing(SqliteRunStore(path, busy_timeout=0.05)) as store:
        generator = at_call(20, path.unlink)
        with pytest.raises(StoreFailedError, match="the file was deleted or moved while in use"):
            run(generator, store)


def test_a_file_that_is_moved_away_and_back_goes_on_from_what_it_has(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "runs.db", tmp_path / "elsewhere.db"
    with closing(SqliteRunStore(path, busy_timeout=0.05)) as store:
        generator = at_call(20, lambda: path.rename(elsewhere))
        with pytest.raises(StoreFailedError, match="put it back if you moved it") as caught:
            run(generator, store)
        elsewhere.rename(path)
        kept = get_execution_state(store, caught.value.run_id).progress.stages["generate"].done
        asked = generator.count()
        assert run(generator, store).status == "completed"
        assert CASES - 20 <= generator.count() - asked <= CASES - kept  # some were set aside
