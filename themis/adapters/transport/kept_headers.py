"""Which of an answer's headers are kept as evidence: one list, for every adapter.

Kept is what tells which request it was, what answered, how long that took and what is left of the
limits. What browsers and networks want, what names the account, and cookies are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from functools import lru_cache

from themis.adapters.transport.rate_limit_headers import limits_told
from themis.core.base import JSONObject
from themis.core.redaction import redact

KEPT: tuple[str, ...] = (
    # which request it was, here and on its way; OpenAI, Azure, Amazon, Cloudflare, LiteLLM
    "*request-id",
    "*requestid",
    "*correlation-id",
    "*trace-id",
    "*call-id",
    "*generation-id",
    "traceparent",
    "cf-ray",
    # what answered: model, version, place; an answer out of a cache was not made for the request
    "date",
    "server",
    "via",
    "content-type",
    "*model",
    "*model-*",
    "*version",
    "*deployment-name",
    "*-provider",
    "*-region",
    "*served-by",
    "*fingerprint",
    "age",
    "*cache",
    "*cache-hit",
    "*cache-status",
    # what it took; OpenAI, Text Generation Inference, proxies
    "*-ms",
    "*-time",
    "*-duration",
    "*-time-per-token",
    "*-tokens",
    "*-cost",
    "*-compute-*",
    "server-timing",
    # limits, and what to do next; RFC 9745, RFC 8594
    "*ratelimit",
    "*ratelimit-*",
    "*rate-limit-*",
    "retry-after*",
    "*should-retry",
    "deprecation",
    "sunset",
    "warning",
)
"""Names in lower case; an asterisk stands for any characters."""
REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-ms-request-id",
    "x-amzn-requestid",
    "x-litellm-call-id",
)
"""Those that name a request to its endpoint's support, the first that there is."""
LONGEST = 1000
"""Characters of a value that are kept."""

_PATTERN = re.compile("|".join(map(translate, KEPT)))


def header_evidence(headers: Mapping[str, str], *, request_id: object = None) -> JSONObject:
    """Return what is kept of an answer's headers, as artifacts: secrets hidden.

    Args:
        headers: by their names in lower case.
        request_id: what the answer itself gives as its id, where no header does.
    """
    named = next((headers[name] for name in REQUEST_IDS if headers.get(name)), None)
    found = str(named or request_id or "")[:LONGEST]
    known: JSONObject = {
        "provider_request_id": found,
        "response_headers": kept_headers(headers),
        "rate_limit": limits_told(headers),
    }
    return {name: value for name, value in known.items() if value}


def kept_headers(headers: Mapping[str, str]) -> JSONObject:
    """Return what is kept of an answer's headers: secrets hidden, long values cut.

    Args:
        headers: by their names in lower case.
    """
    found = {name: headers[name][:LONGEST] for name in headers if _is_kept(name)}
    hidden: JSONObject = redact(found)
    return hidden


@lru_cache(maxsize=1024)
def _is_kept(name: str) -> bool:
    return _PATTERN.fullmatch(name) is not None
