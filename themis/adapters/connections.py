"""How a client connects: headers, proxy, certificates, timeouts, and what a failure to connect is.

A secret is given by reference (``env:NAME``) and read when a client is made: what is kept here,
shown and compared are the references. Nothing here knows of any SDK, of requests or of answers;
the HTTP library is imported by the first client.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from themis.adapters.hiding import environments_proxy_secrets, is_secret_header, proxy_secrets
from themis.core.errors import DefinitionError, ProviderError, did_you_mean

if TYPE_CHECKING:
    import httpx2

CLIENT_OPTIONS = ("headers", "proxy", "timeout", "verify")
CONNECT_SECONDS = 30.0
"""A connection that is not made in this time will not be made."""

_IDLE_SECONDS = 4.0  # below the five seconds after which common servers close an idle connection
_REFERENCE = re.compile(r"(?P<scheme>[A-Za-z]+ )?env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# Codes of OpenSSL for what naming a CA does not heal.
_NOT_OF_TRUST = (9, 10, 62, 64)  # not yet valid, expired, of another host, of another address


class EndpointTimeoutError(ProviderError, TimeoutError):
    """An endpoint took longer than the client was told to wait; worth another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What ``client_options`` say, checked; secrets stand in it as references only."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """As given: a secret as ``env:NAME``."""
    proxy: str | None = None
    """As given: a URL, in which a password is ``env:NAME``, or the whole is."""
    verify: bool | str = True
    """Whether certificates are checked, or the file of the authorities they are checked against."""
    timeout: float | None = None
    """Seconds between two bytes of an answer; None where the engine alone watches the time."""

    def sent_headers(self) -> dict[str, str]:
        """Return the headers with what the references stand for now.

        Raises:
            ProviderError: a variable is not set, or holds what no header may.
        """
        return {name: _header_value(name, value) for name, value in self.headers.items()}

    def secrets(self) -> tuple[str, ...]:
        """Return what the references stand for now, so that it can be hidden where it is echoed."""
        found = [
            resolve_reference(value.removeprefix(match["scheme"] or ""), f"headers[{name!r}]")
            for name, value in self.headers.items()
            if (match := _REFERENCE.fullmatch(value))
        ]
        proxy = self._proxy_url()
        return (
            *found,
            *(environments_proxy_secrets() if proxy is None else proxy_secrets(proxy)),
        )

    def http_client(self) -> httpx2.AsyncClient:
        """Return a client made to these options; the caller closes it.

        Its pool grows with the requests in flight, whose number is the engine's to bound. The
        environment's proxies are used where none is given. No redirect is followed: a body and its
        headers go to the address that was named and nowhere else, and some redirects drop the body.

        Raises:
            ProviderError: a variable that an option refers to is not set.
        """
        import httpx2

        verify = self._ssl_context()
        proxy = self._proxy_url()
        to_proxy = verify if isinstance(verify, ssl.SSLContext) and _is_https(proxy) else None
        return httpx2.AsyncClient(
            headers=self.sent_headers(),
            verify=verify,
            proxy=None if proxy is None else httpx2.Proxy(proxy, ssl_context=to_proxy),
            timeout=self.timeouts(),
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            follow_redirects=False,
        )

    def timeouts(self) -> httpx2.Timeout:
        """Return the client's timeouts: to connect, and the user's between two bytes."""
        import httpx2

        connect = CONNECT_SECONDS if self.timeout is None else min(CONNECT_SECONDS, self.timeout)
        return httpx2.Timeout(self.timeout, connect=connect, pool=None)

    def _ssl_context(self) -> ssl.SSLContext | bool:
        if isinstance(self.verify, bool):
            return self.verify
        try:
            return ssl.create_default_context(cafile=self.verify)
        except (OSError, ssl.SSLError) as error:
            raise ProviderError(
                f"client_options.verify = {self.verify!r} cannot be read as a file of "
                f"certificates: {_words(error)}",
                fatal=True,
            ) from error

    def _proxy_url(self) -> str | None:
        if self.proxy is None:
            return None
        if _REFERENCE.fullmatch(self.proxy):
            url = resolve_reference(self.proxy, "proxy")
            _check_proxy_address(url, said=self.proxy)
            return url
        parts = urlsplit(self.proxy)
        if parts.password is None:
            return self.proxy
        password = quote(resolve_reference(parts.password, "proxy"), safe="")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{password}@{host}"))


def read_options(client_options: Mapping[str, Any]) -> ConnectionOptions:
    """Return ``client_options``, checked.

    Args:
        client_options: ``headers`` (of every request), ``proxy`` (a URL), ``verify`` (True, False,
            or the path of a CA file), ``timeout`` (seconds between two bytes).

    Raises:
        DefinitionError: an unknown key, a value of another kind, or a secret that is written out.
    """
    if not isinstance(client_options, Mapping):
        raise _wrong("client_options", 'must be a mapping such as {"timeout": 30}')
    for name in client_options:
        if name not in CLIENT_OPTIONS:
            raise DefinitionError(
                f"client_options has no key '{name}'{did_you_mean(str(name), CLIENT_OPTIONS)}",
                field="client_options",
                value=name,
            )
    return ConnectionOptions(
        headers=read_headers(client_options.get("headers"), "client_options.headers"),
        proxy=_read_proxy(client_options.get("proxy")),
        verify=_read_verify(client_options.get("verify", True)),
        timeout=_read_timeout(client_options.get("timeout")),
    )


def read_headers(headers: object, where: str = "headers") -> dict[str, str]:
    """Return headers as given, checked: a secret only by reference.

    Raises:
        DefinitionError: they are no mapping of text to text, or a secret is written out.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise _wrong(where, 'must be a mapping such as {"x-team": "evals"}')
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise _wrong(where, f"{name!r} is no name of a header")
        if not isinstance(value, str):
            raise _wrong(where, f"the value of {name!r} must be text")
        if is_secret_header(name, value) and not _REFERENCE.fullmatch(value):
            variable = re.sub(r"\W", "_", name).upper()
            raise _wrong(
                where,
                f"{name!r} holds a secret: put it into an environment variable and write "
                f"'env:{variable}' (or 'Bearer env:{variable}') here",
            )
        if not value.isprintable() or not value.isascii():
            raise _wrong(where, f"the value of {name!r} has characters that no header may have")
        found[name] = value
    return found


