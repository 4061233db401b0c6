"""One OpenAI-compatible endpoint: its address, its client, and a call.

The SDK is imported by the first call, its own retries are off, and each event loop has a client of
its own. A client that the user gave is used as it is and left open. Nothing here knows of cases,
prompts or judges.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import orjson

from themis.adapters.failures import provider_error
from themis.adapters.jsonable import jsonable
from themis.adapters.requests import ApiMode
from themis.adapters.responses import Answer, read_answer
from themis.core.base import JSONObject
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError, did_you_mean

OPENAI_URL = "https://api.openai.com/v1"
CLIENT_OPTIONS = ("headers", "proxy", "timeout", "verify")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONNECT_SECONDS = 30.0


class _Call(NamedTuple):
    """The SDK's call, and the names of its arguments."""

    create: Callable[..., Any]
    names: frozenset[str] | None


class Endpoint:
    """Where requests go, and how.

    Args:
        provider: "openai" or "vllm"; the extra that brings the SDK, and the limits' key.
        api_mode: which API is called.
        base_url: its address; None for OpenAI's own, or what ``OPENAI_BASE_URL`` says.
        api_key: its key; None for what ``OPENAI_API_KEY`` says.
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
        _check_options(client_options, client)
        if client is None and importlib.util.find_spec("openai") is None:
            raise MissingExtraError(extra=provider, needed_for=f"themis.adapters.{provider}")
        if client is not None and _is_sdk(client) and not hasattr(client, "__aenter__"):
            raise DefinitionError(
                f"client is a {type(client).__name__}, which blocks; give an "
                f"Async{type(client).__name__}",
                field="client",
            )
        address = base_url or getattr(client, "base_url", None) or _environment_url()
        self.provider = provider
        self.api_mode = api_mode
        self.base_url = normalised_url(str(address))
        self._address = str(address)
        self._api_key = api_key
        self._given = client
        self._options = dict(client_options)
        self._calls: WeakKeyDictionary[Any, _Call] = WeakKeyDictionary()
        self._made: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    @property
    def provider_key(self) -> str:
        """The name by which limits are set for this endpoint."""
        return f"{self.provider}:{self.base_url}"

    async def ask(self, body: JSONObject) -> Answer:
        """Send one request and return the answer.

        Raises:
            ProviderError: the endpoint refused, failed, or gave what cannot be read.
        """
        call = self._call()
        started = time.perf_counter()
        try:
            response = call.create(**_arguments(call.names, body))
            if inspect.isawaitable(response):
                response = await response
        except Exception as error:
            found = provider_error(error, endpoint=self._name)
            if found is None:
                raise
            raise found from error
        latency_ms = (time.perf_counter() - started) * 1000
        return read_answer(
            _data(response, self._name),
            api_mode=self.api_mode,
            headers=_headers(response),
            request=body,
            latency_ms=latency_ms,
            endpoint=self._name,
        )

    async def aclose(self) -> None:
        """Close the client that this event loop's calls were made with, if it was made here."""
        loop = asyncio.get_running_loop()
        self._calls.pop(loop, None)
        client = self._made.pop(loop, None)
        if client is not None:
            await client.close()

    @property
    def _name(self) -> str:
        return f"{self.provider} at {self.base_url}"

    def _call(self) -> _Call:
        """Return the SDK's call, made once for each event loop."""
        loop = asyncio.get_running_loop()
        call = self._calls.get(loop)
        if call is None:
            client = self._given
            if client is None:
                client = self._made[loop] = self._make_client()
            elif _is_sdk(client):
                client = client.with_options(max_retries=0)
            resource = client.responses if self.api_mode == "responses" else client.chat.completions
            # The raw answer has the headers, and is read without the SDK's models in between.
            source = resource.with_raw_response if _is_sdk(resource) else resource
            call = self._calls[loop] = _Call(source.create, _names(source.create))
        return call

    def _make_client(self) -> Any:
        import openai

        api_key = self._api_key or os.environ.get("OPENAI_API_KEY")
        if not api_key:
            if self.base_url == OPENAI_URL:
                raise ProviderError(
                    f"no API key for {OPENAI_URL}: set OPENAI_API_KEY, or give api_key=", fatal=True
                )
            api_key = "none"  # a server of one's own asks for none, and the SDK wants one
        # How long an answer may take is the engine's business; a connection that is not made in
        # half a minute will not be made.
        timeout = openai.Timeout(self._options.get("timeout"), connect=_CONNECT_SECONDS)
        transport = {key: self._options[key] for key in ("proxy", "verify") if key in self._options}
        http_client = openai.DefaultAsyncHttpxClient(**transport) if transport else None
        return openai.AsyncOpenAI(
            api_key=api_key,
            base_url=self._address,
            max_retries=0,
            timeout=timeout,
            default_headers=self._options.get("headers"),
            http_client=http_client,
        )


def normalised_url(url: str) -> str:
    """Return an address in one form: lower case host, no default port, user, query or last slash.

    Raises:
        DefinitionError: it is no http address.
    """
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise DefinitionError(
            f"base_url = {url!r}: must be an address such as 'http://localhost:8000/v1'",
            field="base_url",
            value=url,
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = host if port in (None, _DEFAULT_PORTS[parts.scheme.lower()]) else f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), shown, parts.path.rstrip("/"), "", ""))


def _environment_url() -> str:
    return os.environ.get("OPENAI_BASE_URL") or OPENAI_URL


def _check_options(options: Mapping[str, Any], client: Any) -> None:
    for name in options:
        if name not in CLIENT_OPTIONS:
            raise DefinitionError(
                f"client_options has no key '{name}'{did_you_mean(str(name), CLIENT_OPTIONS)}",
                field="client_options",
                value=name,
            )
    if options and client is not None:
        raise DefinitionError(
            "client_options are for a client that Themis makes; set them on the client given",
            field="client_options",
        )


def _is_sdk(value: object) -> bool:
    """Return whether an object is the SDK's own, or of a class derived from it."""
    return any(base.__module__.partition(".")[0] == "openai" for base in type(value).__mro__)


def _names(create: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of a call's arguments; None where it takes any."""
    known = inspect.signature(create).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return None
    return frozenset(known)


def _arguments(names: frozenset[str] | None, body: JSONObject) -> dict[str, Any]:
    """Return the body as arguments; what the SDK has no argument for travels as extra."""
    if names is None:
        return body
    arguments = {name: value for name, value in body.items() if name in names}
    extra = {name: value for name, value in body.items() if name not in names}
    return {**arguments, "extra_body": extra} if extra else arguments


def _headers(response: Any) -> Mapping[str, str]:
    headers = getattr(response, "headers", None)
    return dict(headers.items()) if headers is not None and hasattr(headers, "items") else {}


def _data(response: Any, endpoint: str) -> Any:
    """Return the answer's JSON data, where it is the SDK's raw answer, else the object itself."""
    if not _is_sdk(response) or not hasattr(response, "http_response"):
        return response
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        start = jsonable(response.content[:80].decode("utf-8", "replace"))
        raise ProviderError(
            f"{endpoint} answered with something that is not JSON: {start!r}",
            status=response.http_response.status_code,
            retryable=True,
        ) from None
    if not isinstance(data, dict):
        raise ProviderError(
            f"{endpoint} answered with a JSON {type(data).__name__}, not an object", retryable=True
        )
    return data
