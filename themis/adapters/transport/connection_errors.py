"""What a failure of the connection means for the run, in the words of ``ProviderError``.

A connection may fail on the way to the endpoint (no such host, a proxy that refuses, a certificate
that is not trusted) or break in the midst of an answer. The HTTP library is not imported for it: a
library that was never loaded has raised no error.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

from themis.core.errors import ProviderError

_WAYS_OUT = {
    9: "it is not valid yet: is this machine's clock right?",
    10: "it has expired: the endpoint must renew it, unless this machine's clock is wrong",
    62: "use a name that it is for",
    64: "use a name that it is for",
}
"""By OpenSSL's codes, for what naming an authority does not heal."""
_NAME_IT = (
    "name the authority that signed it, "
    'client_options={"verify": "path/to/ca.pem"} or SSL_CERT_FILE=path/to/ca.pem'
)


class EndpointTimeoutError(ProviderError, TimeoutError):
    """An endpoint took longer than the client's timeout; worth another try."""


def transport_error(error: BaseException, endpoint: str) -> ProviderError | None:
    """Return what a failure of the connection means for the run; None for any other error.

    Args:
        error: raised by the HTTP library, or by an SDK because of it.
        endpoint: name of the endpoint, for the message.
    """
    library: Any = sys.modules.get("aiohttp")
    if library is None or not isinstance(error, library.ClientError):
        return None
    if isinstance(error, library.ConnectionTimeoutError):
        return ProviderError(
            f"{endpoint} cannot be reached: no connection in time{_other_scheme(endpoint)}",
            unreachable=True,
        )
    if isinstance(error, library.ServerTimeoutError):
        return EndpointTimeoutError(f"{endpoint} did not answer in time", retryable=True)
    if isinstance(error, library.ClientHttpProxyError):
        return _proxy_error(error.status, error.message, endpoint)
    if isinstance(error, library.ClientProxyConnectionError):
        return _proxy_error(None, error_words(error.os_error), endpoint)
    if isinstance(error, library.ClientConnectorError):
        return connect_error(error.__cause__ or error, endpoint)
    # What the library says of a request that cannot be sent may quote its headers.
    if isinstance(error, library.InvalidURL):
        return ProviderError(
            f"a request to {endpoint} cannot be sent: {type(error).__name__}", fatal=True
        )
    words = error.message if isinstance(error, library.ClientResponseError) else error_words(error)
    return ProviderError(f"the connection to {endpoint} broke: {words}", retryable=True)


def proxy_refused(status: int, endpoint: str) -> ProviderError:
    """Return what a proxy's refusal means: it would refuse every case."""
    way_out = (
        "give its user and password in client_options, "
        '{"proxy": "http://user:env:PROXY_PASSWORD@host:port"}'
        if status == 407
        else "let it allow this host, or connect another way (client_options.proxy)"
    )
    return ProviderError(
        f"the proxy before {endpoint} answered {status}: {way_out}", status=status, fatal=True
    )


def _proxy_error(status: int | None, said: str, endpoint: str) -> ProviderError:
    if status in (401, 403, 407):
        return proxy_refused(status, endpoint)
    words = " ".join(f"{status or ''} {said}".split())[:200]
    return ProviderError(
        f"{endpoint} cannot be reached through the proxy: {words}", status=status, unreachable=True
    )


def connect_error(error: BaseException, endpoint: str) -> ProviderError:
    """Return what it means that no connection was made, by what the failure came from.

    Args:
        error: of any HTTP library, or of an SDK because of it.
        endpoint: name of the endpoint, for the message.
    """
    chain = list(_chain(error))
    refused = next((one for one in chain if isinstance(one, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        why = refused.verify_message.rstrip(".")
        return ProviderError(
            f"the certificate of {endpoint} is not trusted ({why}): "
            f"{_WAYS_OUT.get(refused.verify_code, _NAME_IT)}",
            fatal=True,
            unreachable=True,
        )
    causes = [one for one in chain if isinstance(one, OSError)]
    why = error_words(causes[-1] if causes else error)
    hint = _other_scheme(endpoint) if any(isinstance(one, ssl.SSLError) for one in chain) else ""
    return ProviderError(f"{endpoint} cannot be reached: {why}{hint}", unreachable=True)


def _other_scheme(endpoint: str) -> str:
    return " (if it speaks plain http, write http://)" if "https://" in endpoint else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, groups of connection attempts included."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting.append(one.__cause__ or one.__context__)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)


def error_words(error: BaseException) -> str:
    """Return an error's message, in one line."""
    if isinstance(error, OSError) and error.strerror:
        if isinstance(error, (socket.gaierror, ssl.SSLError)) or not error.errno:
            return error.strerror
        return os.strerror(error.errno)
    return " ".join(str(error).split())[:300] or type(error).__name__
