"""A request that was certainly not served is sent again; one that may have been is not.

Covers: themis.adapters.transport.kept_connections
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.support.each_adapter import ADAPTERS, Adapter
from tests.support.raw_server import END, RESET, Raw, Step, answer, serving
from themis.adapters.transport import kept_connections
from themis.adapters.transport.connections import read_options
from themis.adapters.transport.http_client import HttpClient
from themis.core.contexts import GenerateContext
from themis.core.models import Case

pytestmark = pytest.mark.network
Context = Callable[..., GenerateContext]
TEXT = Case(case_id="c", input="2+2")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what arrived")


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No end is seen before a request is sent: as though all came while it was on its way."""
    told = kept_connections._tcp
    monkeypatch.setattr(
        kept_connections, "_tcp", lambda transport: told(transport)._replace(is_open=True)
    )


@contextlib.asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[HttpClient]:
    client = HttpClient(url, read_options(options))
    try:
        yield client
    finally:
        await client.aclose()


async def ask(client: HttpClient, url: str, method: str = "POST", body: bytes = b"{}") -> bytes:
    async with await client.send(method, url, body=body, headers={}) as response:
        return await response.read()


@on_linux
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size", [2, 5_000_000])
async def test_what_crosses_the_connections_end_is_sent_again(
    unseen: None, tmp_path: Path, secure: bool, size: int
) -> None:
    """The loop sleeps while the end comes, and then sends before it looks."""
    authority, tls, options = trustme.CA(), None, {}
    if secure:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        options = {"verify": str(tmp_path / "ca.pem")}
    with serving(lambda _: [answer(b"1"), 0.1, END], tls=tls) as raw:
        async with client_of(raw.url, **options) as client:
            for _ in range(3):
                assert await ask(client, raw.url, body=b" " * size) == b"1"
                time.sleep(0.3)
        assert (len(raw.requests), raw.connections) == (3, 3)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("ending", [END, RESET])
async def test_what_arrived_is_not_sent_again(method: str, ending: Step) -> None:
    def script(raw: Raw) -> bytes | Sequence[Step]:
        return answer(b"1") if len(raw.requests) < 3 else [ending]

    with serving(script) as raw:
        async with client_of(raw.url) as client:
            for _ in range(2):
                assert await ask(client, raw.url, method) == b"1"
            with pytest.raises(aiohttp.ClientError):
                await ask(client, raw.url, method)
        assert (len(raw.requests), raw.connections) == (3, 1)


@on_linux
async def test_a_server_that_ends_new_connections_is_not_asked_for_ever() -> None:
    with serving(lambda _: [END]) as raw:
        async with client_of(raw.url) as client:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await ask(client, raw.url)
        assert (len(raw.requests), raw.connections) == (1, 1)


async def test_a_server_that_never_answers_twice_is_taken_to_keep_no_connection() -> None:
    """What it reads of a second request it drops, so that nobody can say whether it was served."""
    with serving(lambda _: [answer(b"1"), 0.05, RESET]) as raw:
        async with client_of(raw.url) as client:
            assert await ask(client, raw.url) == b"1"
            with pytest.raises(aiohttp.ClientOSError):
                await ask(client, raw.url)
            for _ in range(20):
                assert await ask(client, raw.url) == b"1"
        assert raw.connections == 21


async def test_one_that_has_answered_twice_is_trusted_after_a_break() -> None:
    def script(raw: Raw) -> bytes | Sequence[Step]:
        return answer(b"1") if len(raw.requests) != 4 else [RESET]

    with serving(script) as raw:
        async with client_of(raw.url) as client:
            for n in range(8):
                with contextlib.suppress(aiohttp.ClientOSError):
                    assert await ask(client, raw.url) == b"1", n
        assert (len(raw.requests), raw.connections) == (8, 2)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
async def test_a_server_that_closes_idle_connections_costs_nothing(
    adapter: Adapter, context: Context
) -> None:
    with serving(lambda _: answer(adapter.body), idle=0.05) as raw:
        generator = adapter.make(raw.url)
        for _ in range(3):
            assert (await generator.generate(TEXT, context())).final_output == "4"
            await asyncio.sleep(0.2)
        await generator.aclose()
        assert (len(raw.requests), raw.connections) == (3, 3)
