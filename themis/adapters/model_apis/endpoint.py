"""One endpoint of models: its address, its client, and a call.

Each event loop has a client of its own, made by the first call: Themis's, or one over the client
that the user gave. Nothing here knows of cases, prompts or judges.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from themis.adapters.model_apis.answers import Answer, read_answer, read_refusal
from themis.adapters.model_apis.api import Api, Dialect
from themis.adapters.model_apis.own_client import OwnClient
from themis.adapters.model_apis.sdk_client import GivenClient, check_client
from themis.adapters.transport.addresses import normalised_url
from themis.adapters.transport.connections import ConnectionOptions, read_options
from themis.adapters.transport.endpoint_errors import RefusedError, answer_in, provider_error
from themis.adapters.transport.endpoint_words import data_in
from themis.adapters.transport.jsonable import jsonable
from themis.adapters.transport.loop_clients import LoopClients
from themis.adapters.transport.references import is_reference
from themis.adapters.transport.secrets import Secrets
from themis.adapters.transport.threads import in_daemon_thread
from themis.core.base import JSONObject
from themis.core.errors import DefinitionError, MissingExtraError, ProviderError

_LONGEST = 600  # of an error's message, in characters
_CALLS = ("/chat/completions", "/responses", "/completions", "/messages", ":generateContent")


class Endpoint:
    """Where requests go, and how.

    Args:
        dialect: how its provider is asked.
        api: which of its APIs is called.
        base_url: its address; None for the provider's own, or what the environment says.
        api_key: its key, or ``env:NAME``; None for what the environment says.
        client: an ``AsyncOpenAI`` or a stand-in for one.
        client_options: ``headers``, ``proxy``, ``verify``, ``timeout`` (seconds) of a made client.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        api: Api,
        base_url: str | None,
        api_key: str | None,
        client: Any,
        client_options: Mapping[str, Any],
    ) -> None:
        self._options = _checked_options(client_options, client)
        if client is None and importlib.util.find_spec("aiohttp") is None:
            raise MissingExtraError(
                extra=dialect.provider, needed_for=f"themis.adapters.{dialect.provider}"
            )
        if client is not None:
            check_client(client, api)
        _check_key(api_key)
        address = base_url or getattr(client, "base_url", None) or _address(dialect)
        self.provider = dialect.provider
        self._dialect = dialect
        self._api = api
        self.base_url = normalised_url(str(address))
        _check_no_query(str(address))
        _check_path(self.base_url)
        self._name = f"{dialect.provider} at {self.base_url}"
        self._api_key = api_key
        self._given = client
        self._clients = LoopClients(self._made, lambda client: client.aclose())

    @property
    def provider_key(self) -> str:
        """The name by which limits are set for this endpoint."""
        return f"{self.provider}:{self.base_url}"

    async def ask(self, body: JSONObject) -> Answer:
        """Send one request and return the answer.

        Raises:
            ProviderError: the endpoint refused, failed, or gave what cannot be read.
        """
        async with self._clients.current() as client:
            failure: ProviderError | None
            started = time.perf_counter()
            try:
                came = await client.ask(body)
                return read_answer(
                    came.data,
                    api=self._api,
                    headers=_shown(came.headers, client.secrets()),
                    request=body,
                    latency_ms=(came.ended - started) * 1000,
                    first_token_ms=None if came.first is None else (came.first - started) * 1000,
                    endpoint=self._name,
                )
            except Exception as error:
                secrets = client.secrets(error)
                failure = self._failure(error, secrets, body)
                if failure is None:
                    raise
                refusal = self._refusal(error, failure, secrets, body, started)
                if refusal is not None:
                    return refusal
            # Raised out here, so that it carries no context: the client's error may quote a key.
            raise failure

    async def aopen(self) -> None:
        """Load the HTTP library beside the loop, which it would hold up for a while."""
        if self._given is None and "aiohttp" not in sys.modules:
            await in_daemon_thread(lambda: importlib.import_module("aiohttp"))

    async def aclose(self) -> None:
        """Let go of this event loop's connections: they are closed when no call uses them."""
        await self._clients.aclose()

    def _refusal(
        self,
        error: Exception,
        failure: ProviderError,
        secrets: Secrets,
        request: JSONObject,
        started: float,
    ) -> Answer | None:
        """Return the answer that a failure is, where it tells that the model refused."""
        body, headers = answer_in(error) if failure is not error else (None, {})
        if isinstance(failure, RefusedError) and failure.body is not None:
            body = failure.body
        return read_refusal(
            failure,
            secrets.hide_in_data(jsonable(data_in(body))),
            api=self._api,
            headers=_shown(headers, secrets),
            request=request,
            latency_ms=(time.perf_counter() - started) * 1000,
            endpoint=self._name,
        )

    def _failure(
        self, error: Exception, secrets: Secrets, request: JSONObject
    ) -> ProviderError | None:
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
            way_out = _way_out(found, request)
            found.args = tuple(secrets.hide(str(one))[:_LONGEST] + way_out for one in found.args)
            if isinstance(found, RefusedError):
                found.said = secrets.hide(found.said)
        return found

    def _made(self) -> OwnClient | GivenClient:
        if self._given is not None:
            return GivenClient(self._given, api=self._api, name=self._name)
        return OwnClient(
            self.base_url,
            dialect=self._dialect,
            api=self._api,
            api_key=self._api_key,
            options=self._options,
            name=self._name,
        )


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


def _way_out(error: ProviderError, request: JSONObject) -> str:
    """Return how to leave out what Themis sent by itself and an endpoint does not take."""
    if error.status not in (400, 422):
        return ""
    for name in ("seed", "stream_options"):
        if name in request and re.search(rf"\b{name}\b", str(error)):
            return f' (sampling={{"{name}": None}} sends none)'
    return ""


def _address(dialect: Dialect) -> str:
    named = os.environ.get(dialect.address_variable) if dialect.address_variable else None
    return named or dialect.address or ""


def _checked_options(options: Mapping[str, Any], client: Any) -> ConnectionOptions:
    found = read_options(options)
    if options and client is not None:
        raise DefinitionError(
            "client_options are for a client that Themis makes; set them on the client given",
            field="client_options",
        )
    return found


def _shown(headers: Mapping[str, Any], secrets: Secrets) -> dict[str, str]:
    """Return an answer's headers by their names in lower case, without the values of keys."""
    return {str(name).lower(): secrets.hide(str(value)) for name, value in headers.items()}


def _check_path(base_url: str) -> None:
    """Refuse the address of a call in place of that of the endpoint."""
    for call in _CALLS:
        if base_url.endswith(call):
            raise DefinitionError(
                f"base_url = {base_url!r} is that of a call: leave out {call!r}",
                field="base_url",
                value=base_url,
            )
