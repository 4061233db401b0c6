"""One OpenAI-compatible endpoint: its address, its client, and a call.

The SDK is imported by the first call, its own retries are off, and each event loop has a client of
its own. A client that the user gave is used as it is and left open; its idle connections are closed
when a run is done with them, so that it can go on to another event loop. Nothing here knows of
cases, prompts or judges.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from themis.adapters.addresses import normalised_url
from themis.adapters.connections import (
    ConnectionOptions,
    check_sendable,
    is_reference,
    read_options,
    resolve_reference,
)
from themis.adapters.failures import provider_error
from themis.adapters.hiding import Secrets, environments_proxy_secrets, secret_headers
from themis.adapters.loop_clients import LoopClients, close_idle_connections
from themis.adapters.requests import ApiMode
from themis.adapters.responses import Answer, decoded_answer, read_answer
from themis.adapters.streaming import read_stream
from themis.adapters.threads import in_daemon_thread
from themis.core.base import JSONObject
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError

OPENAI_URL = "https://api.openai.com/v1"


_RESOURCES: Mapping[ApiMode, str] = {
    "responses": "responses",
    "chat_completions": "chat.completions",
}
"""The part of a client that calls each API."""
_DRAIN_SECONDS = 0.25
"""How long the end of a stream is waited for after its last event, to use its connection again."""
_LONGEST = 600  # of an error's message, in characters
_MOST_SECRETS = 64


class _Call:
    """The SDK's call on one event loop, and what must not be shown of its client."""

    def __init__(self, client: Any, create: Callable[..., Any], known: Iterable[str]) -> None:
        self.client = client
        self.create = create
        self.names = _names(create)
        self._known = dict.fromkeys(known)
        self._secrets = Secrets(self._known)

    def secrets(self, sent: Any) -> Secrets:
        """Return what to hide of what came back for a request as it was sent, None for a stand-in.

        Some clients get their keys from a function, and anew for each request.
        """
        key = getattr(self.client, "api_key", None)
        found = secret_headers(getattr(sent, "headers", {}))
        if isinstance(key, str) and key:
            found.append(key)
        if new := [value for value in found if value not in self._known]:
            self._known.update(dict.fromkeys(new))
            while len(self._known) > _MOST_SECRETS:  # signatures differ in each request
                del self._known[next(iter(self._known))]
            self._secrets = Secrets(self._known)
        return self._secrets


