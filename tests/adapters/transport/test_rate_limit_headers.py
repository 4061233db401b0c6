"""How long the next call waits after a good answer that says that nothing remains.

Covers: themis.adapters.transport.rate_limit_headers
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from themis.adapters.transport.rate_limit_headers import limits_told, rate_limit, retry_after


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        # Refilled all the time: in a minute all sixty are there again, the next in a second.
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m0s",
            },
            1.0,
        ),
        # Without the limit its share is not known.
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3s"}, 3.0),
        # A window: nothing before it ends.
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30", "RateLimit-Limit": "10"}, 30.0),
        ({"ratelimit": '"default";r=0;t=12'}, 12.0),
        # How many tokens the next call takes is not known; it is told when they are too many.
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "3s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        # A point in time, in seconds and in milliseconds.
        ({"ratelimit-remaining": "0", "ratelimit-reset": "2000000030"}, 30.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "2000000030500"}, 30.5),
        ({}, None),
    ],
)
def test_the_next_call_waits_as_long_as_it_must(
    headers: dict[str, str], wait: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "themis.adapters.transport.rate_limit_headers.time", SimpleNamespace(time=lambda: 2e9)
    )
    told = limits_told(headers)
    assert told.get("wait_seconds") == wait
    assert "wait_seconds" not in {name for name in told if wait is None}


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("999999999", 999_999_999.0),
        ("9" * 400, 1e10),
        ("9" * 60_000, 1e10),
        ("-5", 0.0),
        ("NaN", None),
        ("inf", None),
        ("1e308", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 8e9),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("", None),
    ],
)
def test_any_wait_that_is_asked_for_is_a_number_of_seconds(said: str, wait: float | None) -> None:
    found = retry_after({"retry-after": said}, now=0.0)
    assert found == wait or (wait == 8e9 and found is not None and found > wait)


@pytest.mark.parametrize("said", ["9" * 400, "9" * 60_000, "99999999999h", "9999-12-31T23:59:59Z"])
def test_any_reset_is_bounded(said: str) -> None:
    told = limits_told({"x-ratelimit-remaining": "0", "x-ratelimit-reset": said})
    wait = told["wait_seconds"]
    assert isinstance(wait, float)
    assert 1e9 < wait <= 1e10


def test_a_header_without_end_is_read_to_a_bound() -> None:
    figures = rate_limit({"ratelimit": "a" * 60_000, "x-ratelimit-reset": "1" * 60_000})
    assert all(len(one) <= 1000 for one in figures.values())
