"""What an endpoint's refusal means for the run, in the words of ``ProviderError``.

It tells failures apart and waits for nothing. Failures that would repeat for every case (a bad
key, an unknown model, a spent quota) are fatal; what the endpoint may do better next time is
retryable; anything else is one case's own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from themis.core.errors import ProviderError

_FATAL_STATUS = frozenset({401, 402, 403, 404})
_FATAL_CODES = frozenset(
    {
        "billing_hard_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
        "model_not_found",
        "unsupported_parameter",
    }
)
_LIMIT_HEADER = "x-ratelimit-"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def provider_error(error: Exception, *, endpoint: str) -> ProviderError | None:
    """Return what an SDK's exception means; None for one that is not the endpoint's doing.

    Args:
        error: what the SDK raised; told by its shape, so that other clients' errors are read too.
        endpoint: name of the endpoint, for the message.
    """
    status = getattr(error, "status_code", None)
    if type(status) is int:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        return _of_status(error, status, headers, endpoint)
    sdk: Any = sys.modules.get("openai")
    if sdk is None or not isinstance(error, sdk.APIError):
        return None
    if isinstance(error, sdk.APITimeoutError):
        return ProviderError(f"{endpoint} did not answer in time", retryable=True)
    if isinstance(error, sdk.APIConnectionError):
        cause = error.__cause__
        why = f": {cause or type(cause).__name__}" if cause is not None else ""
        return ProviderError(f"{endpoint} cannot be reached{why}", retryable=True)
    return ProviderError(f"{endpoint}: {_one_line(error)}", retryable=False)


def _of_status(
    error: Exception, status: int, headers: Mapping[str, str], endpoint: str
) -> ProviderError:
    code = getattr(error, "code", None)
    limits = rate_limit(headers)
    return ProviderError(
        f"{endpoint} answered {status}: {_one_line(error)}",
        status=status,
        retry_after=retry_after(headers),
        rate_limit=dict(limits) or None,
        fatal=status in _FATAL_STATUS or code in _FATAL_CODES,
    )


def error_in_body(error: Any, *, endpoint: str) -> ProviderError:
    """Return the failure that an answer of status 200 tells of in its body."""
    said = error if isinstance(error, dict) else {"message": error}
    code = said.get("code")
    status = code if type(code) is int else None
    return ProviderError(
        f"{endpoint} answered with an error: {said.get('message') or said}",
        status=status,
        retryable=True if code in ("server_error", "rate_limit_exceeded") else None,
        fatal=status in _FATAL_STATUS or code in _FATAL_CODES,
    )


def rate_limit(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the endpoint's rate-limit figures as it gave them, by ``limit_requests`` and so on."""
    return {
        name.lower()[len(_LIMIT_HEADER) :].replace("-", "_"): str(value)
        for name, value in headers.items()
        if name.lower().startswith(_LIMIT_HEADER)
    }


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that an endpoint asks to wait, or None.

    Read from ``retry-after-ms``, ``retry-after`` (seconds, or an HTTP date: RFC 9110, section
    10.2.3) or else the reset time of the limits of which nothing remains.

    Args:
        headers: of the answer.
        now: Unix seconds; the clock's by default.
    """
    known = {name.lower(): str(value).strip() for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in known:
            seconds = _number(known[name])
            if seconds is not None:
                return max(0.0, seconds * unit)
    if "retry-after" in known:
        try:
            at = parsedate_to_datetime(known["retry-after"]).timestamp()
        except (ValueError, TypeError):
            return None
        return max(0.0, at - (time.time() if now is None else now))
    spent = [
        _duration(known.get(f"{_LIMIT_HEADER}reset-{what}", ""))
        for what in ("requests", "tokens")
        if known.get(f"{_LIMIT_HEADER}remaining-{what}") == "0"
    ]
    return max((seconds for seconds in spent if seconds is not None), default=None)


def _duration(said: str) -> float | None:
    """Return the seconds of "6m0.5s" or "20ms"."""
    parts = _DURATION.findall(said)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != said:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _number(said: str) -> float | None:
    return float(said) if re.fullmatch(r"-?\d+(\.\d+)?", said) else None


def _one_line(error: Exception) -> str:
    """Return what the endpoint said, without the SDK's wrapping."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error")
        body = inner if isinstance(inner, dict) else body
        if isinstance(said := body.get("message"), str) and said:
            return " ".join(said.split())[:500]
    return " ".join(str(error).split())[:500]
