"""What the whole suite shares."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from themis.stores.sqlite_database import Database
from themis.testing.crash import CrashHarness

# How long an example takes tells how busy the machine is, and nothing about Themis.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", type=int, default=10, help="how many kills tests/faults goes through"
    )


@pytest.fixture(scope="session")
def harness() -> Iterator[CrashHarness]:
    """Processes that are forked, watched and killed."""
    with CrashHarness(["themis.testing.scripted", "themis.stores.sqlite"]) as one:
        yield one


@pytest.fixture(autouse=True)
def _no_file_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the stores that a test leaves open, so that no later one sees them closed.

    A connection that is only let go of is in a circle of its own, and waits for the collector.
    """
    made: list[Database] = []
    make = Database.__init__

    @wraps(make)
    def remembered(database: Database, *args: Any, **settings: Any) -> None:
        make(database, *args, **settings)
        made.append(database)

    monkeypatch.setattr(Database, "__init__", remembered)
    yield
    for database in made:
        database.close()
