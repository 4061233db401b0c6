"""Secrets by reference: ``env:NAME`` in a setting stands for that environment variable's value.

A reference is read when a request or a client is made: what is stored, shown and compared is the
reference. A word before it, as in ``Bearer env:NAME``, is sent before the value.
"""

from __future__ import annotations

import os
import re

from themis.adapters.transport.secrets import SCHEME_OF_SECRET
from themis.core.errors import ProviderError

_REFERENCE = re.compile(r"(?P<scheme>[A-Za-z]+ )?env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)")


def is_reference(text: str) -> bool:
    """Return whether a text stands for an environment variable's value."""
    return _REFERENCE.fullmatch(text) is not None


def is_whole_reference(text: str) -> bool:
    """Return whether a text is a reference and nothing else, save a scheme such as ``Bearer``."""
    return is_reference(text) and (text.startswith("env:") or bool(SCHEME_OF_SECRET.match(text)))


def resolve_reference(text: str, where: str) -> str:
    """Return what ``env:NAME`` stands for now; any other text as it is.

    Args:
        text: the setting's value.
        where: the setting, for the message.

    Raises:
        ProviderError: the variable is not set; fatal, as every case would fail alike.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return text
    found = os.environ.get(match["name"], "").strip()
    if not found:
        raise ProviderError(
            f"{where} is 'env:{match['name']}', and the environment variable {match['name']} "
            "is not set",
            fatal=True,
        )
    return f"{match['scheme'] or ''}{found}"


def referenced_value(text: str, where: str) -> str | None:
    """Return the value that a reference stands for, without the word before it; None for no other.

    Raises:
        ProviderError: the variable is not set.
    """
    match = _REFERENCE.fullmatch(text)
    return None if match is None else resolve_reference(f"env:{match['name']}", where)
