"""One request to a JSON endpoint: it is sent once, and its answer is read or becomes an error.

Each event loop has a client of its own, made by the first request. Redirects are not followed: a
body, and what is secret in it, goes to the address that was named and nowhere else. Nothing here
knows of cases, prompts or what an answer means.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from themis.adapters.http.target import Address, BodySecrets, query_of, spellings
from themis.adapters.transport.connection_errors import transport_error
from themis.adapters.transport.connections import ConnectionOptions
from themis.adapters.transport.endpoint_errors import RefusedError, not_json, status_error
from themis.adapters.transport.endpoint_words import data_in
from themis.adapters.transport.http_client import HttpClient
from themis.adapters.transport.kept_headers import header_evidence
from themis.adapters.transport.lenient_json import read_json
from themis.adapters.transport.loop_clients import LoopClients
from themis.adapters.transport.secrets import Secrets
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import ProviderError
from themis.core.hashing import encode

_ASKED = {"accept": "application/json"}
_SENT = {**_ASKED, "content-type": "application/json"}
_LONGEST = 600  # of an error's message, in characters
_LONGEST_READ = 10_000  # of a page that is all a server had to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A good answer."""

    data: JSONValue
    """As it came: paths are read in it, and no secret that is a word may change where they lead."""
    headers: Mapping[str, str]
    latency_ms: float
    secrets: Secrets
    """The secrets of the request, to be hidden in artifacts and messages."""

    def evidence(self) -> JSONObject:
        """Return what is kept of it, beside the request."""
        raw_response = self.secrets.hide_in_data(self.data)
        return {"raw_response": raw_response, **header_evidence(self.headers)}


class Exchange:
    """Asks one address, the same way each time.

    Args:
        address: where.
        method: how.
        secrets: the references in the body.
        options: of the client.
    """

    def __init__(
        self, address: Address, *, method: str, secrets: BodySecrets, options: ConnectionOptions
    ) -> None:
        self.name = f"the endpoint at {address.normalised}"
        self._address = address
        self._method = method
        self._secrets = secrets
        self._options = options
        self._clients = LoopClients(
            lambda: HttpClient(address.normalised, options), lambda client: client.aclose()
        )

    def shown(self, body: JSONValue) -> JSONObject:
        """Return the request with this body, secrets hidden."""
        body = self._secrets.shown(body)
        if self._method == "GET":
            return {"method": "GET", "url": self._address.shown(query_of(body))}
        return {"method": self._method, "url": self._address.shown([]), "body": body}

    async def send(self, body: JSONValue) -> Received:
        """Send one request and return the answer.

        Raises:
            ProviderError: there was none, or none in JSON.
        """
        known = [*self._options.secrets(), *self._address.secrets(), *self._secrets.secrets()]
        secrets = Secrets(spellings(known))
        began = time.perf_counter()
        async with self._clients.current() as client:
            status, named, content = await self._answer(client, self._secrets.sent(body))
        latency_ms = (time.perf_counter() - began) * 1000
        headers = {name: secrets.hide(value) for name, value in named.items()}
        data = self._data(status, headers, content, secrets)
        return Received(data=data, headers=headers, latency_ms=latency_ms, secrets=secrets)

    async def aclose(self) -> None:
        """Close this event loop's connections, when no request is under way on them."""
        await self._clients.aclose()

    async def _answer(
        self, client: HttpClient, body: JSONValue
    ) -> tuple[int, Mapping[str, str], bytes]:
        is_query = self._method == "GET"
        try:
            async with await client.send(
                self._method,
                self._address.sent(query_of(body) if is_query else []),
                body=None if is_query else encode(body),
                headers=_ASKED if is_query else _SENT,
            ) as response:
                return response.status, response.headers, await response.read()
        except Exception as error:
            found = transport_error(error, self.name)
            if found is None:
                raise
            raise found from error

    def _data(
        self, status: int, headers: Mapping[str, str], content: bytes, secrets: Secrets
    ) -> JSONValue:
        if not 200 <= status < 300:
            error = status_error(status, headers=headers, body=content, endpoint=self.name)
            raise shown_error(error, secrets, data_in(content), headers)
        try:
            data: JSONValue = read_json(content)
        except ValueError:
            start = secrets.hide(content[:_LONGEST_READ].decode("utf-8", "replace"))
            raise not_json(start, endpoint=self.name, status=status) from None
        return data


def shown_error(
    error: ProviderError, secrets: Secrets, body: JSONValue, headers: Mapping[str, str]
) -> ProviderError:
    """Return an error with what came, secrets hidden before its message is cut to length."""
    error.args = tuple(secrets.hide(str(one))[:_LONGEST] for one in error.args)
    if isinstance(error, RefusedError):
        error.said, error.headers = secrets.hide(error.said), headers
        error.body = secrets.hide_in_data(body)
    return error
