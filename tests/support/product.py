"""A product's own service on loopback: adds numbers, in a JSON shape that no provider has.

    POST /v2/answer  {"question": {"text": "2+3"}}  ->  {"data": {"reply": {"text": "5"}}, ...}
    GET  /search?q=2%2B3                             ->  {"hits": [{"the answer": "5"}]}

It remembers what it was asked and how many connections were made, and does what a script says
instead of answering, where there is one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    nth: int


@dataclass(frozen=True)
class Said:
    """What the service does in place of answering."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


Script = Callable[[Asked], Said | None]


class Product:
    """The service, as a context manager.

    Args:
        script: what it does with a request; None, or what returns None, for an answer.
        key: what the header ``x-product-key`` must say, where it is to be checked.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        key: str | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.script = script
        self.key = key
        self._lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def said_to(self, method: str, target: str, headers: dict[str, str], body: Any) -> Said:
        """Take note of a request and say what is done with it."""
        parts = urlsplit(target)
        with self._lock:
            asked = Asked(
                method, parts.path, dict(parse_qsl(parts.query)), headers, body, len(self.asked) + 1
            )
            self.asked.append(asked)
        said = self.script(asked) if self.script is not None else None
        if said is not None:
            return said
        if self.key is not None and headers.get("x-product-key") != self.key:
            return Said(401, {"detail": "who are you?"})
        return Said(200, _answer(asked), {"X-Request-Id": f"req-{asked.nth}"})

    def connected(self) -> None:
        with self._lock:
            self.connections += 1


def _answer(asked: Asked) -> Any:
    if asked.method == "GET":
        return {"hits": [{"the answer": _sum(asked.query.get("q", ""))}]}
    text = asked.body["question"]["text"]
    return {
        "data": {"reply": {"text": _sum(text), "sources": []}, "why": "eos"},
        "meta": {"tokens": {"in": len(text), "out": 1}},
    }


def _sum(text: str) -> str:
    return str(sum(map(int, re.findall(r"\d+", text))))


def _handler(product: Product) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            product.connected()
            super().setup()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw else None
            self._say(product.said_to(self.command, self.path, headers, body))

        do_PUT = do_GET = do_POST

        def _say(self, said: Said) -> None:
            if said.drop:
                self.close_connection = True
                return
            data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            self.send_response(said.status)
            for name, value in {"Content-Type": "application/json", **said.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    return Handler


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left early is what some tests are about."""
