"""What the whole suite shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from themis.testing.crash import CrashHarness


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", type=int, default=10, help="how many kills tests/faults goes through"
    )


@pytest.fixture(scope="session")
def harness() -> Iterator[CrashHarness]:
    """Processes that are forked, watched and killed."""
    with CrashHarness(["themis.testing.scripted", "themis.stores.sqlite"]) as one:
        yield one
