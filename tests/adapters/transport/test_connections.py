"""How a client connects: certificates, proxies and secret headers, over real sockets.

Covers: themis.adapters.transport.addresses, themis.adapters.transport.connections,
themis.adapters.transport.connection_errors, themis.adapters.transport.references,
themis.adapters.transport.secrets, themis.execution.failures
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import quote

import pytest

from tests.support.proxy import proxy_server
from tests.support.tls import tls_server
from themis import Experiment, Reporter, RunResult, SqliteRunStore
from themis.adapters import openai, openai_judge
from themis.adapters.transport.connection_errors import transport_error
from themis.adapters.transport.connections import read_options
from themis.adapters.transport.secrets import Secrets
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, ProviderError, RunStoppedError
from themis.core.models import Case, Dataset
from themis.execution.failures import category_of

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")
SECRET = "hunter2-and-more-of-it"
SECRET_BY_SHAPE = "sk-" + "aB3dE6gH9jK2" * 4
ANSWER = json.dumps(
    {"id": "r1", "status": "completed", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "four"}]}],
     "usage": {"input_tokens": 3, "output_tokens": 1}}
).encode()  # fmt: skip


def answer(path: str, body: bytes) -> bytes:
    return ANSWER


def experiment(generator: Any, cases: int = 20) -> Experiment:
    return Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(metrics=["builtin/exact_match"], parsers=["builtin/text"]),
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(max_concurrent_tasks=1, generation_retry_delay=0.0),
        datasets=[
            Dataset(
                dataset_id="d",
                cases=[
                    Case(case_id=f"c{i}", input=f"{i}", expected_output="four")
                    for i in range(cases)
                ],
            )
        ],
    )


def run(generator: Any, **more: Any) -> RunResult:
    return experiment(generator).run(progress=False, **more)


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.network
def test_a_private_authority_is_asked_for_in_one_line_and_then_trusted(tmp_path: Path) -> None:
    with tls_server(answer, folder=tmp_path) as server:
        url = f"{server.url}/v1"
        with pytest.raises(RunStoppedError) as caught:
            run(openai("m", base_url=url, api_key="k"))
        said = str(caught.value).split("\n", 1)[0]
        assert 'client_options={"verify": "path/to/ca.pem"}' in said
        assert "is not trusted" in said
        assert server.broken_handshakes == 1  # the run ended with its first request
        assert server.requests == []
        trusting = openai("m", base_url=url, api_key="k", client_options={"verify": server.ca_file})
        result = run(trusting)
        assert result.metrics["builtin/exact_match"].value == 1.0
        assert len(server.requests) == 20


@pytest.mark.network
async def test_a_certificate_for_another_host_is_no_matter_of_the_authority(
    tmp_path: Path, context: Context
) -> None:
    with tls_server(answer, folder=tmp_path, host="elsewhere.example") as server:
        generator = openai(
            "m", base_url=server.url, api_key="k", client_options={"verify": server.ca_file}
        )
        with pytest.raises(ProviderError, match="is not trusted") as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
    assert caught.value.fatal
    assert "ca.pem" not in str(caught.value)


@pytest.mark.network
async def test_certificates_need_not_be_checked(tmp_path: Path, context: Context) -> None:
    with tls_server(answer, folder=tmp_path) as server:
        generator = openai("m", base_url=server.url, api_key="k", client_options={"verify": False})
        result = await generator.generate(TEXT, context())
        await generator.aclose()
    assert result.final_output == "four"


async def test_a_file_that_holds_no_certificates_is_said_to_hold_none(
    tmp_path: Path, context: Context
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    options = {"verify": str(tmp_path / "ca.pem")}
    generator = openai("m", base_url="https://127.0.0.1:9", api_key="k", client_options=options)
    with pytest.raises(ProviderError, match="cannot be read as a file of certificates") as caught:
        await generator.generate(TEXT, context())
    assert caught.value.fatal


# ── proxies ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.network
@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_proxys_password_is_given_by_reference(
    tmp_path: Path,
    server: Any,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
    whole: bool,
) -> None:
    password = "p@ss/w:rd"
    with (
        proxy_server(user="me", password=password) as proxy,
        tls_server(answer, folder=tmp_path) as secure_server,
    ):
        monkeypatch.setenv("PROXY_PASSWORD", password)
        monkeypatch.setenv("PROXY_URL", f"http://me:p%40ss%2Fw%3Ard@{proxy.address}")
        url = "env:PROXY_URL" if whole else f"http://me:env:PROXY_PASSWORD@{proxy.address}"
        generator = openai(
            "m",
            base_url=f"{secure_server.url}/v1" if secure else server.url,
            api_key="k",
            client_options={"proxy": url, "verify": secure_server.ca_file},
        )
        result = await generator.generate(TEXT, context())
        await generator.aclose()
        host = (secure_server.url if secure else server.url).removeprefix("https://")
        wanted = f"CONNECT {host}" if secure else f"POST {server.url}/responses"
        assert proxy.let_through == [wanted]
    assert result.final_output == "four"


@pytest.mark.network
@pytest.mark.parametrize("secure", [True, False])
def test_a_wrong_proxy_password_stops_the_run_with_one_line(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    monkeypatch.setenv("PROXY_PASSWORD", "wrong-password")
    with (
        proxy_server(user="me", password="right") as proxy,
        tls_server(answer, folder=tmp_path) as secure_server,
    ):
        generator = openai(
            "m",
            base_url=f"{secure_server.url}/v1" if secure else server.url,
            api_key="k",
            client_options={
                "proxy": f"http://me:env:PROXY_PASSWORD@{proxy.address}",
                "verify": secure_server.ca_file,
            },
        )
        with pytest.raises(RunStoppedError) as caught:
            run(generator)
        assert (proxy.refused, proxy.let_through) == (1, [])
    said = str(caught.value).split("\n", 1)[0]
    assert "the proxy before" in said
    assert "answered 407" in said
    assert '{"proxy": "http://user:env:PROXY_PASSWORD@host:port"}' in said
    assert "wrong-password" not in str(caught.value)


@pytest.mark.network
async def test_the_environments_proxy_is_used_except_where_it_says_not_to(
    server: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_server(user="me", password="pw") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@{proxy.address}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        for _ in range(2):
            generator = openai("m", base_url=server.url, api_key="k")
            await generator.generate(TEXT, context())
            await generator.aclose()
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert len(proxy.let_through) == 1
    assert len(server.requests) == 2


@pytest.mark.network
async def test_a_proxy_that_is_not_there_makes_the_endpoint_unreachable(
    server: Any, context: Context
) -> None:
    options = {"proxy": f"http://127.0.0.1:{_closed_port()}"}
    generator = openai("m", base_url=server.url, api_key="k", client_options=options)
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.unreachable


# ── secret headers ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.network
@pytest.mark.parametrize("echoed", [False, True])
def test_a_secret_header_arrives_and_is_written_down_nowhere(
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    echoed: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TEAM_TOKEN", SECRET)
    monkeypatch.setenv("OWN_KEY", "sk-" + SECRET)
    if echoed:  # an endpoint that says it all back, in its headers and in its answer
        said = json.loads(ANSWER) | {"seen": [f"Bearer {SECRET}", "sk-" + SECRET]}
        server.says(said, x_seen=f"Bearer {SECRET}", set_cookie=f"session={SECRET}")
    generator = openai(
        "m",
        base_url=server.url,
        api_key="env:OWN_KEY",
        client_options={"headers": {"X-Team-Token": "Bearer env:TEAM_TOKEN", "x-team": "evals"}},
    )
    store = SqliteRunStore(tmp_path / "runs.db")
    result = run(generator, store=store)
    assert result.metrics["builtin/exact_match"].value == 1.0
    headers = {name.lower(): value for name, value in server.requests[0]["headers"].items()}
    assert headers["x-team-token"] == f"Bearer {SECRET}"
    assert headers["authorization"] == f"Bearer sk-{SECRET}"
    assert headers["x-team"] == "evals"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"c19" in written  # what was kept is here, in these files, and can be read
    for form in ("html", "markdown", "json"):
        written += Reporter(store).render(result.run_id, form).encode()
    shown = repr(generator) + str(vars(generator)) + str(result.cases[0])
    # What an endpoint says back is in the HTTP library's own log of the headers that it received.
    shown += "" if echoed else caplog.text
    for secret in (SECRET, base64.b64encode(SECRET.encode()).decode()):
        assert secret.encode() not in written
        assert secret not in shown
    store.close()


@pytest.mark.network
@pytest.mark.parametrize("make", [openai, openai_judge])
async def test_a_key_that_a_refusal_says_back_is_hidden(
    server: Any, context: Context, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.says({"error": {"message": f"Incorrect API key provided: {SECRET}."}}, status=401)
    model = make("m", base_url=server.url, api_key=SECRET)
    with pytest.raises(ProviderError, match=r"provided: \[hidden\]\.") as caught:
        await (
            model.generate(TEXT, context())
            if make is openai
            else model.judge(SimpleNamespace(text="?", instructions=None, response_schema=None))
        )
    await model.aclose()
    assert caught.value.fatal
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert SECRET not in caplog.text


@pytest.mark.network
async def test_a_header_that_cannot_be_sent_does_not_show_its_value(
    server: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_TOKEN", f"{SECRET}\nx")
    options = {"headers": {"X-Team-Token": "env:TEAM_TOKEN"}}
    for arguments in ({"api_key": "k", "client_options": options}, {"api_key": f"{SECRET}\nx"}):
        generator = openai("m", base_url=server.url, **arguments)
        with pytest.raises(ProviderError) as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
        assert caught.value.fatal
        assert SECRET not in str(caught.value)
    assert server.requests == []


@pytest.mark.network
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("headers", [{}, {"x-route": "a"}])
async def test_no_redirect_is_followed_neither_with_the_body_nor_without(
    server: Any, context: Context, status: int, headers: dict[str, str]
) -> None:
    server.says({}, status=status, location=f"{server.url}/elsewhere")
    options = {"headers": headers}
    generator = openai("m", base_url=server.url, api_key="k", client_options=options)
    with pytest.raises(ProviderError, match=r"a redirect to http://.*/elsewhere") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.fatal
    assert [one["path"] for one in server.requests] == ["/v1/responses"]


@pytest.mark.parametrize("name", ["api_key", "headers", "proxy", "password"])
async def test_a_variable_that_is_not_set_stops_the_run_by_name(
    context: Context, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    arguments: dict[str, Any] = {
        "api_key": {"api_key": "env:NOT_SET"},
        "headers": {"client_options": {"headers": {"X-Token": "Bearer env:NOT_SET"}}},
        "proxy": {"client_options": {"proxy": "env:NOT_SET"}},
        "password": {"client_options": {"proxy": "http://me:env:NOT_SET@h:1"}},
    }[name]
    generator = openai("m", **{"base_url": "http://127.0.0.1:9", "api_key": "k", **arguments})
    with pytest.raises(ProviderError, match="variable NOT_SET is not set") as caught:
        await generator.generate(TEXT, context())
    assert caught.value.fatal


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"header": {}}, "has no key 'header'; did you mean 'headers'"),
        ({"headers": {"Authorization": SECRET}}, "write 'env:AUTHORIZATION'"),
        ({"headers": {"X-Api-Key": SECRET}}, "'X-Api-Key' holds a secret"),
        ({"headers": {"Cookie": SECRET}}, "write 'env:COOKIE'"),
        ({"headers": {"Proxy-Authorization": SECRET}}, "'Proxy-Authorization' holds a secret"),
        ({"headers": {"x-who": f"Bearer {SECRET}"}}, "'x-who' holds a secret"),
        ({"headers": {"x-who": f"ApiKey {SECRET}"}}, "'x-who' holds a secret"),
        ({"headers": {"Authorization": f"Bearer {SECRET} env:X"}}, "holds a secret"),
        ({"headers": {"x-who": SECRET_BY_SHAPE}}, "'x-who' holds a secret"),
        ({"headers": {"x team": "a"}}, "'x team' is no name of a header"),
        ({"headers": {"x-team": 1}}, "the value of 'x-team' must be text"),
        ({"headers": {"x-team": "a\r\nb: c"}}, "characters that no header may have"),
        ({"headers": ["x-team"]}, "must be a mapping"),
        ({"proxy": f"http://me:{SECRET}@host:1"}, "'http://user:env:PROXY_PASSWORD@host:port'"),
        ({"proxy": f"me:{SECRET}@host"}, "no URL such as 'http://host:3128'"),
        ({"proxy": 3128}, "must be a URL"),
        ({"verify": "no/such/ca.pem"}, "there is no file 'no/such/ca.pem'"),
        ({"verify": 1}, "must be True, False or the path"),
        ({"timeout": 0}, "must be seconds above 0"),
        ({"timeout": True}, "must be seconds above 0"),
        ({"timeout": "5"}, "must be seconds above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_without_showing_a_secret(
    options: Any, said: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        openai("m", base_url="http://h/v1", client_options=options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    told = str(caught.value) + repr(caught.value.value)
    assert SECRET not in told
    assert SECRET_BY_SHAPE not in told


def test_options_hold_references_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("PW", "a b/c")
    options = read_options(
        {"headers": {"X-Token": "Bearer env:TOKEN"}, "proxy": "http://me:env:PW@h:1"}
    )
    assert SECRET not in repr(options)
    assert options.sent_headers() == {"X-Token": f"Bearer {SECRET}"}
    sent = base64.b64encode(b"me:a b/c").decode()
    assert options.secrets() == (SECRET, "a b/c", "a%20b%2Fc", sent)


# ── broken connections ────────────────────────────────────────────────────────────────────────────


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Breaking:
    """A server that reads a request, says what it is told to and ends the connection."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(self._said)
        except OSError:
            return


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n"


