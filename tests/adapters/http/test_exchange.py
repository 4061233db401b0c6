"""Requests to a real service on loopback: its refusals, its connections, certificates and proxies.

Covers: themis.adapters.http.exchange, themis.adapters.transport.connection_errors,
themis.adapters.transport.connections, themis.adapters.transport.endpoint_errors
"""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.http.conftest import ANSWER, BODY, SECRET, TEXT, Context
from tests.support.product import Asked, Product, Said
from tests.support.proxy import proxy_server
from tests.support.tls import tls_server
from themis.adapters import http
from themis.core.errors import (
    ProviderError,
)

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    ("said", "expected", "words"),
    [
        (Said(429, {"error": {"message": "slow down"}}, {"Retry-After": "3"}),
         (429, True, False, 3.0), "answered 429: slow down"),
        (Said(503, b"busy\nnow"), (503, True, False, None), "answered 503: busy now"),
        (Said(500, {}), (500, True, False, None), "answered 500"),
        (Said(401, {"detail": "who?"}), (401, False, True, None), "answered 401: who?"),
        (Said(403, {"error": "no"}), (403, False, True, None), "answered 403: no"),
        (Said(404, b""), (404, False, True, None),
         r"answered 404: nothing more \(is the address right\?\)$"),
        (Said(405, b""), (405, False, True, None), "answered 405"),
        (Said(400, {"message": "too long"}), (400, False, False, None), "400: too long"),
        (Said(307, {}, {"Location": "http://elsewhere/x"}),
         (307, False, True, None), "redirect to http://elsewhere/x: give that address"),
        (Said(200, b"<html>gateway</html>"), (200, True, False, None), "not JSON: '<html>"),
        (Said(200, b'{"data": '), (200, True, False, None), "not JSON"),
        (Said(200, {"data": {"text": 5, "id": 1}}), (None, True, True, None),
         r"without 'data\.reply\.text': 'data' has text, id"),
        (Said(200, {"error": {"message": "out of stock"}}), (None, True, True, None),
         "the answer has error; it says: out of stock"),
        (Said(drop=True), (None, True, False, None), "broke|cannot be reached|connection"),
    ],
)  # fmt: skip
async def test_a_refusal_says_what_it_means_for_the_run(
    context: Context, said: Said, expected: Any, words: str
) -> None:
    with Product(lambda asked: said) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        with pytest.raises(ProviderError, match=words) as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
        error = caught.value
        assert (error.status, error.retryable, error.fatal, error.retry_after) == expected
        assert not error.unreachable
        assert "\n" not in str(error)
        assert len(product.asked) == 1


async def test_an_endpoint_that_is_not_there_cannot_be_reached(context: Context) -> None:
    with Product() as gone:
        url = gone.url
    generator = http(f"{url}/v2/answer", body=BODY, answer=ANSWER)
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.unreachable


async def test_an_endpoint_that_hangs_is_left(context: Context) -> None:
    release = threading.Event()

    def hang(asked: Asked) -> None:
        release.wait(30)

    with Product(hang) as product:
        url = f"{product.url}/v2/answer"
        generator = http(url, body=BODY, answer=ANSWER, client_options={"timeout": 0.2})
        with pytest.raises(ProviderError, match="did not answer in time") as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
        assert caught.value.retryable
        assert isinstance(caught.value, TimeoutError)
        patient = http(url, body=BODY, answer=ANSWER)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patient.generate(TEXT, context()), 0.2)
        release.set()
        assert (await patient.generate(TEXT, context())).final_output == "5"
        await patient.aclose()


async def test_one_connection_serves_one_sample_after_the_other(
    product: Product, context: Context
) -> None:
    generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
    for _ in range(5):
        await generator.generate(TEXT, context())
    await generator.aclose()
    await generator.aclose()
    assert (product.connections, len(product.asked)) == (1, 5)


async def test_a_run_that_ends_leaves_another_on_its_loop_its_connections(
    context: Context,
) -> None:
    """Two runs share a generator: the first to end closes nothing that the other still uses."""
    started, go_on = threading.Event(), threading.Event()

    def slow(asked: Asked) -> None:
        started.set()
        go_on.wait(30)

    with Product(slow) as product:
        generator = http(f"{product.url}/v2/answer", body=BODY, answer=ANSWER)
        under_way = asyncio.create_task(generator.generate(TEXT, context()))
        await asyncio.to_thread(started.wait, 30)
        await generator.aclose()
        go_on.set()
        assert (await under_way).final_output == "5"
        assert (await generator.generate(TEXT, context())).final_output == "5"
        await generator.aclose()
        assert (len(product.asked), product.connections) == (2, 2)


async def test_one_line_names_the_way_out_where_the_certificate_is_unknown_and_then_it_works(
    context: Context, tmp_path: Path
) -> None:
    with tls_server(lambda path, body: b'{"reply": "5"}', folder=tmp_path) as server:
        url = f"{server.url}/answer"
        doubtful = http(url, body=BODY, answer="reply")
        with pytest.raises(ProviderError, match=r"is not trusted.*verify") as caught:
            await doubtful.generate(TEXT, context())
        await doubtful.aclose()
        assert caught.value.fatal
        assert "\n" not in str(caught.value)
        assert server.requests == []
        trusting = http(url, body=BODY, answer="reply", client_options={"verify": server.ca_file})
        assert (await trusting.generate(TEXT, context())).final_output == "5"
        await trusting.aclose()
        assert json.loads(server.requests[0].body) == {"question": {"text": "2+3"}}


async def test_a_proxy_with_a_password_is_gone_through(
    product: Product, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_server(user="me", password=SECRET) as proxy:
        monkeypatch.setenv("PROXY_PASSWORD", SECRET)
        generator = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            client_options={"proxy": f"http://me:env:PROXY_PASSWORD@{proxy.address}"},
        )  # fmt: skip
        result = await generator.generate(TEXT, context())
        await generator.aclose()
        assert proxy.let_through == [f"POST {product.url}/v2/answer"]
        assert SECRET not in json.dumps(result.model_dump(mode="json"))
        monkeypatch.setenv("PROXY_PASSWORD", "wrong")
        locked_out = http(
            f"{product.url}/v2/answer", body=BODY, answer=ANSWER,
            client_options={"proxy": f"http://me:env:PROXY_PASSWORD@{proxy.address}"},
        )  # fmt: skip
        with pytest.raises(ProviderError, match=r"the proxy .* answered 407") as caught:
            await locked_out.generate(TEXT, context())
        await locked_out.aclose()
        assert caught.value.fatal
    assert len(product.asked) == 1
