"""Keeping secrets out of everything that is stored, shown or hashed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET = re.compile(
    r"(^|_)((api|access|private|secret|signing|encryption|subscription)_?key|secret|password|passwd"
    r"|pwd|passphrase|authorization|(auth|access)_?token|bearer|cookie|credentials?)($|_)"
    r"|(^|_)token$"
)
# What a tokenizer calls its tokens, and what is counted by them, is shown.
_OF_TEXT = re.compile(
    r"(^|_)(bos|eos|pad|unk|cls|sep|mask|special|stop|start|end|first|next|last|image|audio|per|by)"
    r"_token$"
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret.

    ``hf_token``, ``openaiApiKey`` and ``X-Access-Key`` do; ``max_tokens``, ``tokenizer``,
    ``eos_token`` and ``keyword`` do not.
    """
    words = re.sub(r"[^A-Za-z0-9]+", "_", _CAMEL.sub("_", name)).strip("_").lower()
    return _SECRET.search(words) is not None and _OF_TEXT.search(words) is None


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
