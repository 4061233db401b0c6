"""A real endpoint on the loopback interface, told what to answer, and contexts made by hand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from themis.core.base import CaseId, CaseKey, DatasetId, RunId
from themis.core.contexts import GenerateContext

RESPONSES_ANSWER = {
    "id": "resp-1",
    "object": "response",
    "status": "completed",
    "error": None,
    "model": "m",
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "fo"},
                {"type": "output_text", "text": "ur"},
            ],
        },
    ],
    "usage": {
        "input_tokens": 9,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 3},
    },
}
CHAT_ANSWER = {
    "id": "chat-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "four"}}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1},
}


class Server:
    """What the endpoint is to answer, and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        self.content_type = "application/json"
        self.missing = 0
        """Bytes by which the body is shorter than its header says."""
        self.hang = 0.0
        self.echo: Callable[[dict[str, str]], str] | None = None
        """What an error says back of its request's headers."""
        self.connections = 0
        self.stays_open = False
        """Whether a connection is held open after the body, which then is shorter than said."""
        self.left = threading.Event()
        """Set when the client has closed a connection that was held open."""
        self.url = ""

    def says(self, data: Any, status: int = 200, **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = data if isinstance(data, bytes) else json.dumps(data).encode()

    def streams(self, *events: Any, done: bool = True) -> None:
        """Answer with server-sent events."""
        self.content_type = "text/event-stream"
        told = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
        self.body = b"".join([*told, b"data: [DONE]\n\n" if done else b""])


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            script.connections += 1

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            script.requests.append(
                {"path": self.path, "headers": dict(self.headers), "body": json.loads(raw)}
            )
            if script.hang:
                time.sleep(script.hang)
            answer = script.body
            if answer is None:
                default = CHAT_ANSWER if self.path.endswith("completions") else RESPONSES_ANSWER
                answer = json.dumps(default).encode()
            if script.echo is not None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = json.dumps({"error": {"message": script.echo(headers)}}).encode()
            self.send_response(script.status)
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", script.content_type)
            self.send_header("content-length", str(len(answer) + script.missing))
            self.end_headers()
            self.wfile.write(answer)
            self.close_connection = script.missing > 0
            if script.stays_open:
                self.wfile.flush()
                if not self.connection.recv(1):
                    script.left.set()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that left early is what some tests are about."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{listener.server_port}/v1"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield script
    listener.shutdown()
    listener.server_close()
    thread.join()


@pytest.fixture
def context() -> Callable[..., GenerateContext]:
    def make(**more: Any) -> GenerateContext:
        common: dict[str, Any] = {
            "run_id": RunId("run"),
            "case_id": CaseId("case-1"),
            "dataset_id": DatasetId("data"),
            "case_key": CaseKey("key"),
            "seed": 7,
        }
        return GenerateContext(**{**common, **more})

    return make
