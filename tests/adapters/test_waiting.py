"""How long the next call waits after a good answer that says that nothing remains."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from themis.adapters.waiting import limits_told


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
    monkeypatch.setattr("themis.adapters.waiting.time", SimpleNamespace(time=lambda: 2e9))
    told = limits_told(headers)
    assert told.get("wait_seconds") == wait
    assert "wait_seconds" not in {name for name in told if wait is None}
