"""Connections that are kept for the next request, and what may have become of them meanwhile.

A server may close an idle connection at any time, without a word. One whose end has come is not
used again; where the end crosses a request on its way, Linux tells whether any of it arrived. A
server that does not answer the first second request on a connection is taken to keep none.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from functools import partial
from typing import Any, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler

_IDLE_SECONDS = 4.0  # below the five seconds after which common servers close an idle connection
_ESTABLISHED = 1  # TCP_ESTABLISHED
_ACKNOWLEDGED = struct.Struct("=120xQ")  # tcpi_bytes_acked of struct tcp_info, since Linux 4.1


class NotTakenError(Exception):
    """A kept connection ended before any of a request had arrived: it was certainly not served."""


class _Tcp(NamedTuple):
    """What the system tells of a connection."""

    is_open: bool
    acknowledged: int | None
    """Bytes that the other side has acknowledged, where that is told."""


class _Protocol(ResponseHandler):
    """Tells a request that was certainly not served from one that may have been.

    The end of the other side's bytes acknowledges all that it got before. When it has come, and
    acknowledges nothing of the request, then nobody has read any of it.
    """

    def __init__(self, connector: Connector, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._connector = connector
        self._n_requests = 0
        # Bytes acknowledged before a request, and by the other side's end, where that is told.
        self._before: int | None = None
        self._by_end: int | None = None

    def take(self) -> bool:
        """Prepare for a request; return whether one can be sent."""
        tcp = _tcp(self.transport)
        self._n_requests += 1
        if self._n_requests == 1:
            return tcp.is_open
        if self._n_requests > 2:
            self._connector.keeps = True
        self._before = tcp.acknowledged
        return tcp.is_open and self._connector.keeps is not False

    def eof_received(self) -> None:
        self._by_end = _tcp(self.transport).acknowledged
        super().eof_received()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        is_lost = isinstance(exc, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))
        if is_lost and self._n_requests > 1:
            if self._connector.keeps is None:
                self._connector.keeps = False
            if self._by_end is None and getattr(exc, "errno", None) == errno.EPIPE:
                # The end came unseen, before the last that was sent.
                self._by_end = _tcp(self.transport).acknowledged
            if self._by_end is not None and self._by_end == self._before:
                exc, cause = NotTakenError(), ()
        super().set_exception(exc, *cause)


class Connector(aiohttp.TCPConnector):
    """Makes connections, as many as are asked for, and keeps them for a while."""

    keeps: bool | None = None
    """Whether the server answers a second request on a connection; None where nobody knows yet."""

    def __init__(self, **more: Any) -> None:
        super().__init__(limit=0, keepalive_timeout=_IDLE_SECONDS, **more)
        self._factory = partial(_Protocol, self, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Return a connection on which a request can be sent: a kept one, or a new one."""
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = connection.protocol
            if not isinstance(protocol, _Protocol) or protocol.take():
                return connection
            connection.close()


def _tcp(transport: Any) -> _Tcp:
    if transport is None:
        return _Tcp(False, None)
    connected = transport.get_extra_info("socket")
    if connected is None or sys.platform != "linux":
        return _Tcp(not transport.is_closing(), None)
    told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    whole = len(told) == _ACKNOWLEDGED.size
    return _Tcp(
        told[0] == _ESTABLISHED and not transport.is_closing(),
        _ACKNOWLEDGED.unpack(told)[0] if whole else None,
    )
