"""Reading an endpoint's answer, of any API, given as an SDK object, a stand-in or plain data.

It keeps what came as evidence and decides nothing about its worth: an empty or cut-off answer is
an answer. One that has no place for an answer, or something there that no answer is, is refused.

The reason why an answer ended is given in one set of words, whatever the API: "stop", "length",
"refusal", "content_filter", "tool_calls", or else the endpoint's own. Some servers of the Responses
API report no truncation; there an answer that used all of the request's ``max_output_tokens`` is
"length".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from themis.adapters.model_apis.api import Api
from themis.adapters.model_apis.sampling import OUTPUT_CAP
from themis.adapters.transport.endpoint_errors import RefusedError, error_in_body, not_json
from themis.adapters.transport.jsonable import jsonable
from themis.adapters.transport.kept_headers import header_evidence
from themis.adapters.transport.lenient_json import read_json
from themis.adapters.transport.meanings import reason_of
from themis.adapters.transport.model_answers import Said, field, first_of
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import ProviderError

_MOST_TOKENS = 2**53  # what is above it is no count
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an endpoint."""

    said: Said
    token_usage: dict[str, int] | None
    latency_ms: float
    artifacts: JSONObject

    @property
    def output(self) -> JSONValue:
        """The text or, of an answer that is tool calls only, the list of the calls."""
        return self.said.output


def decoded_answer(content: bytes, *, endpoint: str, status: int | None) -> dict[str, Any]:
    """Return the JSON object in an answer's bytes.

    Raises:
        ProviderError: there is none.
    """
    try:
        data = read_json(content)
    except ValueError:
        start = content[:4096].decode("utf-8", "replace")
        raise not_json(start, endpoint=endpoint, status=status) from None
    if not isinstance(data, dict):
        raise ProviderError(
            f"{endpoint} answered with a JSON {type(data).__name__}, not an object", retryable=True
        )
    return data


def read_answer(
    source: Any,
    *,
    api: Api,
    headers: Mapping[str, str],
    request: JSONObject,
    latency_ms: float,
    endpoint: str,
    first_token_ms: float | None = None,
) -> Answer:
    """Return what an endpoint answered.

    Args:
        source: the answer: JSON data, or an object with the SDK's attributes.
        api: the API that was called.
        headers: of the answer, by their names in lower case.
        request: the body as sent.
        latency_ms: milliseconds from request to the whole answer.
        endpoint: its name, for messages.
        first_token_ms: milliseconds from request to the first token, where it was streamed.

    Raises:
        ProviderError: the answer tells of an error, or has no place for an answer.
    """
    if error := field(source, "error"):
        raise error_in_body(jsonable(error), endpoint=endpoint)
    usage = _token_usage(api.usage(source))
    said = api.read(source, endpoint)
    if not api.tells_cuts and said.reason == reason_of("stop") and _is_used_up(request, usage):
        said = replace(said, reason=reason_of("length"))
    artifacts: JSONObject = {
        "request": request,
        "raw_response": source if type(source) is dict else jsonable(source),
        **header_evidence(headers, request_id=field(source, "id")),
        **said.evidence(),
    }
    if first_token_ms:
        artifacts["first_token_ms"] = first_token_ms
    return Answer(said, usage, latency_ms, artifacts)


def read_refusal(
    failure: ProviderError,
    body: Any,
    *,
    api: Api,
    headers: Mapping[str, str],
    request: JSONObject,
    latency_ms: float,
    endpoint: str,
) -> Answer | None:
    """Return the answer that a failure is, where it tells that the model refused; else None.

    Args:
        failure: what came, as an error.
        body: the JSON that came with it; a whole answer in it is read as one.
        api: the API that was called.
        headers: of what came, by their names in lower case.
        request: the body as sent.
        latency_ms: milliseconds from request to refusal.
        endpoint: its name, for messages.
    """
    said = _refused_in(body, api, endpoint)
    if said is None and isinstance(failure, RefusedError):
        said = Said(text=failure.said, reason=reason_of("content_filter"))
    if said is None:
        return None
    artifacts: JSONObject = {
        "request": request,
        "raw_response": body,
        "status": failure.status,
        **header_evidence(headers),
        **said.evidence(),
    }
    kept = {name: value for name, value in artifacts.items() if value is not None}
    return Answer(said, _token_usage(api.usage(body)), latency_ms, kept)


def _refused_in(body: Any, api: Api, endpoint: str) -> Said | None:
    """Return the refusal that a whole answer is that came with an error's status."""
    if not isinstance(body, dict):
        return None
    try:
        said = api.read(body, endpoint)
    except ProviderError:
        return None
    return said if said.is_refusal else None


def _is_used_up(request: JSONObject, usage: dict[str, int] | None) -> bool:
    """Return whether an answer took all the output tokens that its request allowed."""
    cap = request.get(OUTPUT_CAP)
    return type(cap) is int and (usage or {}).get("completion_tokens", 0) >= cap


def _token_usage(usage: Any) -> dict[str, int] | None:
    if usage is None:
        return None
    counts = {
        "prompt_tokens": _first(usage, "prompt_tokens", "input_tokens"),
        "completion_tokens": _first(usage, "completion_tokens", "output_tokens"),
        "cached_tokens": _first(
            first_of(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens"
        ),
        "reasoning_tokens": _first(
            first_of(usage, "completion_tokens_details", "output_tokens_details"),
            "reasoning_tokens",
        ),
    }
    return {name: count for name, count in counts.items() if count is not None} or None


def _first(source: Any, *names: str) -> int | None:
    """Return the first count: whole, if a float or digits, and not below zero."""
    found = first_of(source, *names)
    whole = isinstance(found, float) and found.is_integer()
    if whole or (isinstance(found, str) and _DIGITS.fullmatch(found)):
        found = int(found)
    return found if type(found) is int and 0 <= found <= _MOST_TOKENS else None