@pytest.mark.network
@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b'{"id": ', b"SSH-2.0-x\r\n"])
async def test_a_connection_that_broke_is_not_one_that_could_not_be_made(
    context: Context, said: bytes
) -> None:
    with Breaking(said) as server:
        generator = openai("m", base_url=server.url, api_key="k")
        with pytest.raises(ProviderError, match=r"the connection to .* broke") as caught:
            await generator.generate(TEXT, context())
        await generator.aclose()
    assert (caught.value.retryable, caught.value.unreachable) == (True, False)


@pytest.mark.network
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{closed}/v1", "http://no-such-host.invalid/v1", "https://127.0.0.1:{plain}"],
)
async def test_a_connection_that_cannot_be_made_makes_the_endpoint_unreachable(
    server: Any, context: Context, url: str
) -> None:
    plain = server.url.rpartition(":")[2].removesuffix("/v1")
    generator = openai("m", base_url=url.format(closed=_closed_port(), plain=plain), api_key="k")
    with pytest.raises(ProviderError, match="cannot be reached: ") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert (caught.value.unreachable, caught.value.fatal) == (True, False)
    assert "\n" not in str(caught.value)


@pytest.mark.network
async def test_the_clients_timeout_is_one_of_the_run(server: Any, context: Context) -> None:
    server.hang = 1.0
    generator = openai("m", base_url=server.url, api_key="k", client_options={"timeout": 0.1})
    with pytest.raises(ProviderError, match="did not answer in time") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.retryable
    assert category_of(caught.value, "generation") == "timeout"


