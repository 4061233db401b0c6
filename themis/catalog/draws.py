"""Numbers that look random and are fixed by a value, so that every run of a part draws the same."""

from __future__ import annotations

from typing import Any

from themis.core.hashing import digest_value


def unit_draw(kind: str, value: Any) -> float:
    """Return a number from 0 up to 1 that is fixed by the value and evenly spread over values.

    Args:
        kind: what is drawn, so that two draws from the same value differ.
        value: any JSON value.
    """
    return int.from_bytes(digest_value(kind, value)[:6], "big") / 2**48
