"""Hiding the values of keys where an endpoint repeats them: in errors, headers and answers.

Names are hidden by ``core.redaction``; this is about a known value wherever it stands. Values that
servers of one's own are given in place of a key, and short words of letters only, are words like
any other and stay.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from themis.core.redaction import HIDDEN, is_secret_name, looks_like_secret

SCHEME_OF_SECRET = re.compile(r"(api-?key|basic|bearer|digest|negotiate|token) \S", re.IGNORECASE)
"""How a header's value begins that holds a secret, whatever the header's name."""

_SHORTEST = 4
_LONGEST_WORD = 8  # a value of letters only that is no longer is a word
_SHORTEST_IN_ANSWER = 12  # a shorter one may be a word that a model says by itself
_URL_SAFE = str.maketrans("+/", "-_")
_NO_KEYS = frozenset({"empty", "none"})
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Secrets:
    """The values of one client's keys.

    Args:
        values: keys, passwords and secret headers, as they are sent.
    """

    __slots__ = ("_in_answers", "_values")

    def __init__(self, values: Iterable[str]) -> None:
        bare = {part for value in values for part in (value, value.rpartition(" ")[2])}
        telling = {form for one in filter(_is_telling, bare) for form in _spellings(one)}
        known = sorted(telling, key=lambda one: (-len(one), one))
        self._values = [(one, _pattern(one)) for one in known]
        self._in_answers = [
            form.encode()
            for one in known
            if len(one) >= _SHORTEST_IN_ANSWER
            for form in dict.fromkeys((one, json.dumps(one)[1:-1]))
        ]

    def __repr__(self) -> str:
        return f"Secrets({len(self._values)})"

    def hide(self, text: str) -> str:
        """Return text without the values; a short one only where it stands by itself."""
        for value, pattern in self._values:
            if value in text:
                text = pattern.sub(HIDDEN, text)
        return text

    def hide_in_data(self, data: Any) -> Any:
        """Return an answer's JSON data without the values, in the names of its fields too."""
        if isinstance(data, str):
            for value, _ in self._values:
                if len(value) >= _SHORTEST_IN_ANSWER and value in data:
                    data = data.replace(value, HIDDEN)
            return data
        if isinstance(data, list):
            return [self.hide_in_data(item) for item in data]
        if isinstance(data, dict):
            return {self.hide_in_data(key): self.hide_in_data(item) for key, item in data.items()}
        return data

    def hide_in_answer(self, raw: bytes) -> bytes:
        """Return an answer's bytes without the values; short ones, which may be words, stay."""
        for value in self._in_answers:
            if value in raw:
                raw = raw.replace(value, HIDDEN.encode())
        return raw


def is_secret_header(name: str, value: str) -> bool:
    """Return whether a header is secret: by its name, by how its value begins, or by its shape."""
    return (
        is_secret_name(name)
        or SCHEME_OF_SECRET.match(value) is not None
        or looks_like_secret(value)
    )


def secret_headers(headers: Mapping[str, Any]) -> list[str]:
    """Return the values of headers that are secret."""
    return [
        value
        for name, value in headers.items()
        if isinstance(value, str) and is_secret_header(name, value)
    ]


def proxy_secrets(url: str | None) -> list[str]:
    """Return a proxy's password: as it is, as its address has it, and as it is sent."""
    if not url:
        return []
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        return []
    if not parts.password:
        return []
    password = unquote(parts.password)
    sent = b64encode(f"{unquote(parts.username or '')}:{password}".encode()).decode()
    return list(dict.fromkeys((password, parts.password, sent)))


def environments_proxy_secrets() -> list[str]:
    """Return the passwords of the proxies that the environment names."""
    names = [form for name in _PROXIES for form in (name, name.upper())]
    return [one for name in names for one in proxy_secrets(os.environ.get(name))]


def _is_telling(value: str) -> bool:
    """Return whether a value is no common word, so that hiding it hides nothing else."""
    is_word = value.isalpha() and len(value) <= _LONGEST_WORD
    return len(value) >= _SHORTEST and not is_word and value.lower() not in _NO_KEYS


def _spellings(value: str) -> set[str]:
    """Return a value as it is and, of one that is no word, as servers encode it in an echo."""
    if len(value) < _SHORTEST_IN_ANSWER:
        return {value}
    raw = value.encode()
    # Of base64 what does not depend on what follows; by what stands before it, there are three.
    shifted = [b64encode(b"\0" * n + raw).decode()[-(-n * 8 // 6) : -4] for n in range(3)]
    return {
        value,
        quote(value, safe=""),
        quote_plus(value),
        raw.hex(),
        value[::-1],
        *(form.translate(table) for form in shifted for table in ({}, _URL_SAFE)),
    }


def _pattern(value: str) -> re.Pattern[str]:
    said = re.escape(value)
    return re.compile(
        said if len(value) >= _SHORTEST_IN_ANSWER else rf"(?<![A-Za-z0-9]){said}(?![A-Za-z0-9])"
    )