def test_an_error_of_another_kind_is_none_of_the_connection() -> None:
    assert transport_error(ValueError("mine"), "here") is None
    assert transport_error(asyncio.CancelledError(), "here") is None


# ── keys that are said back ──


@pytest.mark.network
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_key_that_a_function_gives_is_hidden_though_it_changes(
    server: Any, context: Context, streamed: bool
) -> None:
    import openai as sdk

    given: list[str] = []

    async def key() -> str:
        given.append(f"{SECRET}-number-{len(given)}")
        return given[-1]

    client = sdk.AsyncOpenAI(base_url=server.url, api_key=key)
    generator = openai("m", client=client, stream=streamed)
    server.echo = lambda headers: headers["authorization"]
    for status in (400, 400):
        server.says({}, status=status)
        with pytest.raises(ProviderError) as caught:
            await generator.generate(TEXT, context())
        assert "[hidden]" in str(caught.value)
        assert SECRET not in str(caught.value)
    await generator.aclose()
    await client.close()
    assert len(given) == 2


@pytest.mark.network
async def test_the_secret_headers_of_a_given_client_are_hidden(
    server: Any, context: Context
) -> None:
    import openai as sdk

    headers = {"x-access-token": SECRET, "x-team": "evaluation-team"}
    client = sdk.AsyncOpenAI(base_url=server.url, api_key="k", default_headers=headers)
    server.echo = lambda sent: f"{sent['x-access-token']} of {sent['x-team']}"
    server.says({}, status=400)
    generator = openai("m", client=client)
    with pytest.raises(ProviderError, match=r"\[hidden\] of evaluation-team"):
        await generator.generate(TEXT, context())
    await generator.aclose()
    await client.close()


