"""A real forward proxy on loopback that lets nobody through without a user and a password.

It tunnels (CONNECT) and forwards (an address in the request line), a connection a thread, and
counts what it let through and what it refused.

    with proxy_server(user="me", password="pw") as proxy:
        openai("m", base_url=url, client_options={"proxy": f"http://me:env:PW@{proxy.address}"})
"""

from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OWN_HEADERS = ("proxy-authorization", "proxy-connection", "connection")


@dataclass
class Proxy:
    """A running proxy."""

    address: str
    """As ``host:port``."""
    let_through: list[str] = field(default_factory=list)
    """Request lines."""
    refused: int = 0


@contextlib.contextmanager
def proxy_server(*, user: str, password: str) -> Iterator[Proxy]:
    """Run a proxy until the block is left."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    made = Proxy(address="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            if not self._is_known():
                return
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200, "Connection established")
                self.end_headers()
                _pump(self.connection, upstream)
            self.close_connection = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if not self._is_known():
                return
            target = urlsplit(self.path)
            kept = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in _OWN_HEADERS
            }
            upstream = HTTPConnection(str(target.hostname), target.port)
            upstream.request("POST", target.path, body, kept)
            answer = upstream.getresponse()
            said = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            upstream.close()

        def _is_known(self) -> bool:
            if self.headers["proxy-authorization"] == wanted:
                made.let_through.append(f"{self.command} {self.path}")
                return True
            made.refused += 1
            self.send_response(407, "Proxy Authentication Required")
            self.send_header("proxy-authenticate", 'Basic realm="proxy"')
            self.send_header("content-length", "0")
            self.end_headers()
            return False

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves is what some tests are about."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    made.address = f"127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    ways = {one: other, other: one}
    with selectors.DefaultSelector() as selector:
        for side in ways:
            selector.register(side, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                try:
                    data = source.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                ways[source].sendall(data)
