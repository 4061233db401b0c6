"""What an endpoint's error means for the run, in the words of ``ProviderError``.

What it means is the table's to say (``meanings``). A refusal that comes as an error is a result and
raises ``RefusedError``, which the adapters turn into one. It tells failures apart and waits for
nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from themis.adapters.transport.connection_errors import (
    EndpointTimeoutError,
    proxy_refused,
    transport_error,
)
from themis.adapters.transport.endpoint_words import NOTHING, page_title, told_by
from themis.adapters.transport.kept_headers import header_evidence
from themis.adapters.transport.meanings import Meaning, Told, meaning_of_error
from themis.adapters.transport.rate_limit_headers import rate_limit, retry_after
from themis.core.base import JSONObject
from themis.core.errors import ProviderError

_MISPLACED = frozenset({404, 405, 501})
"""The statuses by which servers answer a path that they do not know."""
_CONFIRMED_BY: Mapping[Meaning, Any] = {
    Meaning.OF_ALL: "none_answered",
    Meaning.OF_THE_ACCOUNT: "in_a_row",
}


class RefusedError(ProviderError):
    """An answer was refused, by a status or an error: a result of its case, and no outage.

    Args:
        said: the endpoint's words.
        message: one line for the user, where nobody makes a result of it.
        status: HTTP status, where it says so.
    """

    def __init__(self, said: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message, status=status, retryable=False)
        self.said = said
        self.body: Any = None
        """What came, as evidence."""
        self.headers: Mapping[str, str] = {}

    def evidence(self) -> JSONObject:
        """Return what is kept of it in artifacts, beside the request."""
        found: JSONObject = {
            "raw_response": self.body,
            "status": self.status,
            **header_evidence(self.headers),
        }
        return {name: value for name, value in found.items() if value is not None}


def provider_error(error: Exception, *, endpoint: str) -> ProviderError | None:
    """Return what an SDK's exception means; None for one that is not the endpoint's doing.

    Args:
        error: raised by the SDK; read by its attributes, so that other clients' errors are too.
        endpoint: name of the endpoint, for the message.
    """
    status = getattr(error, "status_code", None)
    if type(status) is int:
        body, headers = answer_in(error)
        found = status_error(
            status, headers=headers, body=body, endpoint=endpoint, hint=" It usually ends in /v1"
        )
        if isinstance(found, RefusedError):
            found.body, found.headers = body, headers
        return found
    if (transport := transport_error(error, endpoint)) is not None:
        return transport
    sdk: Any = sys.modules.get("openai")
    if sdk is None or not isinstance(error, sdk.APIError):
        return None
    if isinstance(error, sdk.APITimeoutError):
        return EndpointTimeoutError(f"{endpoint} did not answer in time", retryable=True)
    if isinstance(error, sdk.APIConnectionError):
        cause = error.__cause__
        why = f": {cause or type(cause).__name__}" if cause is not None else ""
        return ProviderError(f"{endpoint} cannot be reached{why}", retryable=True)
    return ProviderError(f"{endpoint}: {' '.join(str(error).split())}", retryable=False)


def answer_in(error: Exception) -> tuple[Any, Mapping[str, str]]:
    """Return the body and the headers of the answer that an SDK's exception was raised for."""
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or {}
    content = getattr(response, "content", None)
    if isinstance(content, bytes) and content.strip():
        return content, headers
    body = getattr(error, "body", None)
    if body is None or body == b"":
        said = "" if content is not None else str(error)
        return said, headers
    codes = {name: getattr(error, name, None) for name in ("code", "type", "param")}
    known = {name: value for name, value in codes.items() if isinstance(value, str)}
    return ({**known, **body} if isinstance(body, dict) else body), headers


def status_error(
    status: int, *, headers: Mapping[str, str], body: Any, endpoint: str, hint: str = ""
) -> ProviderError:
    """Return what an answer of a status other than 2xx means.

    Args:
        status: of the answer.
        headers: of the answer.
        body: of the answer: bytes, text, or the JSON in it.
        endpoint: its name, for the message.
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
            confirm="none_answered",
        )
    told = told_by(body, status=status)
    said = told.words
    meaning = meaning_of_error(told)
    if status in _MISPLACED and meaning is Meaning.OF_ALL and not _is_explained(told):
        said = f"{said} (is the address right?{hint})"
    return _error(
        told,
        meaning,
        f"{endpoint} answered {status}: {said}",
        retry_after=told.wait if (asked := retry_after(headers)) is None else asked,
        rate_limit=dict(rate_limit(headers)) or None,
    )


def not_json(start: str, *, endpoint: str, status: int | None) -> ProviderError:
    """Return what an answer means that is not JSON, of which this is the text or its beginning."""
    shown = page_title(start) or start[:80]
    return ProviderError(
        f"{endpoint} answered with something that is not JSON: {shown[:80]!r}",
        status=status,
        retryable=True,
    )


def error_in_body(error: Any, *, endpoint: str, streamed: bool = False) -> ProviderError:
    """Return the failure that stands in the body of an answer of status 200.

    Args:
        error: the body's own account of it.
        endpoint: its name, for the message.
        streamed: whether the answer had begun: then it may be asked for again, unless the error
            says otherwise.
    """
    told = told_by(error if isinstance(error, dict) else {"message": error}, begun=streamed)
    said = f"{endpoint} answered with an error: {told.words}"
    found = _error(told, meaning_of_error(told), said, had_begun=streamed)
    if isinstance(found, RefusedError):
        found.body = {"error": error}
    return found


def broken_off(why: object, *, endpoint: str) -> ProviderError:
    """Return what an answer means that the endpoint itself calls failed.

    Args:
        why: its own account of it: an error, or the word for how the answer ended.
        endpoint: its name, for the message.
    """
    if isinstance(why, str):
        return ProviderError(
            f"{endpoint} broke its answer off: it ended with '{why}'",
            retryable=True,
            had_begun=True,
        )
    return error_in_body(why, endpoint=endpoint, streamed=True)


def _error(told: Told, meaning: Meaning, message: str, **more: Any) -> ProviderError:
    if meaning is Meaning.REFUSED:
        said = "" if told.words == NOTHING else told.words
        return RefusedError(said, message, status=told.status)
    confirm = _CONFIRMED_BY.get(meaning)
    return ProviderError(
        message,
        status=told.status,
        retryable=meaning is Meaning.PASSING,
        fatal=confirm is not None,
        confirm=confirm,
        **more,
    )


def _is_explained(told: Told) -> bool:
    """Return whether a server that does not know an address would not say it so."""
    return bool(
        told.codes - {"not_found", "notfound", "invalid_request_error", "404", "405", "501"}
    )
