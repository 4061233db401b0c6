"""A small server that speaks Piston's and Sandbox Fusion's APIs, and runs what it is sent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class CodeServer:
    """Runs the programs it is sent, or answers what it is told to.

    Args:
        instead: an answer in place of its own: status and body.
    """

    def __init__(self, instead: tuple[int, bytes] | None = None) -> None:
        server = self
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._instead = instead

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append((self.path, body))
                status, answer = server.answer(self.path, body)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if self._instead is not None:
            return self._instead
        if path == "/api/v2/execute":
            found = self._piston(body)
        elif path == "/run_code":
            found = self._fusion(body)
        else:
            return 404, b'{"message": "no such path"}'
        return 200, json.dumps(found).encode()

    def _piston(self, body: dict[str, Any]) -> dict[str, Any]:
        done = ran(body["files"][0]["content"], body["stdin"], body["run_timeout"] / 1000)
        run = {"stdout": "", "stderr": "", "code": None, "signal": "SIGKILL", "status": "TO"}
        if done is not None:
            killed = done.returncode < 0
            run |= {
                "stdout": done.stdout,
                "stderr": done.stderr,
                "code": None if killed else done.returncode,
                "signal": "SIGSEGV" if killed else None,
                "status": "SG" if killed else ("RE" if done.returncode else None),
            }
        return {"run": run, "language": "python", "version": "3.12.0"}

    def _fusion(self, body: dict[str, Any]) -> dict[str, Any]:
        done = ran(body["code"], body["stdin"], body["run_timeout"])
        if done is None:
            run: dict[str, Any] = {"status": "TimeLimitExceeded", "return_code": None}
        else:
            run = {
                "status": "Finished",
                "return_code": done.returncode,
                "stdout": done.stdout,
                "stderr": done.stderr,
            }
        good = done is not None and done.returncode == 0
        return {
            "status": "Success" if good else "Failed",
            "message": "",
            "compile_result": None,
            "run_result": run,
        }


def ran(source: str, stdin: str, seconds: float) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            [sys.executable, "-c", source],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
