"""One OpenAI-compatible endpoint: its address, its client, and a call.

The SDK is imported by the first call, its own retries are off, and each event loop has a client of
its own. A client that the user gave is used as it is and left open. Nothing here knows of cases,
prompts or judges.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import orjson

from themis.adapters.connections import (
    ConnectionOptions,
    is_reference,
    read_options,
    resolve_reference,
)
from themis.adapters.failures import provider_error
from themis.adapters.hiding import Secrets
from themis.adapters.jsonable import jsonable
from themis.adapters.requests import ApiMode
from themis.adapters.responses import Answer, read_answer
from themis.adapters.streaming import read_stream
from themis.adapters.threads import in_daemon_thread
from themis.core.base import JSONObject
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError

OPENAI_URL = "https://api.openai.com/v1"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Call(NamedTuple):
    """The SDK's call, the names of its arguments, and what must not be shown of its client."""

    create: Callable[..., Any]
    names: frozenset[str] | None
    secrets: Secrets


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
        if api_key is not None and api_key.startswith("env:") and not is_reference(api_key):
            raise DefinitionError(
                "api_key: what stands after 'env:' is no environment variable's name",
                field="api_key",
            )
        address = base_url or getattr(client, "base_url", None) or _environment_url()
        self.provider = provider
        self.api_mode = api_mode
        self.base_url = normalised_url(str(address))
        self._name = f"{provider} at {self.base_url}"
        self._address = str(address)
        self._api_key = api_key
        self._given = client
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
        failure: ProviderError | None
        try:
            return await self._asked(call, body)
        except Exception as error:
            failure = self._failure(error, call.secrets)
            if failure is None:
                raise
        # Raised out here, so that it carries no context: the SDK's error may quote a key.
        raise failure

    async def aopen(self) -> None:
        """Load the SDK beside the loop, which it would hold up for a second or two."""
        if self._given is None and "openai" not in sys.modules:
            await in_daemon_thread(lambda: importlib.import_module("openai"))

    async def aclose(self) -> None:
        """Close the client that this event loop's calls were made with, if it was made here."""
        loop = asyncio.get_running_loop()
        self._calls.pop(loop, None)
        client = self._made.pop(loop, None)
        if client is not None:
            await client.close()

    async def _asked(self, call: _Call, body: JSONObject) -> Answer:
        started = time.perf_counter()
        response = call.create(**_arguments(call.names, body))
        if inspect.isawaitable(response):
            response = await response
        data, first = await self._data(response, call.secrets, streamed="stream" in body)
        ended = time.perf_counter()
        return read_answer(
            data,
            api_mode=self.api_mode,
            headers=_headers(response, call.secrets),
            request=body,
            latency_ms=(ended - started) * 1000,
            first_token_ms=None if first is None else (first - started) * 1000,
            endpoint=self._name,
        )

    def _failure(self, error: Exception, secrets: Secrets) -> ProviderError | None:
        """Return what a failure means; None for one that is not the endpoint's doing."""
        found = (
            error
            if isinstance(error, ProviderError)
            else provider_error(error, endpoint=self._name)
        )
        if found is not None:
            found.args = tuple(secrets.hide(str(one)) for one in found.args)
        return found

    async def _data(
        self, response: Any, secrets: Secrets, *, streamed: bool
    ) -> tuple[Any, float | None]:
        """Return the answer's JSON data and when its first token came; a stand-in as it is."""
        if not _is_sdk(response) or not hasattr(response, "http_response"):
            return response, None
        raw = response.http_response
        if not streamed:
            return self._decoded(secrets.hide_in_answer(raw.content), raw.status_code), None
        try:
            # One that does not stream answers whole, whatever it was asked.
            if "application/json" in raw.headers.get("content-type", ""):
                whole = secrets.hide_in_answer(await raw.aread())
                return self._decoded(whole, raw.status_code), None
            return await read_stream(
                raw.aiter_bytes(),
                api_mode=self.api_mode,
                endpoint=self._name,
                hide=secrets.hide_in_answer,
            )
        finally:
            await raw.aclose()

    def _decoded(self, content: bytes, status: int) -> dict[str, Any]:
        try:
            data = orjson.loads(content)
        except orjson.JSONDecodeError:
            start = jsonable(content[:80].decode("utf-8", "replace"))
            raise ProviderError(
                f"{self._name} answered with something that is not JSON: {start!r}",
                status=status,
                retryable=True,
            ) from None
        if not isinstance(data, dict):
            raise ProviderError(
                f"{self._name} answered with a JSON {type(data).__name__}, not an object",
                retryable=True,
            )
        return data

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
            key = getattr(client, "api_key", None)
            secrets = Secrets((*self._options.secrets(), *([key] if isinstance(key, str) else [])))
            call = self._calls[loop] = _Call(source.create, _names(source.create), secrets)
        return call

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
        # How long an answer may take is the engine's business, unless the user said it here.
        return openai.AsyncOpenAI(
            api_key=api_key,
            base_url=self._address,
            max_retries=0,
            timeout=self._options.timeouts(),
            default_headers=self._options.sent_headers(),
            http_client=self._options.http_client(),
        )


def normalised_url(url: str) -> str:
    """Return an address in one form: lower case host, no default port, query or last slash.

    Raises:
        DefinitionError: it is no http address, or holds a password.
    """
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.password is not None:
        raise DefinitionError(
            f"base_url of {parts.hostname} holds a user or password: use "
            'client_options={"headers": {"Authorization": "Basic env:NAME"}} instead',
            field="base_url",
        )
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


def _arguments(names: frozenset[str] | None, body: JSONObject) -> dict[str, Any]:
    """Return the body as arguments; what the SDK has no argument for travels as extra."""
    if names is None:
        return body
    arguments = {name: value for name, value in body.items() if name in names}
    extra = {name: value for name, value in body.items() if name not in names}
    return {**arguments, "extra_body": extra} if extra else arguments


def _headers(response: Any, secrets: Secrets) -> dict[str, str]:
    """Return an answer's headers by their names in lower case, without the values of keys."""
    headers = getattr(response, "headers", None)
    if headers is None or not hasattr(headers, "items"):
        return {}
    return {str(name).lower(): secrets.hide(str(value)) for name, value in headers.items()}
