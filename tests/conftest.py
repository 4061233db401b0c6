"""What the whole suite shares."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.lacking import told
from themis.stores.sqlite_database import Database
from themis.testing.crash import CrashHarness

# How long an example takes tells how busy the machine is, and nothing about Themis.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# A failure in continuous integration must come back on the next run of the same code.
settings.register_profile("ci", settings.get_profile("any machine"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", type=int, default=10, help="how many kills tests/faults goes through"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say last of all what this machine could not run, and what to do for it."""
    yield
    skipped = terminalreporter.getreports("skipped")
    for line in told(one.longrepr[2] for one in skipped if isinstance(one.longrepr, tuple)):
        terminalreporter.write_line(line)


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