class Endpoint:
    """Where requests go, and how.

    Args:
        provider: "openai" or "vllm"; the extra that brings the SDK, and the limits' key.
        api_mode: which API is called.
        base_url: its address; None for OpenAI's own, or what ``OPENAI_BASE_URL`` says.
        api_key: its key, or ``env:NAME``; None for what ``OPENAI_API_KEY`` says.
        client: an ``AsyncOpenAI`` or a stand-in for one.
        client_options: ``headers``, ``proxy``, ``verify``, ``timeout`` (seconds) of a made client.
    """

    def __init__(
        self,
        *,
        provider: str,
        api_mode: ApiMode,
        base_url: str | None,
        api_key: str | None,
        client: Any,
        client_options: Mapping[str, Any],
    ) -> None:
        self._options = _checked_options(client_options, client)
        if client is None and importlib.util.find_spec("openai") is None:
            raise MissingExtraError(extra=provider, needed_for=f"themis.adapters.{provider}")
        if client is not None and _is_sdk(client) and not hasattr(client, "__aenter__"):
            raise DefinitionError(
                f"client is a {type(client).__name__}, which blocks; give an "
                f"Async{type(client).__name__}",
                field="client",
            )
        if client is not None:
            _check_stand_in(client, api_mode)
        _check_key(api_key)
        address = base_url or getattr(client, "base_url", None) or _environment_url()
        self.provider = provider
        self.api_mode = api_mode
        self.base_url = normalised_url(str(address))
        _check_no_query(str(address))
        _check_path(self.base_url)
        self._name = f"{provider} at {self.base_url}"
        self._address = str(address)
        self._api_key = api_key
        self._given = client
        self._calls = LoopClients(self._new_call, self._close)

    @property
    def provider_key(self) -> str:
        """The name by which limits are set for this endpoint."""
        return f"{self.provider}:{self.base_url}"

    async def ask(self, body: JSONObject) -> Answer:
        """Send one request and return the answer.

        Raises:
            ProviderError: the endpoint refused, failed, or gave what cannot be read.
        """
        async with self._calls.current() as call:
            failure: ProviderError | None
            try:
                return await self._asked(call, body)
            except Exception as error:
                failure = self._failure(error, call)
                if failure is None:
                    raise
            # Raised out here, so that it carries no context: the SDK's error may quote a key.
            raise failure

    async def aopen(self) -> None:
        """Load the SDK beside the loop, which it would hold up for a second or two."""
        if self._given is None and "openai" not in sys.modules:
            await in_daemon_thread(lambda: importlib.import_module("openai"))

    async def aclose(self) -> None:
        """Let go of this event loop's connections: they are closed when no call uses them."""
        await self._calls.aclose()

    async def _asked(self, call: _Call, body: JSONObject) -> Answer:
        started = time.perf_counter()
        response = call.create(**_arguments(call, body))
        if inspect.isawaitable(response):
            response = await response
        secrets = call.secrets(_request_of(getattr(response, "http_response", None)))
        data, first, ended = await self._data(response, secrets, streamed="stream" in body)
        return read_answer(
            data,
            api_mode=self.api_mode,
            headers=_headers(response, secrets),
            request=body,
            latency_ms=(ended - started) * 1000,
            first_token_ms=None if first is None else (first - started) * 1000,
            endpoint=self._name,
        )

    def _failure(self, error: Exception, call: _Call) -> ProviderError | None:
        """Return what a failure means; None for one that is not the endpoint's doing."""
        if isinstance(error, ProviderError):
            found: ProviderError | None = error
        elif self._given is not None and str(error) == "Event loop is closed":
            found = ProviderError(
                f"a connection to {self._name}, kept by the client given, is of an event loop that "
                "has ended: give each event loop a client of its own",
                retryable=True,
            )
        else:
            found = provider_error(error, endpoint=self._name)
        if found is not None:
            secrets = call.secrets(_request_of(error))
            found.args = tuple(secrets.hide(str(one))[:_LONGEST] for one in found.args)
        return found

    async def _data(
        self, response: Any, secrets: Secrets, *, streamed: bool
    ) -> tuple[Any, float | None, float]:
        """Return the answer's JSON data, when its first token came, and when it was whole.

        A stand-in's answer is returned as it is.
        """
        if not _is_sdk(response) or not hasattr(response, "http_response"):
            return response, None, time.perf_counter()
        raw = response.http_response
        hide = secrets.hide_in_answer
        if not streamed:
            data = decoded_answer(hide(raw.content), endpoint=self._name, status=raw.status_code)
            return data, None, time.perf_counter()
        try:
            pieces = raw.aiter_bytes()
            data, first = await read_stream(
                pieces, api_mode=self.api_mode, endpoint=self._name, hide=hide
            )
            ended = time.perf_counter()
            # A connection serves again only when all of its answer was read. Some servers hold it
            # open after the last event: then it is given up.
            with suppress(Exception):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    async for _ in pieces:
                        pass
            return data, first, ended
        finally:
            await raw.aclose()

    def _new_call(self) -> _Call:
        client = self._given
        if client is None:
            client = self._make_client()
        elif _is_sdk(client):
            client = client.with_options(max_retries=0)
        resource = _resource(client, self.api_mode)
        # The raw answer has the headers, and is read without the SDK's models in between.
        source = resource.with_raw_response if _is_sdk(resource) else resource
        known = environments_proxy_secrets() if self._given is not None else self._options.secrets()
        return _Call(client, source.create, known)

    async def _close(self, call: _Call) -> None:
        if self._given is None:
            await call.client.close()
        elif _is_sdk(call.client):
            await close_idle_connections(call.client)

    def _make_client(self) -> Any:
        import openai

        api_key = (
            os.environ.get("OPENAI_API_KEY", "")
            if self._api_key is None
            else resolve_reference(self._api_key, "api_key")
        ).strip()
        if not api_key:
            if self.base_url == OPENAI_URL:
                raise ProviderError(
                    f"no API key for {OPENAI_URL}: set OPENAI_API_KEY, or give api_key=", fatal=True
                )
            api_key = "none"  # a server of one's own asks for none, and the SDK wants one
        check_sendable(api_key, "api_key")
        # How long an answer may take is the engine's business, unless the user said it here.
        return openai.AsyncOpenAI(
            api_key=api_key,
            base_url=self._address,
            max_retries=0,
            timeout=self._options.timeouts(),
            default_headers=self._options.sent_headers(),
            http_client=self._options.http_client(),
        )


