"""What an endpoint's refusal means for the run, in the words of ``ProviderError``.

It tells failures apart and waits for nothing. Failures that would repeat for every case (a bad
key, an unknown model, a spent quota) are fatal; what the endpoint may do better next time is
retryable; anything else is one case's own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from themis.adapters.connections import EndpointTimeoutError, proxy_refused, transport_error
from themis.adapters.waiting import rate_limit, retry_after
from themis.core.errors import ProviderError

_FATAL_STATUS = frozenset({401, 402, 403, 404, 405})
_FATAL_CODES = frozenset(
    {
        "billing_hard_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
        "model_not_found",
        "unknown_parameter",
        "unsupported_parameter",
    }
)
_PASSING_CODES = ("server_error", "rate_limit_exceeded")
# Servers that give no code for it say it in these words.
_UNKNOWN_MODEL = re.compile(
    r"\bmodel:?\s+(?:[`'\"]?[\w./:@-]{1,200}[`'\"]?\s+)?"
    r"(?:does not exist|doesn't exist|not exist|(?:was |is )?not found|is unknown)"
    r"|\b(unknown|no such) model\b|\binvalid model (id|name)\b",
    re.IGNORECASE,
)


_MISPLACED = frozenset({404, 405, 501})
"""What a server says of a path that it does not know."""


def provider_error(error: Exception, *, endpoint: str) -> ProviderError | None:
    """Return what an SDK's exception means; None for one that is not the endpoint's doing.

    Args:
        error: what the SDK raised; told by its shape, so that other clients' errors are read too.
        endpoint: name of the endpoint, for the message.
    """
    status = getattr(error, "status_code", None)
    if type(status) is int:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        return status_error(
            status,
            headers=headers,
            said=_one_line(error),
            code=getattr(error, "code", None) or getattr(error, "type", None),
            param=getattr(error, "param", None),
            endpoint=endpoint,
            hint=" It usually ends in /v1",
        )
    if (found := transport_error(error, endpoint)) is not None:
        return found
    sdk: Any = sys.modules.get("openai")
    if sdk is None or not isinstance(error, sdk.APIError):
        return None
    if isinstance(error, sdk.APITimeoutError):
        return EndpointTimeoutError(f"{endpoint} did not answer in time", retryable=True)
    if isinstance(error, sdk.APIConnectionError):
        cause = error.__cause__
        why = f": {cause or type(cause).__name__}" if cause is not None else ""
        return ProviderError(f"{endpoint} cannot be reached{why}", retryable=True)
    return ProviderError(f"{endpoint}: {_one_line(error)}", retryable=False)


def status_error(
    status: int,
    *,
    headers: Mapping[str, str],
    said: str,
    endpoint: str,
    code: object = None,
    param: object = None,
    hint: str = "",
) -> ProviderError:
    """Return what an answer of a status other than 2xx means.

    Args:
        status: of the answer.
        headers: of the answer.
        said: what it says, in one line.
        endpoint: its name, for the message.
        code: the provider's own code, where it gives one.
        param: the parameter that it complains of, where it names one.
        hint: how addresses of its kind look, for one that is not known there.
    """
    if status == 407:
        return proxy_refused(status, endpoint)
    if 300 <= status < 400:
        where = str(headers.get("location") or "another address")[:200]
        return ProviderError(
            f"{endpoint} answered {status}, a redirect to {where}: give that address itself",
            status=status,
            fatal=True,
        )
    unknown_model = status in (400, 422) and (
        param == "model" or _UNKNOWN_MODEL.search(said) is not None
    )
    if status in _MISPLACED and not code and not unknown_model:
        said = f"{said} (is the address right?{hint})"
    return ProviderError(
        f"{endpoint} answered {status}: {said}",
        status=status,
        retry_after=retry_after(headers),
        rate_limit=dict(rate_limit(headers)) or None,
        fatal=status in _FATAL_STATUS or code in _FATAL_CODES or unknown_model,
    )


def error_in_body(error: Any, *, endpoint: str, streamed: bool = False) -> ProviderError:
    """Return the failure that an answer of status 200 tells of in its body.

    Args:
        error: what the body says of it.
        endpoint: its name, for the message.
        streamed: whether the answer had begun: then it may be asked for again, unless the error
            says otherwise.
    """
    said = error if isinstance(error, dict) else {"message": error}
    code = said.get("code") or said.get("type")
    status = code if type(code) is int else None
    words = " ".join(str(said.get("message") or said).split())
    unknown_model = said.get("param") == "model" or _UNKNOWN_MODEL.search(words) is not None
    passing = code in _PASSING_CODES or (streamed and status is None)
    return ProviderError(
        f"{endpoint} answered with an error: {words}",
        status=status,
        retryable=True if passing else None,
        fatal=status in _FATAL_STATUS or code in _FATAL_CODES or unknown_model,
        had_begun=streamed,
    )


def _one_line(error: Exception) -> str:
    """Return all that the endpoint said, without the SDK's wrapping.

    Who shows it cuts it, after secrets were hidden: half a key would not be known.
    """
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error")
        body = inner if isinstance(inner, dict) else body
        if isinstance(said := body.get("message"), str) and said:
            return " ".join(said.split())
    return " ".join(str(error).split())
