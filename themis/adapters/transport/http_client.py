"""The HTTP client of one event loop: a request is sent once, an answer read whole or in pieces.

No redirect is followed, no cookie kept, and nothing sent again that may have been served: what to
make of an answer, or of there being none, is for others to say. An answer is read no further than
to a bound of its unpacked size. The HTTP library is imported by the first client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Self

from themis.adapters.transport.connections import (
    CONNECT_SECONDS,
    ConnectionOptions,
    environments_proxy,
)
from themis.core.errors import ProviderError

if TYPE_CHECKING:
    import aiohttp

_LONGEST_HEADER = 64 * 2**10
_MOST_HEADERS = 256
_AGENT = "themis-eval"


class AnswerTooLargeError(ProviderError):
    """An answer of more bytes than are read; of its case alone."""


class HttpResponse:
    """An answer whose status and headers have come; its body is read once, whole or in pieces.

    Attributes:
        status: the HTTP status.
        headers: by their names in lower case; of several of one name, joined by commas.
    """

    __slots__ = ("_most", "_raw", "headers", "status")

    def __init__(self, raw: aiohttp.ClientResponse, most: int) -> None:
        self._raw = raw
        self._most = most
        self.status = raw.status
        self.headers = _joined(raw.raw_headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give the connection back, or close it where the answer was not read to its end."""
        self._raw.release()

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            AnswerTooLargeError: it is larger than is read.
        """
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they come.

        Raises:
            AnswerTooLargeError: they are more than is read.
        """
        size = 0
        async for piece in self._raw.content.iter_any():
            size += len(piece)
            if size > self._most:
                self._raw.close()
                raise AnswerTooLargeError(
                    f"the answer of {self._raw.url.host} is larger than {self._most:,} bytes "
                    "(client_options.max_bytes)",
                    retryable=False,
                )
            yield piece


class HttpClient:
    """Connections to one endpoint, made and used on one event loop.

    Their number grows with the requests in flight, which is the engine's to bound.

    Args:
        url: the endpoint's address; it tells which of the environment's proxies is used.
        options: of the connections.
        headers: of every request, beside those of the options, which stand before them.

    Raises:
        ProviderError: a variable that an option refers to is not set.
    """

    def __init__(
        self,
        url: str,
        options: ConnectionOptions,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        import aiohttp
        from yarl import URL

        from themis.adapters.transport.kept_connections import Connector, NotTakenError

        self._not_taken = NotTakenError
        self._most = options.max_bytes
        self._url = partial(URL, encoded=True)
        self._proxy = options.proxy_url() or environments_proxy(url)
        connect = min(CONNECT_SECONDS, options.timeout or CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=Connector(ssl=options.ssl_context()),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_over({"user-agent": _AGENT, **(headers or {})}, options.sent_headers()),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connect, sock_read=options.timeout
            ),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            max_headers=_MOST_HEADERS,
        )
        # Not even of GET: it may have been served, and paid for.
        self._session._retry_connection = False  # noqa: SLF001

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: Mapping[str, str]
    ) -> HttpResponse:
        """Send a request and return the answer when its headers have come.

        Args:
            method: such as "POST".
            url: the whole address, percent-encoded.
            body: None for none.
            headers: of this request; those that the options name are theirs.

        Raises:
            aiohttp.ClientError: there was no answer, or none of HTTP.
        """
        given = {
            name: value for name, value in headers.items() if name not in self._session.headers
        }
        address = self._url(url)
        while True:
            try:
                raw = await self._session.request(
                    method,
                    address,
                    data=body,
                    headers=given,
                    proxy=self._proxy,
                    allow_redirects=False,
                )
            except self._not_taken:
                continue  # each time, a kept connection is one fewer
            return HttpResponse(raw, self._most)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


def _joined(raw_headers: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("utf-8", "replace")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _over(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return headers, the user's in the place of those of the same name in any case."""
    names = {name.lower() for name in given}
    kept = {name: value for name, value in defaults.items() if name.lower() not in names}
    return {**kept, **given}