def resolve_reference(value: str, where: str) -> str:
    """Return what ``env:NAME`` stands for now; any other text as it is.

    Raises:
        ProviderError: the variable is not set; fatal, as every case would fail alike.
    """
    match = _REFERENCE.fullmatch(value)
    if match is None:
        return value
    found = os.environ.get(match["name"], "").strip()
    if not found:
        raise ProviderError(
            f"{where} is 'env:{match['name']}', and the environment variable {match['name']} "
            "is not set",
            fatal=True,
        )
    return f"{match['scheme'] or ''}{found}"


def is_reference(value: str) -> bool:
    """Return whether a text stands for an environment variable's value."""
    return _REFERENCE.fullmatch(value) is not None


def check_sendable(value: str, what: str) -> None:
    """Refuse what no header can carry, without showing it.

    Raises:
        ProviderError: fatal, as every case would fail alike.
    """
    if not value.isprintable() or not value.isascii():
        raise ProviderError(f"{what} has characters that no header may have", fatal=True)


def transport_error(error: BaseException, endpoint: str) -> ProviderError | None:
    """Return what a failure of the connection means for the run; None for any other error.

    Args:
        error: raised by the HTTP library, or by an SDK because of it.
        endpoint: name of the endpoint, for the message.
    """
    library: Any = sys.modules.get("httpx2")
    if library is None:
        return None
    found = next((one for one in _chain(error) if isinstance(one, library.RequestError)), None)
    if found is None:
        return None
    if isinstance(found, library.ConnectTimeout):
        return ProviderError(
            f"{endpoint} cannot be reached: no connection in time{_other_scheme(endpoint)}",
            unreachable=True,
        )
    if isinstance(found, library.TimeoutException):
        return EndpointTimeoutError(f"{endpoint} did not answer in time", retryable=True)
    if isinstance(found, library.ProxyError):
        return _proxy_error(str(found), endpoint)
    if isinstance(found, library.ConnectError):
        return _connect_error(found, endpoint)
    # What the library says of a request that cannot be sent may quote its headers.
    if isinstance(found, (library.LocalProtocolError, library.UnsupportedProtocol)):
        return ProviderError(
            f"a request to {endpoint} cannot be sent: {type(found).__name__}", fatal=True
        )
    if isinstance(found, library.TooManyRedirects):
        return ProviderError(f"{endpoint} redirects without end", fatal=True)
    return ProviderError(f"the connection to {endpoint} broke: {_words(found)}", retryable=True)


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


