"""A client that the user gave, of the OpenAI SDK or a stand-in for one: its call and its keys.

The SDK is not imported here: its objects are recognised by the package of their classes. A client
is used as it is and left open; its idle connections are closed when a run is done with them, so
that it can go on to another event loop.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

from themis.adapters.model_apis.answers import decoded_answer
from themis.adapters.model_apis.api import Api
from themis.adapters.model_apis.own_client import EndpointAnswer
from themis.adapters.model_apis.streaming import read_pieces
from themis.adapters.transport.jsonable import jsonable
from themis.adapters.transport.loop_clients import close_idle_connections
from themis.adapters.transport.secrets import (
    Secrets,
    environments_proxy_secrets,
    secret_headers,
)
from themis.core.base import JSONObject
from themis.core.errors import DefinitionError

_RESOURCES: Mapping[str, str] = {
    "responses": "responses",
    "chat_completions": "chat.completions",
}
"""The part of a client that calls each API."""
_MOST_SECRETS = 64


class GivenClient:
    """The client's call of one API, on one event loop.

    Args:
        client: an ``AsyncOpenAI`` or a stand-in for one.
        api: which API is called.
        name: the endpoint's name, for messages.
    """

    def __init__(self, client: Any, *, api: Api, name: str) -> None:
        self._client = client.with_options(max_retries=0) if is_sdk(client) else client
        resource = resource_of(self._client, api)
        # The raw answer has the headers, and is read without the SDK's models in between.
        source = resource.with_raw_response if is_sdk(resource) else resource
        self._create = source.create
        self._api = api
        self._name = name
        self._names = _names(self._create)
        self._known = dict.fromkeys(environments_proxy_secrets())
        self._secrets = Secrets(self._known)

    async def ask(self, body: JSONObject) -> EndpointAnswer:
        """Send one request and return what was answered; raise what the client raises."""
        response = self._create(**self._arguments(body))
        if inspect.isawaitable(response):
            response = await response
        headers = _headers(response)
        if not is_sdk(response) or not hasattr(response, "http_response"):
            told = jsonable(response) if isinstance(response, dict) else response
            return EndpointAnswer(told, headers, None, time.perf_counter())
        raw = response.http_response
        hide = self.secrets(raw).hide_in_answer
        if "stream" not in body:
            data = decoded_answer(hide(raw.content), endpoint=self._name, status=raw.status_code)
            return EndpointAnswer(data, headers, None, time.perf_counter())
        try:
            data, first, ended = await read_pieces(
                raw.aiter_bytes(), api=self._api, endpoint=self._name, hide=hide
            )
        finally:
            await raw.aclose()
        return EndpointAnswer(data, headers, first, ended)

    async def aclose(self) -> None:
        """Close what would be dead on another event loop, and nothing else."""
        if is_sdk(self._client):
            await close_idle_connections(self._client)

    def _arguments(self, body: JSONObject) -> dict[str, Any]:
        """Return the body as arguments; a field that the SDK does not know is in ``extra_body``.

        A stand-in that has no ``extra_body`` either is not given them.
        """
        if self._names is None:
            return body
        known = {name: value for name, value in body.items() if name in self._names}
        extra = {name: value for name, value in body.items() if name not in self._names}
        return {**known, "extra_body": extra} if extra and "extra_body" in self._names else known

    def secrets(self, source: object = None) -> Secrets:
        """Return what to hide of what came back: of an answer or an error that knows its request.

        Some clients get their keys from a function, and anew for each request.
        """
        key = getattr(self._client, "api_key", None)
        found = secret_headers(getattr(_request_of(source), "headers", {}))
        if isinstance(key, str) and key:
            found.append(key)
        if new := [value for value in found if value not in self._known]:
            self._known.update(dict.fromkeys(new))
            while len(self._known) > _MOST_SECRETS:  # signatures differ in each request
                del self._known[next(iter(self._known))]
            self._secrets = Secrets(self._known)
        return self._secrets


def check_client(client: Any, api: Api) -> None:
    """Refuse a client that cannot be asked, before a run asks it once a case.

    Raises:
        DefinitionError: it blocks, or it has no such call.
    """
    if is_sdk(client) and not hasattr(client, "__aenter__"):
        raise DefinitionError(
            f"client is a {type(client).__name__}, which blocks; give an "
            f"Async{type(client).__name__}",
            field="client",
        )
    if is_sdk(client) or callable(getattr(resource_of(client, api), "create", None)):
        return
    raise DefinitionError(
        f"client is a {type(client).__name__} without {_RESOURCES[api.mode]}.create(): give an "
        "AsyncOpenAI, or a stand-in that has it",
        field="client",
    )


def resource_of(client: Any, api: Api) -> Any:
    """Return the part of a client that calls an API; None where it has none."""
    found = client
    for name in _RESOURCES[api.mode].split("."):
        found = getattr(found, name, None)
    return found


def is_sdk(value: object) -> bool:
    """Return whether an object is the SDK's own, or of a class derived from it."""
    return any(base.__module__.partition(".")[0] == "openai" for base in type(value).__mro__)


def _request_of(source: object) -> Any:
    """Return the request as it was sent that an answer or an error knows of; None for none."""
    try:
        return getattr(source, "request", None)
    except RuntimeError:  # the HTTP library's way to say that there is none
        return None


def _headers(response: Any) -> Mapping[str, Any]:
    headers = getattr(response, "headers", None)
    return headers if headers is not None and hasattr(headers, "items") else {}


def _names(create: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of a call's arguments; None where it takes any."""
    known = inspect.signature(create).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return None
    return frozenset(known)
