"""An endpoint's address in one form, so that one endpoint has one name and one set of limits.

No host name is resolved here, and no request is sent.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from themis.core.errors import DefinitionError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normalised_url(url: str) -> str:
    """Return an address in one form: lower case host, no default port, query or last slash.

    Raises:
        DefinitionError: it is no http address, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # brackets without an IPv6 address in them
        raise _no_address(url) from None
    if parts.username is not None or parts.password is not None:
        raise DefinitionError(
            f"base_url of {parts.hostname} holds a user or password: use "
            'client_options={"headers": {"Authorization": "Basic env:NAME"}} instead',
            field="base_url",
        )
    try:
        port = parts.port
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise _no_address(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = host if port in (None, _DEFAULT_PORTS[parts.scheme.lower()]) else f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), shown, parts.path.rstrip("/"), "", ""))


def _no_address(url: str) -> DefinitionError:
    return DefinitionError(
        f"base_url = {url!r}: must be an address such as 'http://localhost:8000/v1'",
        field="base_url",
        value=url,
    )
