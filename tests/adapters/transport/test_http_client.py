"""The HTTP client on raw sockets: what servers do with connections, and what is carried over.

Covers: themis.adapters.transport.http_client
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.raw_server import END, answer, serving
from themis.adapters.transport.connections import environments_proxy, read_options
from themis.adapters.transport.http_client import AnswerTooLargeError, HttpClient
from themis.core.errors import ProviderError

pytestmark = pytest.mark.network
BODY = b'{"n": 1}'


async def ask(client: HttpClient, url: str, **headers: str) -> tuple[int, bytes]:
    async with await client.send("POST", url, body=b"{}", headers=headers) as response:
        return response.status, await response.read()


@contextlib.asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[HttpClient]:
    client = HttpClient(url, read_options({"max_bytes": 2**20, **options}))
    try:
        yield client
    finally:
        await client.aclose()


async def test_a_connection_serves_one_request_after_another() -> None:
    with serving(lambda _: answer(BODY)) as raw:
        async with client_of(raw.url) as client:
            for _ in range(5):
                assert await ask(client, raw.url) == (200, BODY)
    assert (raw.connections, len(raw.requests)) == (1, 5)


@pytest.mark.parametrize("told", [True, False])
async def test_a_server_that_ends_each_connection_costs_no_request(told: bool) -> None:
    """Whether it says so in a header or not: what has ended is not sent on."""
    headers = {"connection": "close"} if told else {}
    with serving(lambda _: [answer(BODY, **headers), END]) as raw:
        async with client_of(raw.url) as client:
            for _ in range(20):
                assert await ask(client, raw.url) == (200, BODY)
                await asyncio.sleep(0.005)
    assert (raw.connections, len(raw.requests)) == (20, 20)


async def test_a_connection_whose_end_nobody_read_is_not_used_again() -> None:
    """The loop is held up while the end comes, and a request follows before it looks."""
    with serving(lambda _: [answer(BODY), 0.2, END]) as raw:
        async with client_of(raw.url) as client:
            await ask(client, raw.url)
            transports = [
                protocol.transport
                for kept in client._session.connector._conns.values()  # type: ignore[union-attr]
                for protocol, _ in kept
            ]
            for transport in transports:
                transport.pause_reading()  # as though the loop had not come to it
            await asyncio.sleep(0.4)
            assert transports
            assert await ask(client, raw.url) == (200, BODY)
    assert (raw.connections, len(raw.requests)) == (2, 2)


async def test_as_many_requests_are_under_way_as_are_sent() -> None:
    waiting: list[asyncio.Event] = []
    all_there = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        waiting.append(asyncio.Event())
        if len(waiting) == 150:
            all_there.set()
        await all_there.wait()
        writer.write(answer(BODY))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client_of(url) as client, asyncio.timeout(60):
        answers = await asyncio.gather(*(ask(client, url) for _ in range(150)))
    assert answers == [(200, BODY)] * 150


async def test_no_cookie_and_no_redirect_is_followed() -> None:
    with serving(
        lambda _: answer(
            status="307 Temporary Redirect", set_cookie="a=1; Path=/", location="/elsewhere"
        )
    ) as raw:
        async with client_of(raw.url) as client:
            for _ in range(3):
                assert (await ask(client, raw.url))[0] == 307
    assert len(raw.requests) == 3
    assert not any(b"cookie" in request.lower() for request in raw.requests)


@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_is_read_to_a_bound_of_its_unpacked_size(packed: bool) -> None:
    large = b" " * 2_000_000
    said = answer(gzip.compress(large), content_encoding="gzip") if packed else answer(large)
    with serving(lambda _: said) as raw:
        async with client_of(raw.url, max_bytes=1_000_000) as client:
            with pytest.raises(AnswerTooLargeError, match="larger than 1,000,000 bytes") as caught:
                await ask(client, raw.url)
            assert not caught.value.retryable
    with serving(lambda _: said) as raw:
        async with client_of(raw.url, max_bytes=2_000_000) as client:
            assert await ask(client, raw.url) == (200, large)


async def test_the_users_headers_stand_before_those_of_a_request() -> None:
    with serving(lambda _: answer(BODY)) as raw:
        async with client_of(raw.url, headers={"Accept": "text/x", "User-Agent": "mine"}) as client:
            await ask(client, raw.url, accept="application/json", x_more="1")
    sent = raw.requests[0].lower()
    assert sent.count(b"accept: ") == 1
    assert b"accept: text/x" in sent
    assert b"user-agent: mine" in sent


def test_the_environments_proxies_are_used_as_other_programs_use_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert environments_proxy("https://api.example/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://u:p@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.inside.example")
    assert environments_proxy("https://api.example/v1") == "http://u:p@proxy.example:3128"
    assert environments_proxy("http://api.example/v1") is None
    assert environments_proxy("https://a.inside.example/v1") is None
    assert environments_proxy("https://localhost:8000/v1") is None
    monkeypatch.setenv("ALL_PROXY", "proxy.example:8080")
    assert environments_proxy("http://api.example/v1") == "http://proxy.example:8080"


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(ProviderError, match="SOCKS is not spoken") as caught:
        environments_proxy("https://api.example/v1")
    assert caught.value.fatal
    assert "secret" not in str(caught.value)
