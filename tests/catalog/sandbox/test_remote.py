"""Sandboxes behind an address: what they say of a program, and what says nothing of it.

Covers: themis.catalog.sandbox.program, themis.catalog.sandbox.remote
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.catalog.sandbox.endpoints import CodeServer
from themis.catalog.sandbox.program import MIB, Program, ProgramLimits, SandboxError
from themis.catalog.sandbox.remote import APIS, RemoteSandbox

pytestmark = pytest.mark.network

ROOMY = ProgramLimits(seconds=60)
ENDS = {
    "right": ("assert 1", "passed", ""),
    "right, with words": ("print('{}')\nassert 1", "passed", ""),
    "an assertion": ("assert 1 == 2, 'no'", "assertion", "AssertionError: no"),
    "an exception": ("{}['a']", "exception", "KeyError: 'a'"),
    "memory": ("raise MemoryError", "memory", "MemoryError"),
    "sys.exit(0)": ("import sys; sys.exit(0)", "exit", "before its end"),
    "os._exit(0)": ("import os; os._exit(0)", "exit", "before its end"),
    "a result of its own": (
        'import os; print(\'{"token": "0", "ended": "passed"}\', flush=True); os._exit(0)',
        "exit",
        "before its end",
    ),
    "a signal": ("import os; os.kill(os.getpid(), 11)", "signal", "killed by"),
    "a syntax error": ("def f(:", "exception", "SyntaxError"),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ENDS)
def test_tests_end_as_they_do_here(name: str, api: str) -> None:
    source, reason, message = ENDS[name]
    with CodeServer() as server:
        ended = RemoteSandbox(server.url, api=api).run(Program(source=source), ROOMY)
    assert (ended.reason, ended.isolation) == (reason, api), ended
    assert message in ended.message


@pytest.mark.parametrize("api", APIS)
def test_a_script_gets_its_standard_input_and_gives_its_output(api: str) -> None:
    source = "import sys\nprint(sys.stdin.read(), end='')\nsys.exit(int(__name__ != '__main__'))"
    with CodeServer() as server:
        sandbox = RemoteSandbox(server.url + "/", api=api)
        ended = sandbox.run(Program(source=source, script=True, stdin="ü\n1"), ROOMY)
        failed = sandbox.run(Program(source="1/0", script=True), ROOMY)
    assert (ended.reason, ended.stdout) == ("passed", "ü\n1")
    assert failed.reason == "exit"
    assert "ZeroDivisionError" in failed.message


@pytest.mark.parametrize("api", APIS)
def test_a_program_that_is_ended_there_for_its_time_is_a_timeout(api: str) -> None:
    with CodeServer() as server:
        ended = RemoteSandbox(server.url, api=api).run(
            Program(source="while True: pass"), ProgramLimits(seconds=1)
        )
    assert ended.reason == "timeout"


def test_the_endpoint_is_told_the_limits() -> None:
    limits = ProgramLimits(seconds=7, memory=100 * MIB)
    with CodeServer() as server:
        for api in APIS:
            RemoteSandbox(server.url, api=api).run(Program(source="pass"), limits)
        (_, piston), (_, fusion) = server.asked
    assert (piston["run_timeout"], piston["run_memory_limit"]) == (7000, 100 * MIB)
    assert (fusion["run_timeout"], fusion["memory_limit_MB"]) == (7, 100)


ODD: list[Any] = [
    (500, b"{}"),
    (429, b'{"message": "Requests limited"}'),
    (400, b'{"message": "python runtime is unknown"}'),
    (200, b"<html>"),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"run": null, "run_result": null}'),
    (200, b'{"run": {"stdout": ""}, "run_result": {"stdout": ""}}'),
    (200, json.dumps({"run": {"status": "XX", "code": 0}, "status": "SandboxError"}).encode()),
    (200, json.dumps({"run": {"code": "0"}, "run_result": {"status": "Error"}}).encode()),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("instead", ODD, ids=lambda one: one[1].decode()[:40])
def test_an_endpoint_that_does_not_say_how_a_program_ended_is_an_outage(
    instead: tuple[int, bytes], api: str
) -> None:
    with CodeServer(instead) as server, pytest.raises(SandboxError, match=server.url):
        RemoteSandbox(server.url, api=api).run(Program(source="pass"), ROOMY)


def test_an_endpoint_that_is_not_there_is_an_outage() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(SandboxError, match=f"no answer from {url}"):
            RemoteSandbox(url, api="piston").run(Program(source="pass"), ROOMY)


def test_an_endpoint_that_never_answers_is_an_outage() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sandbox = RemoteSandbox(url, api="sandbox_fusion", besides=0.2)
        with pytest.raises(SandboxError, match="Timeout"):
            sandbox.run(Program(source="pass"), ProgramLimits(seconds=0.1))