def _proxy_error(said: str, endpoint: str) -> ProviderError:
    status = int(said[:3]) if said[:3].isdecimal() else None
    if status in (401, 403, 407):
        return proxy_refused(status, endpoint)
    words = " ".join(said.split())[:200]
    return ProviderError(
        f"{endpoint} cannot be reached through the proxy: {words}", status=status, unreachable=True
    )


def _connect_error(error: BaseException, endpoint: str) -> ProviderError:
    chain = list(_chain(error))
    refused = next((one for one in chain if isinstance(one, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        why = refused.verify_message.rstrip(".")
        name_it = (
            ""
            if refused.verify_code in _NOT_OF_TRUST
            else ': name the authority that signed it, client_options={"verify": "path/to/ca.pem"}'
        )
        return ProviderError(
            f"the certificate of {endpoint} is not trusted ({why}){name_it}",
            fatal=True,
            unreachable=True,
        )
    causes = [one for one in chain if isinstance(one, OSError)]
    why = _words(causes[-1] if causes else error)
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


def _words(error: BaseException) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, (socket.gaierror, OSError)) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:300] or type(error).__name__


def _header_value(name: str, value: str) -> str:
    found = resolve_reference(value, f"headers[{name!r}]")
    check_sendable(found, f"headers[{name!r}]: what {value} stands for")
    return found


def _is_https(url: str | None) -> bool:
    return url is not None and urlsplit(url).scheme == "https"


def _read_proxy(proxy: object) -> str | None:
    if proxy is None:
        return None
    if not isinstance(proxy, str):
        raise _wrong("client_options.proxy", "must be a URL such as 'http://host:3128'")
    if _REFERENCE.fullmatch(proxy):
        return proxy
    _check_proxy_address(proxy, said=None)
    password = urlsplit(proxy).password
    if password is not None and not _REFERENCE.fullmatch(password):
        raise _wrong(
            "client_options.proxy",
            "holds a password: put it into an environment variable and write "
            "'http://user:env:PROXY_PASSWORD@host:port', or the whole URL as 'env:PROXY_URL'",
        )
    return proxy


def _check_proxy_address(proxy: str, *, said: str | None) -> None:
    """Refuse what is no proxy's URL, without showing it: it may hold a password."""
    try:
        parts = urlsplit(proxy)
        known = parts.scheme.lower() in _PROXY_SCHEMES and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if known:
        return
    what = "is" if said is None else f"is {said!r}, which stands for"
    message = f"client_options.proxy {what} no URL such as 'http://host:3128'"
    if said is None:
        raise DefinitionError(message, field="client_options")
    raise ProviderError(message, fatal=True)


def _read_verify(verify: object) -> bool | str:
    if isinstance(verify, bool):
        return verify
    if not isinstance(verify, (str, os.PathLike)):
        raise _wrong("client_options.verify", "must be True, False or the path of a CA file")
    path = str(os.fspath(verify))
    if not Path(path).is_file():
        raise _wrong("client_options.verify", f"there is no file {path!r}")
    return path


def _read_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    if type(timeout) not in (int, float) or not 0 < float(str(timeout)) < float("inf"):
        raise _wrong("client_options.timeout", "must be seconds above 0, or None")
    return float(str(timeout))


def _wrong(where: str, said: str) -> DefinitionError:
    return DefinitionError(f"{where}: {said}", field="client_options")