def _check_stand_in(client: Any, api_mode: ApiMode) -> None:
    """Refuse a client that cannot be asked, before a run asks it once a case."""
    if _is_sdk(client) or callable(getattr(_resource(client, api_mode), "create", None)):
        return
    raise DefinitionError(
        f"client is a {type(client).__name__} without {_RESOURCES[api_mode]}.create(): give an "
        "AsyncOpenAI, or a stand-in that has it",
        field="client",
    )


def _resource(client: Any, api_mode: ApiMode) -> Any:
    """Return the part of a client that calls an API; None where it has none."""
    found = client
    for name in _RESOURCES[api_mode].split("."):
        found = getattr(found, name, None)
    return found


def _check_key(api_key: object) -> None:
    """Refuse what is no key, without showing it."""
    if api_key is None or (isinstance(api_key, str) and not api_key.startswith("env:")):
        return
    if not isinstance(api_key, str):
        raise DefinitionError(
            f"api_key is a {type(api_key).__name__}: must be text, the key or 'env:NAME'",
            field="api_key",
        )
    if not is_reference(api_key):
        raise DefinitionError(
            "api_key: what stands after 'env:' is no environment variable's name",
            field="api_key",
        )


def _check_no_query(url: str) -> None:
    if urlsplit(url).query:
        raise DefinitionError(
            f"base_url of {urlsplit(url).hostname} holds a query, which would stand in the midst "
            "of each request's address: leave it out, and give "
            'client=AsyncOpenAI(base_url=..., default_query={"name": "value"})',
            field="base_url",
        )


def _environment_url() -> str:
    return os.environ.get("OPENAI_BASE_URL") or OPENAI_URL


def _checked_options(options: Mapping[str, Any], client: Any) -> ConnectionOptions:
    found = read_options(options)
    if options and client is not None:
        raise DefinitionError(
            "client_options are for a client that Themis makes; set them on the client given",
            field="client_options",
        )
    return found


def _is_sdk(value: object) -> bool:
    """Return whether an object is the SDK's own, or of a class derived from it."""
    return any(base.__module__.partition(".")[0] == "openai" for base in type(value).__mro__)


def _names(create: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of a call's arguments; None where it takes any."""
    known = inspect.signature(create).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return None
    return frozenset(known)


def _arguments(call: _Call, body: JSONObject) -> dict[str, Any]:
    """Return the body as arguments; what the SDK has no argument for travels as extra.

    A stand-in that takes no extra either is not told.
    """
    if call.names is None:
        return body
    arguments = {name: value for name, value in body.items() if name in call.names}
    extra = {name: value for name, value in body.items() if name not in call.names}
    return {**arguments, "extra_body": extra} if extra and "extra_body" in call.names else arguments


def _request_of(source: object) -> Any:
    """Return the request as it was sent that an answer or an error knows of; None for none."""
    try:
        return getattr(source, "request", None)
    except RuntimeError:  # the HTTP library's way to say that there is none
        return None


def _headers(response: Any, secrets: Secrets) -> dict[str, str]:
    """Return an answer's headers by their names in lower case, without the values of keys."""
    headers = getattr(response, "headers", None)
    if headers is None or not hasattr(headers, "items"):
        return {}
    return {str(name).lower(): secrets.hide(str(value)) for name, value in headers.items()}


def _check_path(base_url: str) -> None:
    """Refuse the address of a call in place of that of the endpoint."""
    for call in ("/chat/completions", "/responses", "/completions"):
        if base_url.endswith(call):
            raise DefinitionError(
                f"base_url = {base_url!r} is that of a call: leave out {call!r}",
                field="base_url",
                value=base_url,
            )
