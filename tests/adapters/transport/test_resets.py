"""Figures of limits in all spellings, and the longest of the resets that they name.

Covers: themis.adapters.transport.rate_limit_headers
"""

from __future__ import annotations

import pytest

from themis.adapters.transport.rate_limit_headers import limits_told, rate_limit, retry_after

SPENT = {
    "X-RateLimit-Remaining-Requests": "0",
    "X-RateLimit-Reset-Requests": "2s",
    "X-RateLimit-Remaining-Tokens": "0",
    "X-RateLimit-Reset-Tokens": "1m30s",
}


def test_the_longest_reset_of_what_is_spent_is_waited_for() -> None:
    assert retry_after(SPENT) == 90.0
    several = {"ratelimit": '"burst";r=0;t=3, "daily";r=0;t=40, "weekly";r=5;t=900'}
    assert retry_after(several) == 40.0
    assert limits_told(several)["wait_seconds"] == 40.0


def test_a_limit_of_no_requests_at_all_has_no_share_and_its_reset_is_waited_for() -> None:
    for limit in ("0", "0.0", "-1"):
        headers = {"x-ratelimit-limit-requests": limit, **{k.lower(): v for k, v in SPENT.items()}}
        assert limits_told(headers)["wait_seconds"] == 2.0


def test_less_than_nothing_is_nothing() -> None:
    headers = {"ratelimit-remaining": "-3", "ratelimit-reset": "7"}
    assert retry_after(headers) == 7.0
    assert retry_after({**headers, "ratelimit-remaining": "1"}) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2026-12-01T00:00:30", 30.0),
        ("2026-12-01T00:00:30Z", 30.0),
        ("2026-12-01T05:30:30+05:30", 30.0),
        ("2026-11-30T23:00:00Z", 0.0),
        ("1h0m1.5s", 3601.5),
        ("2d", 172800.0),
        ("250ms", 0.25),
        ("-4", 0.0),
        ("about 5s", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_reset_is_read_in_all_its_forms_and_a_date_without_a_zone_is_utc(
    said: str, seconds: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        headers = {"ratelimit-remaining": "0", "ratelimit-reset": said}
        assert retry_after(headers, now=1796083200.0) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_to_retry_after_is_read_and_one_that_is_over_waits_for_nothing() -> None:
    headers = {"Retry-After": "Tue, 01 Dec 2026 00:00:30 GMT"}
    assert retry_after(headers, now=1796083200.0) == 30.0
    assert retry_after(headers, now=1796083300.0) == 0.0
    # "-0000" is a time of UTC whose place is not told: Python gives it without a zone.
    unplaced = {"retry-after": "Tue, 01 Dec 2026 00:00:30 -0000"}
    assert retry_after(unplaced, now=1796083200.0) == 30.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "-5"}) == 0.0
    assert retry_after({"retry-after-ms": "1500", "retry-after": "2"}) == 1.5


def test_names_of_any_case_and_maker_are_read() -> None:
    assert rate_limit({"Anthropic-RateLimit-Input-Tokens-Remaining": "5"}) == {
        "remaining_input_tokens": "5"
    }
    assert rate_limit({"RateLimit-Policy": '"default";q=100;w=60'}) == {"limit_default": "100"}
