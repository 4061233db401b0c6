"""How a client connects: its headers, proxy, certificates and timeouts.

A secret is given by reference (``env:NAME``) and read when a client is made. Nothing here knows of
any client, of requests or of answers.
"""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from themis.adapters.transport.connection_errors import error_words
from themis.adapters.transport.references import (
    is_reference,
    referenced_value,
    resolve_reference,
)
from themis.adapters.transport.secrets import (
    environments_proxy_secrets,
    is_secret_header,
    proxy_secrets,
)
from themis.core.config_roles import ConfigRole
from themis.core.errors import DefinitionError, ProviderError, did_you_mean

CLIENT_OPTIONS = ("headers", "max_bytes", "proxy", "timeout", "verify")
OF_CLIENT_OPTIONS = ConfigRole(reads_references=True, files=("verify",))
"""What an adapter's parameter for them is to a config file."""
MOST_BYTES = 64 * 2**20
CONNECT_SECONDS = 30.0
"""A connection that is not made in this time will not be made."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The environment variables that name the authorities to be trusted, as OpenSSL has them."""
_PROXY_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The checked ``client_options``; secrets stand in it as references only."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """As given: a secret as ``env:NAME``."""
    proxy: str | None = None
    """As given: a URL, in which a password is ``env:NAME``, or the whole is."""
    verify: bool | str = True
    """Whether certificates are checked, or the file of the authorities they are checked against."""
    timeout: float | None = None
    """Seconds between two bytes of an answer; None where the engine alone watches the time."""
    max_bytes: int = MOST_BYTES
    """The largest answer that is read, unpacked; a larger one is its case's error."""

    def sent_headers(self) -> dict[str, str]:
        """Return the headers with what the references stand for now.

        Raises:
            ProviderError: a variable is not set, or holds what no header may.
        """
        return {name: _header_value(name, value) for name, value in self.headers.items()}

    def secrets(self) -> tuple[str, ...]:
        """Return what the references stand for now, so that it can be hidden where it is echoed."""
        found = [
            secret
            for name, value in self.headers.items()
            if (secret := referenced_value(value, f"headers[{name!r}]")) is not None
        ]
        proxy = self.proxy_url()
        return (
            *found,
            *(environments_proxy_secrets() if proxy is None else proxy_secrets(proxy)),
        )

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return how certificates are checked.

        Raises:
            ProviderError: the file of authorities cannot be read.
        """
        named = "client_options.verify"
        file: bool | str | None = self.verify
        if file is True and any(os.environ.get(name) for name in _AUTHORITIES):
            # The library read them when it was imported, which may have been before they were set.
            named = _AUTHORITIES[0]
            file = os.environ.get(named) or None
        if isinstance(file, bool):
            return file
        try:
            return ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise ProviderError(
                f"{named} = {file!r} cannot be read as a file of certificates: "
                f"{error_words(error)}",
                fatal=True,
            ) from error

    def proxy_url(self) -> str | None:
        """Return the proxy's URL with what the references stand for now; None for none given.

        Raises:
            ProviderError: a variable is not set, or holds no proxy's URL.
        """
        if self.proxy is None:
            return None
        if is_reference(self.proxy):
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
            or the path of a CA file), ``timeout`` (seconds between two bytes), ``max_bytes`` (of
            an answer, unpacked).

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
        max_bytes=_read_bytes(client_options.get("max_bytes", MOST_BYTES)),
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
        if is_secret_header(name, value) and not is_reference(value):
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


def check_sendable(value: str, what: str) -> None:
    """Refuse what no header can carry, without showing it.

    Raises:
        ProviderError: fatal, as every case would fail alike.
    """
    if not value.isprintable() or not value.isascii():
        raise ProviderError(f"{what} has characters that no header may have", fatal=True)


def _header_value(name: str, value: str) -> str:
    found = resolve_reference(value, f"headers[{name!r}]")
    check_sendable(found, f"headers[{name!r}]: what {value} stands for")
    return found


def _read_proxy(proxy: object) -> str | None:
    if proxy is None:
        return None
    if not isinstance(proxy, str):
        raise _wrong("client_options.proxy", "must be a URL such as 'http://host:3128'")
    if is_reference(proxy):
        return proxy
    _check_proxy_address(proxy, said=None)
    password = urlsplit(proxy).password
    if password is not None and not is_reference(password):
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
    message = f"client_options.proxy {what} no URL such as 'http://host:3128'{_of_socks(proxy)}"
    if said is None:
        raise DefinitionError(message, field="client_options")
    raise ProviderError(message, fatal=True)


def environments_proxy(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for an address; None for none.

    Raises:
        ProviderError: it is of a kind that is not spoken.
    """
    parts = urlsplit(url)
    named = urllib.request.getproxies()
    found = named.get(parts.scheme) or named.get("all")
    if not found or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = found if "://" in found else f"http://{found}"
    if urlsplit(found).scheme.lower() not in _PROXY_SCHEMES:
        raise ProviderError(
            f"the environment's proxy for {parts.hostname} is no http proxy{_of_socks(found)}; "
            "NO_PROXY names hosts that need none",
            fatal=True,
        )
    return found


def _of_socks(proxy: str) -> str:
    """Return the way out for a proxy of another kind."""
    if not proxy.lower().startswith("socks"):
        return ""
    return ": SOCKS is not spoken; use an http proxy, or a client of your own (client=)"


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


def _read_bytes(given: object) -> int:
    if type(given) is not int or given < 1:
        raise _wrong("client_options.max_bytes", "must be a whole number of bytes above 0")
    return given


def _wrong(where: str, said: str) -> DefinitionError:
    return DefinitionError(f"{where}: {said}", field="client_options")