@pytest.mark.network
@pytest.mark.parametrize("where", ["options", "environment"])
async def test_a_proxy_that_says_its_password_back_is_not_quoted(
    server: Any, context: Context, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("PROXY_PASSWORD", SECRET)
    address = server.url.removeprefix("http://").removesuffix("/v1")
    more: dict[str, Any] = {}
    if where == "options":
        more = {"client_options": {"proxy": f"http://me:env:PROXY_PASSWORD@{address}"}}
    else:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@{address}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
    # The endpoint here is the proxy, which fails and says what it was sent.
    server.echo = lambda headers: headers["proxy-authorization"] + f" me:{SECRET}"
    server.says({}, status=502)
    generator = openai("m", base_url="http://nowhere.invalid/v1", api_key="k", **more)
    with pytest.raises(ProviderError, match=r"502: .*\[hidden\]") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert SECRET not in str(caught.value)
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in str(caught.value)


@pytest.mark.network
async def test_half_a_key_at_the_end_of_a_long_message_is_hidden_too(
    server: Any, context: Context
) -> None:
    server.says({"error": {"message": "x" * 540 + SECRET}}, status=400)
    generator = openai("m", base_url=server.url, api_key=SECRET)
    with pytest.raises(ProviderError) as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert SECRET[:8] not in str(caught.value)
    assert len(str(caught.value)) <= 600


@pytest.mark.parametrize("key", ["abc\u2603def", "abc\ndef"])
async def test_a_key_that_no_header_can_carry_stops_the_run_before_it_is_shown(
    context: Context, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    caplog.set_level(logging.DEBUG)
    generator = openai("m", base_url="http://127.0.0.1:9/v1", api_key=key)
    with pytest.raises(ProviderError, match="api_key has characters that no header") as caught:
        await generator.generate(TEXT, context())
    await generator.aclose()
    assert caught.value.fatal
    assert "abc" not in str(caught.value) + caplog.text


# ── hiding ────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_no_model_says_by_itself_is_hidden_in_answers() -> None:
    secrets = Secrets(("hunter2", "EMPTY", 'a/long-key"of-its-own'))
    said = json.dumps({"text": 'hunter2 EMPTY a/long-key"of-its-own'})
    assert json.loads(secrets.hide_in_answer(said.encode())) == {"text": "hunter2 EMPTY [hidden]"}
    assert secrets.hide("key hunter2, EMPTY") == "key [hidden], EMPTY"


@pytest.mark.parametrize("key", ["test", "local", "ollama", "v1"])
def test_a_key_that_is_a_word_hides_no_word(key: str) -> None:
    said = "the latest ollama model, v1, is not served at localhost: test it"
    assert Secrets((key, f"Bearer {key}")).hide(said) == said


def test_a_short_key_is_hidden_where_it_stands_by_itself() -> None:
    assert Secrets(("abc1",)).hide("key=abc1, not abc123") == "key=[hidden], not abc123"


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    with pytest.raises(DefinitionError, match="holds a user or password: use") as caught:
        openai("m", base_url="http://me:hunter2@localhost:8000/v1", api_key="env:HOME")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        lambda key: key,
        lambda key: quote(key, safe=""),
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.b64encode(f"x{key}".encode()).decode(),
        lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
        lambda key: key.encode().hex(),
        lambda key: key[::-1],
    ],
)
def test_a_key_is_hidden_in_names_of_fields_and_however_it_is_encoded(
    form: Callable[[str], str],
) -> None:
    key = "my+own/key=of~twenty:six"
    secrets, echo = Secrets((key,)), form(key)
    shown = json.dumps(secrets.hide_in_data({f"a{echo}z": [{"b": f"x {echo} y"}], "c": "key"}))
    assert echo[4:-4] not in shown
    assert '"c": "key"' in shown
    assert echo[4:-4] not in secrets.hide_in_answer(f'{{"{echo}": 1}}'.encode()).decode()


@pytest.mark.parametrize("given", [0, -1, 1.5, "64", None, True])
def test_the_bound_of_an_answer_is_a_number_of_bytes(given: object) -> None:
    with pytest.raises(DefinitionError, match="max_bytes"):
        read_options({"max_bytes": given})
