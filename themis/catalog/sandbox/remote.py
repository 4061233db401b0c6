"""Sandboxes elsewhere: a Piston or a Sandbox Fusion server, asked over HTTP.

What they shut programs in by is theirs to say. An endpoint that cannot be reached, refuses, or
answers what its API does not know says nothing of the program: that is an error, never a result.
The seconds that a program may take are those by the endpoint's clock, which is not this machine's.
Sources: https://github.com/engineer-man/piston (API v2),
https://github.com/bytedance/SandboxFusion (``/run_code``).
"""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from themis.catalog.sandbox.program import (
    Program,
    ProgramLimits,
    ProgramResult,
    Reason,
    SandboxError,
    failure,
)

APIS = ("piston", "sandbox_fusion")
_MOST_BYTES = 64 * 2**20  # of an answer that are read
_PISTON_STATUS: Mapping[str, Reason] = {"TO": "timeout", "OL": "output_limit", "EL": "output_limit"}


class RemoteSandbox:
    """Runs programs on an endpoint.

    Args:
        url: its base, without the API's path.
        api: "piston" or "sandbox_fusion".
        besides: seconds that it may take for an answer beyond the program's own.
    """

    def __init__(self, url: str, *, api: str, besides: float = 30.0) -> None:
        self._besides = besides
        self._url = url.rstrip("/")
        self._api = api

    def run(
        self, program: Program, limits: ProgramLimits, *, given_up: threading.Event | None = None
    ) -> ProgramResult:
        """Run a program to its end; see ``Sandbox.run``."""
        del given_up  # a request that was sent is the endpoint's to end
        token = secrets.token_hex(32)
        source = program.source if program.script else _under_the_harness(program.source, token)
        if self._api == "piston":
            ended = self._by_piston(source, program.stdin, limits)
        else:
            ended = self._by_fusion(source, program.stdin, limits)
        return ended if program.script else _by_report(ended, token)

    def _by_piston(self, source: str, stdin: str, limits: ProgramLimits) -> ProgramResult:
        body = {
            "language": "python",
            "version": "3",
            "files": [{"name": "program.py", "content": source}],
            "stdin": stdin,
            "run_timeout": round(limits.seconds * 1000),
            "run_memory_limit": limits.memory,
        }
        run = self._ask("/api/v2/execute", body, limits).get("run")
        if not isinstance(run, dict) or run.get("status") == "XX":
            said = run.get("message") if isinstance(run, dict) else None
            raise SandboxError(f"{self._url} could not run the program: {said or 'no result'}")
        status = _PISTON_STATUS.get(str(run.get("status")))
        return self._ended(
            run, status=status, message=str(run.get("message") or ""), code=run.get("code")
        )

    def _by_fusion(self, source: str, stdin: str, limits: ProgramLimits) -> ProgramResult:
        body = {
            "code": source,
            "language": "python",
            "stdin": stdin,
            "run_timeout": limits.seconds,
            "memory_limit_MB": limits.memory >> 20,
        }
        answer = self._ask("/run_code", body, limits)
        run = answer.get("run_result")
        if answer.get("status") == "SandboxError" or not isinstance(run, dict):
            raise SandboxError(
                f"{self._url} could not run the program: {answer.get('message') or 'no result'}"
            )
        if run.get("status") == "Error":
            raise SandboxError(f"{self._url} could not run the program: {run.get('stderr')}")
        late = run.get("status") == "TimeLimitExceeded"
        return self._ended(
            run,
            status="timeout" if late else None,
            message="",
            code=run.get("return_code"),
        )

    def _ended(
        self, run: Mapping[str, Any], *, status: Reason | None, message: str, code: Any
    ) -> ProgramResult:
        stdout = str(run.get("stdout") or "")
        reason: Reason
        if status is not None:
            reason, message = status, message or f"as {self._api} says"
        elif run.get("signal"):
            reason, message = "signal", f"killed by {run['signal']}"
        elif type(code) is int and code < 0:
            reason, message = "signal", f"killed by signal {-code}"
        elif code == 0:
            reason, message = "passed", ""
        elif type(code) is int:
            last = str(run.get("stderr") or "").strip().splitlines()[-1:]
            reason, message = "exit", f"code {code}: {last[0][:500] if last else ''}"
        else:
            raise SandboxError(f"{self._url} does not say how the program ended")
        return ProgramResult(reason=reason, message=message, isolation=self._api, stdout=stdout)

    def _ask(self, path: str, body: Mapping[str, Any], limits: ProgramLimits) -> dict[str, Any]:
        url = self._url + path
        request = urllib.request.Request(  # noqa: S310 - its scheme was checked where it was given
            url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=limits.seconds + self._besides) as answer:  # noqa: S310
                status, content = answer.status, answer.read(_MOST_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise SandboxError(f"no answer from {url}: {type(error).__name__}: {error}") from error
        said = content[:200].decode("utf-8", "replace")
        if status != 200:
            raise SandboxError(f"{url} answered {status}: {said}")
        with suppress(ValueError):
            found = json.loads(content)
            if isinstance(found, dict):
                return found
        raise SandboxError(f"{url} answered no JSON object: {said}")


def _under_the_harness(source: str, token: str) -> str:
    text = (Path(__file__).parent / "harness.py").read_text(encoding="utf-8")
    return f"{text}\n\nremote({source!r}, {token!r})\n"


def _by_report(ended: ProgramResult, token: str) -> ProgramResult:
    """Return how a program under the harness ended, by what the harness said of it at last."""
    if ended.reason in ("passed", "exit"):
        for line in reversed(ended.stdout.splitlines()):
            with suppress(ValueError):
                report = json.loads(line)
                if isinstance(report, dict) and report.get("token") == token:
                    if report["ended"] == "passed":
                        return ended
                    return failure(report, isolation=ended.isolation)
        return ProgramResult(
            reason="exit",
            message=ended.message or "exited before its end (code 0)",
            isolation=ended.isolation,
        )
    return ended
