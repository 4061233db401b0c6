"""Keeping secrets out of everything that is stored, shown or hashed."""

from __future__ import annotations

import re
from typing import Any

SECRET_NAMES = re.compile(
    r"(^|[_\-.\s])(api[_\-]?key|apikey|secret|password|passwd|authorization|auth[_\-]?token"
    r"|access[_\-]?token|bearer|cookie|set[_\-]cookie|private[_\-]?key|credentials?)($|[_\-.\s])",
    re.IGNORECASE,
)
HIDDEN = "[hidden]"


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret; ``max_tokens`` does not."""
    return SECRET_NAMES.search(name) is not None


def redact(value: Any) -> Any:
    """Return JSON data with every value under a secret's name hidden."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if is_secret_name(str(key)) and item is not None else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value
