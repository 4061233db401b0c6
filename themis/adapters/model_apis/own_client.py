"""A model API asked by Themis itself and by no SDK: JSON bodies in, the answer's bytes out.

What a status other than 2xx means is not said here: it is raised with all that came.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from themis.adapters.model_apis.answers import decoded_answer
from themis.adapters.model_apis.api import Api, Dialect, versioned
from themis.adapters.model_apis.streaming import read_pieces
from themis.adapters.transport.connections import ConnectionOptions, check_sendable
from themis.adapters.transport.http_client import HttpClient
from themis.adapters.transport.references import resolve_reference
from themis.adapters.transport.secrets import Secrets
from themis.core.base import JSONObject
from themis.core.errors import ProviderError
from themis.core.hashing import encode

_JSON = {"accept": "application/json", "content-type": "application/json"}
_EVENTS = {"accept": "text/event-stream", "content-type": "application/json"}


class EndpointAnswer(NamedTuple):
    """An answer, and the times at which it came, by ``time.perf_counter()``."""

    data: Any
    """Its JSON data; a stand-in's answer as it is."""
    headers: Mapping[str, Any]
    first: float | None
    """When its first token came, where it was streamed."""
    ended: float
    """When it was whole."""


class StatusError(Exception):
    """An answer of a status other than 2xx; its attributes have the names that the SDK's have.

    Args:
        status_code: HTTP status.
        response: what came.
    """

    def __init__(self, status_code: int, response: RefusedResponse) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.response = response


class RefusedResponse(NamedTuple):
    """The headers and the body of an answer of a status other than 2xx."""

    headers: Mapping[str, str]
    content: bytes


class OwnClient:
    """Asks one API of one endpoint, on one event loop.

    Args:
        base_url: the endpoint's address.
        dialect: how its provider is asked.
        api: which API is called.
        api_key: as given: the key, ``env:NAME``, or None for what the environment says.
        options: of the connections.
        name: the endpoint's name, for messages.

    Raises:
        ProviderError: a key or a variable is missing, or is none that can be sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        dialect: Dialect,
        api: Api,
        api_key: str | None,
        options: ConnectionOptions,
        name: str,
    ) -> None:
        key = _key(api_key, base_url, dialect)
        self._base_url = versioned(base_url, api.version)
        self._api = api
        self._name = name
        self._http = HttpClient(base_url, options, dialect.headers(key))
        self._secrets = Secrets([*options.secrets(), key])

    async def ask(self, body: JSONObject) -> EndpointAnswer:
        """Send one request and return what was answered.

        Raises:
            ProviderError: it cannot be read. StatusError: it is of a status other than 2xx.
        """
        streamed = "stream" in body
        hide = self._secrets.hide_in_answer
        path, sent = self._api.target(body)
        async with await self._http.send(
            "POST",
            self._base_url + path,
            body=encode(sent),
            headers=_EVENTS if streamed else _JSON,
        ) as response:
            if not 200 <= response.status < 300:
                came = RefusedResponse(response.headers, await response.read())
                raise StatusError(response.status, came)
            if streamed:
                data, first, ended = await read_pieces(
                    response.pieces(), api=self._api, endpoint=self._name, hide=hide
                )
                # A key may come in pieces that tell nothing by themselves.
                whole = self._secrets.hide_in_data(data)
                return EndpointAnswer(whole, response.headers, first, ended)
            content = await response.read()
        ended = time.perf_counter()
        data = decoded_answer(hide(content), endpoint=self._name, status=response.status)
        if b"\\" in content:  # a key may be spelled with escapes
            data = self._secrets.hide_in_data(data)
        return EndpointAnswer(data, response.headers, None, ended)

    def secrets(self, source: object = None) -> Secrets:
        """Return what to hide of what came back."""
        return self._secrets

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _key(given: str | None, base_url: str, dialect: Dialect) -> str:
    if given is None:
        found = [key for name in dialect.key_variables if (key := os.environ.get(name, "").strip())]
        key = found[0] if found else ""
    else:
        key = resolve_reference(given, "api_key").strip()
    if not key:
        if base_url == dialect.address:
            variable = " or ".join(dialect.key_variables)
            raise ProviderError(
                f"no API key for {base_url}: set {variable}, or give api_key=", fatal=True
            )
        key = "none"  # a server of one's own asks for none, and may want some header
    check_sendable(key, "api_key")
    return key
