"""Hiding the values of keys where an endpoint says them back: in errors, headers and answers.

Names are hidden by ``core.redaction``; this is about a known value wherever it stands. Values that
servers of one's own are given in place of a key, and short ones, are words like any other and stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from themis.core.redaction import HIDDEN

_SHORTEST = 4
_SHORTEST_IN_ANSWER = 12  # a shorter one may be a word that a model says by itself
_NO_KEYS = frozenset({"empty", "none"})


class Secrets:
    """The values of one client's keys.

    Args:
        values: keys, passwords and secret headers, as they are sent.
    """

    __slots__ = ("_in_answers", "_values")

    def __init__(self, values: Iterable[str]) -> None:
        bare = {part for value in values for part in (value, value.rpartition(" ")[2])}
        known = (one for one in bare if len(one) >= _SHORTEST and one.lower() not in _NO_KEYS)
        self._values = sorted(known, key=lambda one: (-len(one), one))
        self._in_answers = [
            form.encode()
            for one in self._values
            if len(one) >= _SHORTEST_IN_ANSWER
            for form in dict.fromkeys((one, json.dumps(one)[1:-1]))
        ]

    def __repr__(self) -> str:
        return f"Secrets({len(self._values)})"

    def hide(self, text: str) -> str:
        """Return text without the values."""
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        return text

    def hide_in_answer(self, raw: bytes) -> bytes:
        """Return an answer's bytes without the values that no model would say by itself."""
        for value in self._in_answers:
            if value in raw:
                raw = raw.replace(value, HIDDEN.encode())
        return raw
