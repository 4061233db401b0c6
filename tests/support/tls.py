"""A real HTTPS server on loopback, whose certificate only its own authority vouches for.

with tls_server(answer, folder=tmp_path) as server:
    openai("m", base_url=f"{server.url}/v1", client_options={"verify": server.ca_file})
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

Answer = Callable[[str, bytes], bytes]
"""From a path and a body to the JSON that is answered."""


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes


@dataclass
class SecureServer:
    """A running server."""

    url: str
    ca_file: str
    """PEM file of the authority that signed the server's certificate."""
    requests: list[Received] = field(default_factory=list)
    broken_handshakes: int = 0


@contextlib.contextmanager
def tls_server(answer: Answer, *, folder: Path, host: str = "127.0.0.1") -> Iterator[SecureServer]:
    """Serve over TLS until the block is left.

    Args:
        answer: what every POST is answered.
        folder: where the authority's certificate is written.
        host: the name that the certificate is for; another than that asked is refused by clients.
    """
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    made = SecureServer(url="", ca_file=str(ca_file))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            # The handshake is the connection's own thread's, so that a bad one holds up nobody.
            try:
                self.request = context.wrap_socket(self.request, server_side=True)
            except OSError:
                made.broken_handshakes += 1
                raise
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Received(self.path, named, body))
            said = answer(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust the certificate is what some tests are about."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    made.url = f"https://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
