"""One request to a JSON endpoint and what came back: sent once, read, or told as a failure.

Each event loop has a client of its own, made by the first request. Redirects are not followed: a
body, and what is secret in it, goes to the address that was named and nowhere else. Nothing here
knows of cases, prompts or what an answer means.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from themis.adapters.connections import ConnectionOptions, transport_error
from themis.adapters.failures import status_error
from themis.adapters.hiding import Secrets
from themis.adapters.http_target import Address, BodySecrets, query_of, spellings
from themis.adapters.loop_clients import LoopClients
from themis.adapters.waiting import limits_told
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import ProviderError
from themis.core.hashing import encode
from themis.core.redaction import HIDDEN, redact

if TYPE_CHECKING:
    import httpx2

_NOT_THERE = 404
_HOPELESS_MISSES = 3
_LONGEST = 300
_LONGEST_READ = 100_000  # of a page that is all a server had to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A good answer."""

    data: JSONValue
    """As it came: paths are read in it, and no secret that is a word may change where they lead."""
    headers: Mapping[str, str]
    latency_ms: float
    secrets: Secrets
    """What the request held, to be hidden in whatever of the data is kept or told."""

    def evidence(self) -> JSONObject:
        """Return what is kept of it, beside the request."""
        known: JSONObject = {
            "provider_request_id": self.headers.get("x-request-id"),
            "response_headers": redact(dict(self.headers)),
            "rate_limit": limits_told(self.headers),
        }
        kept = {name: value for name, value in known.items() if value}
        return {"raw_response": self.secrets.hide_in_data(self.data), **kept}


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
        if address.has_secrets or (method == "GET" and secrets.any):
            _QUERY_FILTER.hosts.add(str(urlsplit(address.normalised).hostname))
            logging.getLogger("httpx2").addFilter(_QUERY_FILTER)
        self._has_answered = False
        self._misses = 0
        self._clients: LoopClients[httpx2.AsyncClient] = LoopClients(
            options.http_client, lambda client: client.aclose()
        )

    def shown(self, body: JSONValue) -> JSONObject:
        """Return the request with this body, secrets hidden."""
        body = self._secrets.shown(body)
        if self._method == "GET":
            return {"method": "GET", "url": self._address.shown(query_of(body))}
        return {"method": self._method, "url": self._address.shown([]), "body": body}

    def answered(self) -> None:
        """Take note of an answer in which all was found."""
        self._has_answered = True

    def missed(self) -> bool:
        """Take note that address or path led nowhere; return whether the next would not either.

        That is so where they never led anywhere; otherwise it is the matter of one case.
        """
        self._misses += 1
        return not self._has_answered and self._misses >= _HOPELESS_MISSES

    async def send(self, body: JSONValue) -> Received:
        """Send one request and return the answer.

        Raises:
            ProviderError: there was none, or none in JSON.
        """
        known = [*self._options.secrets(), *self._address.secrets(), *self._secrets.secrets()]
        secrets = Secrets(spellings(known))
        began = time.perf_counter()
        async with self._clients.current() as client:
            response = await self._response(client, self._secrets.sent(body))
        latency_ms = (time.perf_counter() - began) * 1000
        named = response.headers.items()
        headers = {name.lower(): secrets.hide(value) for name, value in named}
        data = self._data(response, headers, secrets)
        return Received(data=data, headers=headers, latency_ms=latency_ms, secrets=secrets)

    async def aclose(self) -> None:
        """Close this event loop's connections, when no request is under way on them."""
        await self._clients.aclose()

    async def _response(self, client: httpx2.AsyncClient, body: JSONValue) -> httpx2.Response:
        is_query = self._method == "GET"
        headers = {"accept": "application/json"}
        if not is_query:
            headers["content-type"] = "application/json"
        own = {name.lower() for name in self._options.headers}
        try:
            return await client.request(
                self._method,
                self._address.sent(query_of(body) if is_query else []),
                content=None if is_query else encode(body),
                headers={name: value for name, value in headers.items() if name not in own},
                follow_redirects=False,
            )
        except Exception as error:
            found = transport_error(error, self.name)
            if found is None:
                raise
            raise found from error

    def _data(
        self, response: httpx2.Response, headers: Mapping[str, str], secrets: Secrets
    ) -> JSONValue:
        status = response.status_code
        if not 200 <= status < 300:
            said = _said_in(response.content, secrets)
            error = status_error(status, headers=headers, said=said, endpoint=self.name)
            if status == _NOT_THERE:  # some products say so of what they were asked for
                error.fatal = self.missed()
            raise error
        try:
            data: JSONValue = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            start = secrets.hide(response.content.decode("utf-8", "replace"))[:80]
            raise ProviderError(
                f"{self.name} answered with something that is not JSON: {start!r}",
                status=status,
                retryable=True,
            ) from None
        return data


class _QueryFilter(logging.Filter):
    """Hides the queries to some hosts in what the HTTP library logs of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, its addresses without their queries."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._shown, record.args))
        return True

    def _shown(self, value: object) -> object:
        if isinstance(value, (int, float)):
            return value
        parts = urlsplit(str(value))
        hidden = parts.query and parts.hostname in self.hosts
        return parts._replace(query=HIDDEN).geturl() if hidden else value


_QUERY_FILTER = _QueryFilter()


def complaint(data: JSONValue, secrets: Secrets) -> str:
    """Return the words of an error in a JSON answer, in one line; nothing where there is none."""
    for _ in range(3):
        if not isinstance(data, dict):
            break
        fields = ("error", "message", "detail", "reason")
        data = next((data[field] for field in fields if data.get(field)), None)
    return _one_line(data, secrets) if isinstance(data, str) else ""


def _said_in(content: bytes, secrets: Secrets) -> str:
    try:
        data = orjson.loads(content)
    except orjson.JSONDecodeError:
        data = None
    said = complaint(data, secrets)
    return said or _one_line(content.decode("utf-8", "replace"), secrets) or "nothing more"


def _one_line(text: str, secrets: Secrets) -> str:
    """Return a text's beginning; secrets are hidden first, so that none is cut in two and shown."""
    return " ".join(secrets.hide(text[:_LONGEST_READ]).split())[:_LONGEST]
