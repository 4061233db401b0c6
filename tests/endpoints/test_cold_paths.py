"""What breaks below HTTP, for every adapter: a try of its case, or one line that names the way out.

Covers: themis.adapters.transport.connection_errors, themis.adapters.transport.kept_connections
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.questions import questions
from tests.support.each_adapter import ADAPTERS, Adapter
from tests.support.product import Product
from tests.support.proxy import proxy_server
from tests.support.raw_server import (
    END,
    HANG,
    RESET,
    Raw,
    Step,
    answer,
    chunked,
    head,
    serving,
)
from tests.support.runs import experiment
from tests.support.tls import tls_server
from themis import RunResult
from themis.core.errors import RunStoppedError

pytestmark = pytest.mark.network
STREAMING = [adapter for adapter in ADAPTERS if adapter.events]
Broken = Callable[[bytes], Sequence[Step]]
"""Out of a whole answer what is said in its place."""

BROKEN: dict[str, Broken] = {
    "reset before a byte": lambda _: [RESET],
    "end before a byte": lambda _: [END],
    "reset in the status line": lambda _: [b"HTTP/1.1 20", RESET],
    "end in the headers": lambda _: [b"HTTP/1.1 200 OK\r\ncontent-le", END],
    "reset in the headers": lambda _: [b"HTTP/1.1 200 OK\r\ncontent-le", RESET],
    "end in a body": lambda body: [answer(body)[:-2], END],
    "reset in a body": lambda body: [answer(body)[:-2], RESET],
    "reset in a body without a length": lambda body: [head() + body[:-2], RESET],
    "end in a chunk's length": lambda body: [*chunked(body)[:1], b"2", END],
    "end in a chunk": lambda body: [*chunked(body)[:1], chunked(body)[1][:-9], END],
    "reset in a chunk": lambda body: [*chunked(body)[:1], chunked(body)[1][:-9], RESET],
    "end between chunks": lambda body: [*chunked(body[:5], body[5:])[:2], END],
    "a chunk's length that is none": lambda body: [*chunked(body)[:1], b"xyz\r\n", body, END],
    "no HTTP": lambda _: [b"220 mail.example ESMTP\r\n", END],
    "headers that hang": lambda _: [b"HTTP/1.1 200 OK\r\ncontent-le", HANG],
    "a body that hangs": lambda body: [answer(body)[:-2], HANG],
    "headers and nothing": lambda body: [head(content_length="9"), HANG],
    "headers drop by drop": lambda _: [b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n", 0.05] * 100],
    "a body drop by drop": lambda body: [head(content_length="9999"), *[b" ", 0.05] * 100],
}
BROKEN_STREAMS: dict[str, Broken] = {
    "end before the last event": lambda events: [events[: len(events) // 2], END],
    "reset in an event": lambda events: [events[: len(events) // 2], RESET],
    "hang in an event": lambda events: [events[: len(events) // 2], HANG],
    "nothing after the headers": lambda _: [HANG],
    "signs of life for ever": lambda _: [b": ping\n\n", 0.05] * 100,
}


def run(generator: Any, n: int = 2, **more: Any) -> RunResult:
    return experiment(
        generator,
        cases=questions(n, gold="4"),
        metrics=["builtin/exact_match"],
        generation_timeout=more.pop("timeout", 1.0),
        generation_retry_delay=0.01,
        **more,
    ).run()


def first_broken(said: Sequence[Step], then: bytes) -> Callable[[Raw], bytes | Sequence[Step]]:
    """Break the first request of each question, and answer the second."""
    seen: set[bytes] = set()

    def script(raw: Raw) -> bytes | Sequence[Step]:
        body = raw.requests[-1].partition(b"\r\n\r\n")[2]
        if body in seen:
            return then
        seen.add(body)
        return said

    return script


def check_tried_twice(result: RunResult, raw: Raw, n: int = 2) -> None:
    assert [row.outcome for row in result.score_rows()] == ["correct"] * n
    for case in result.cases:
        (candidate,) = case.generated_candidates
        (failed,) = (candidate.artifacts or {})["tries"]
        assert "\n" not in failed["message"]
        assert len(failed["message"]) < 300
    assert len(raw.requests) == 2 * n


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_an_answer_that_breaks_off_is_a_try_and_the_next_is_scored(
    adapter: Adapter, broken: str
) -> None:
    said = BROKEN[broken](adapter.body)
    with serving(first_broken(said, answer(adapter.body))) as raw:
        check_tried_twice(run(adapter.make(raw.url)), raw)


@pytest.mark.parametrize("broken", BROKEN_STREAMS)
@pytest.mark.parametrize("adapter", STREAMING, ids=str)
def test_a_stream_that_breaks_off_is_a_try_and_the_next_is_scored(
    adapter: Adapter, broken: str
) -> None:
    events = b"".join(adapter.events)
    said = [head(content_type="text/event-stream"), *BROKEN_STREAMS[broken](events)]
    whole = b"".join(chunked(events, content_type="text/event-stream"))
    with serving(first_broken(said, whole)) as raw:
        check_tried_twice(run(adapter.make(raw.url, stream=True)), raw)


# ── servers and the connections that they keep ────────────────────────────────────────────────────


ENDING: dict[str, Callable[[bytes], list[Step]]] = {
    "said": lambda body: [answer(body, connection="close"), END],
    "not said": lambda body: [answer(body), END],
    "not said, and a while later": lambda body: [answer(body), 0.005, END],
    "by a reset": lambda body: [answer(body), RESET],
}


@pytest.mark.parametrize("ending", ENDING)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_a_server_that_ends_every_connection_costs_no_case(adapter: Adapter, ending: str) -> None:
    """A new connection is made for each, as soon as one that was kept has proved to be none."""
    with serving(lambda _: ENDING[ending](adapter.body)) as raw:
        result = run(adapter.make(raw.url), 100, timeout=20.0, max_concurrent_tasks=8)
    assert [row.outcome for row in result.score_rows()] == ["correct"] * 100
    assert len(raw.requests) == 100
    tried = [
        len((candidate.artifacts or {}).get("tries", []))
        for case in result.cases
        for candidate in case.generated_candidates
    ]
    assert sum(tried) <= 8  # those that were sent while the first proved it


# ── what every case would meet ────────────────────────────────────────────────────────────────────


def stopped(generator: Any, **more: Any) -> str:
    """Return the line with which a run stops."""
    with pytest.raises(RunStoppedError) as caught:
        run(generator, **more)
    return str(caught.value).split("\n", 1)[0]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("nobody.invalid", r"Name or service not known|name resolution"),
        ("127.0.0.1", "Connection refused"),
    ],
)
def test_a_host_that_is_not_there_is_named(adapter: Adapter, host: str, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = stopped(adapter.make(f"http://{host}:{port}"))
    assert f"{host}:{port}" in said
    assert "cannot be reached" in said
    assert any(one in said for one in why.split("|"))


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_socks_is_refused_in_one_line(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:pass-word-1@127.0.0.1:1080")
    said = stopped(adapter.make("http://api.example"))
    assert "SOCKS is not spoken" in said
    assert "NO_PROXY" in said
    assert "pass-word-1" not in said


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
@pytest.mark.parametrize("named", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_gets_its_password(
    adapter: Adapter, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with (
        serving(lambda _: answer(adapter.body)) as raw,
        proxy_server(user="me", password="p@ss/w:rd") as proxy,
    ):
        monkeypatch.setenv(named, f"http://me:p%40ss%2Fw%3Ard@{proxy.address}")
        result = run(adapter.make(raw.url), timeout=20.0)
        assert [row.outcome for row in result.score_rows()] == ["correct"] * 2
        assert len(proxy.let_through) == len(raw.requests) == 2
        monkeypatch.setenv(named, f"http://me:pass-word-1@{proxy.address}")
        said = stopped(adapter.make(raw.url), timeout=20.0)
        assert "answered 407" in said
        assert "client_options" in said
        assert "pass-word-1" not in said
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        run(adapter.make(raw.url), timeout=20.0)
        assert len(proxy.let_through) == 2
        assert len(raw.requests) == 4


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_a_private_authority_may_be_named_by_the_environment(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server(lambda *_: adapter.body, folder=tmp_path) as server:
        said = stopped(adapter.make(server.url))
        assert 'client_options={"verify": "path/to/ca.pem"}' in said
        assert "SSL_CERT_FILE" in said
        monkeypatch.setenv("SSL_CERT_FILE", server.ca_file)
        result = run(adapter.make(server.url), timeout=20.0)
        assert [row.outcome for row in result.score_rows()] == ["correct"] * 2
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        said = stopped(adapter.make(server.url))
        assert "SSL_CERT_FILE" in said
        assert "none.pem" in said


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_a_certificate_for_another_name_says_so(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server(lambda *_: adapter.body, folder=tmp_path, host="elsewhere.example") as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.ca_file)
        said = stopped(adapter.make(server.url))
    assert "is not trusted" in said
    assert "use a name that it is for" in said


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_the_wrong_scheme_is_named(adapter: Adapter) -> None:
    with Product() as plain:
        assert "write http://" in stopped(adapter.make(plain.url.replace("http:", "https:")))
