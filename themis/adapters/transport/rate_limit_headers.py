"""An endpoint's rate limits, as its headers give them: the figures, and how long to wait.

Three spellings are read, ``x-ratelimit-*``, ``anthropic-ratelimit-*`` and the IETF's
``ratelimit-*`` with its newer fields of one line, in all units that endpoints use. Nothing is
waited for here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from themis.core.base import JSONObject

_PREFIX = re.compile(r"(?:x-)?ratelimit-")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-([a-z-]+)-(limit|remaining|reset)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
# One policy of a field such as: "default";r=0;t=30
_POLICY = re.compile(r'"?(?P<name>[^";,\s]+)"?(?P<said>(?:\s*;\s*[a-z]+\s*=\s*[^;,]+)+)')
_SAID = re.compile(r";\s*([a-z]+)\s*=\s*\"?([^;,\"\s]+)")
_POLICY_WORDS = {"q": "limit", "r": "remaining", "t": "reset"}
_LONGEST_READ = 1000  # characters of a header: what is longer is no figure
_FOREVER = 1e10  # seconds: no longer wait is told apart
_AN_EPOCH = 1e9  # seconds above this are a point in time; milliseconds above a thousand times it


def rate_limit(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the endpoint's figures as it gave them, by ``remaining_requests`` and so on.

    The fields ``ratelimit`` and ``ratelimit-policy`` give ``remaining_<policy>`` and its like.
    """
    figures: dict[str, str] = {}
    for known, value in _read(headers).items():
        if found := _ANTHROPIC.fullmatch(known):
            figures[f"{found[2]}_{found[1].replace('-', '_')}"] = value
        elif known in ("ratelimit", "ratelimit-policy"):
            figures.update(_of_policies(value))
        elif prefix := _PREFIX.match(known):
            figures[known[prefix.end() :].replace("-", "_")] = value
    return figures


def limits_told(headers: Mapping[str, str]) -> JSONObject:
    """Return the figures of a good answer, and under ``wait_seconds`` how long the next must wait.

    A field for requests or tokens tells when all of its limit is there again; the next request
    may come when its share of that time is over. Where no such word stands, nothing is to be had
    before the reset.
    """
    figures = rate_limit(headers)
    waits = []
    for name, seconds in _resets_of_what_is_spent(figures, time.time()):
        limit = figures.get(f"limit{name}", "")
        if name == "_requests" and _NUMBER.fullmatch(limit) and float(limit) >= 1:
            waits.append(seconds / float(limit))
        elif name != "_tokens":
            waits.append(seconds)
    return {**figures, **({"wait_seconds": max(waits)} if waits else {})}


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that an endpoint asks to wait, or None.

    Read from ``retry-after-ms``, ``retry-after`` (seconds, or an HTTP date: RFC 9110, section
    10.2.3) or else the reset time of the limits of which nothing remains.

    Args:
        headers: of the answer.
        now: Unix seconds; the clock's by default.
    """
    known = _read(headers)
    at = time.time() if now is None else now
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (said := known.get(name)) is not None and _NUMBER.fullmatch(said):
            return _bounded(float(said) * unit)
    if "retry-after" in known:
        try:
            then = parsedate_to_datetime(known["retry-after"])
        except (ValueError, TypeError, OverflowError):
            return None
        return _bounded(_timestamp(then) - at)
    waits = [seconds for _, seconds in _resets_of_what_is_spent(rate_limit(known), at)]
    return max(waits, default=None)


def _resets_of_what_is_spent(figures: Mapping[str, str], now: float) -> Iterator[tuple[str, float]]:
    """Yield the suffix of each limit of which nothing remains, and the seconds to its reset."""
    for name, value in figures.items():
        suffix = name.removeprefix("remaining")
        if suffix != name and _is_nothing(value):
            seconds = _until(figures.get(f"reset{suffix}", ""), now)
            if seconds is not None:
                yield suffix, seconds


def _of_policies(value: str) -> dict[str, str]:
    figures = {}
    for policy in _POLICY.finditer(value):
        for word, said in _SAID.findall(policy["said"]):
            if word in _POLICY_WORDS:
                figures[f"{_POLICY_WORDS[word]}_{policy['name']}"] = said
    return figures


def _is_nothing(value: str) -> bool:
    return _NUMBER.fullmatch(value.strip()) is not None and float(value) <= 0


def _until(said: str, now: float) -> float | None:
    """Return the seconds until a reset: "6m0.5s", "20", a point in time, or a date."""
    said = said.strip()
    if _NUMBER.fullmatch(said):
        number = float(said)
        if number >= _AN_EPOCH * 1000:
            number = number / 1000 - now
        elif number >= _AN_EPOCH:
            number -= now
        return _bounded(number)
    parts = _DURATION.findall(said)
    if parts and "".join(f"{number}{unit}" for number, unit in parts) == said:
        return _bounded(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    try:
        return _bounded(_timestamp(datetime.fromisoformat(said)) - now)
    except (ValueError, OverflowError):
        return None


def _read(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by their names in lower case, as far as anything in them may be a figure."""
    return {name.lower(): str(value).strip()[:_LONGEST_READ] for name, value in headers.items()}


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), _FOREVER)


def _timestamp(at: datetime) -> float:
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
