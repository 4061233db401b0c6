"""What the whole suite shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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
