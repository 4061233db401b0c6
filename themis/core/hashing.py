"""Digests for identity: a canonical form of JSON values, and a digest tagged with its kind.

A value is checked and normalised (finite numbers only, integral floats as integers, keys sorted by
code point, lone surrogates refused), encoded once and hashed together with the scheme and the kind
of thing it is. A key hashes a list of such digests, all of one length, so that no two lists run
into each other; strings are never concatenated. A change in this file changes every run id: it
must be named under "Identity" in the changelog.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from themis.core.errors import DefinitionError

SCHEME = "t1"
DIGEST_BYTES = 16
_SORTED = orjson.OPT_SORT_KEYS
_NORMAL = frozenset({str, int, bool, type(None)})
"""Types whose values need no normalising; most lists and objects hold only these."""


def check_json(value: Any, where: str = "value") -> Any:
    """Return ``value`` unchanged if it is a JSON value, else raise.

    A JSON value is str, int, float, bool, None, list or dict with str keys, exactly (no
    subclasses), with finite floats and no lone surrogates.

    Raises:
        DefinitionError: naming the place inside ``value`` and what is wrong there.
    """
    kind = type(value)
    if value is None or kind is bool or (kind is str and value.isascii()):
        return value
    try:
        if not _is_normal(value):
            normalise(value)
        _encode_sorted(value)
    except (TypeError, ValueError, RecursionError):
        raise DefinitionError(_complaint(value, where), field=where, value=value) from None
    return value


def normalise(value: Any) -> Any:
    """Return the value with integral floats as integers (-0.0 as 0).

    Raises:
        TypeError: not a JSON value. ValueError: not a finite number.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        if value - value != 0.0:
            raise ValueError("not finite")
        return int(value) if value.is_integer() else value
    if kind is list:
        return [normalise(item) for item in value]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise TypeError("key")
        return {key: normalise(item) for key, item in value.items()}
    raise TypeError(kind.__name__)


def _is_normal(value: Any) -> bool:
    """Return whether a value is JSON that ``normalise`` would leave as it is."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not (type(item) in _NORMAL or _is_normal(item)):
                return False
        return True
    if kind is list:
        for item in value:  # noqa: SIM110 - a generator would take twice as long
            if not (type(item) in _NORMAL or _is_normal(item)):
                return False
        return True
    return kind in _NORMAL


def normal_form(value: Any) -> Any:
    """Return the normal form of a JSON value: numbers normalised, keys sorted by code point.

    Two values with equal digests have equal normal forms, in whatever order their keys were.

    Raises:
        DefinitionError: the value is not a JSON value.
    """
    try:
        return _sorted(normalise(value))
    except (TypeError, ValueError, RecursionError):
        raise DefinitionError(_complaint(value, "value"), value=value) from None


def canonical(value: Any) -> bytes:
    """Return the encoding of a JSON value over which digests are computed.

    Raises:
        DefinitionError: the value is not a JSON value.
    """
    try:
        if _is_normal(value):
            return orjson.dumps(value, option=_SORTED)
    except (TypeError, RecursionError):
        pass  # large integer, lone surrogate or too deep: handled below
    try:
        return _encode_sorted(normalise(value))
    except (TypeError, ValueError, RecursionError):
        raise DefinitionError(_complaint(value, "value"), value=value) from None


def digest(kind: str, data: bytes) -> bytes:
    """Return the 16-byte digest of ``data``, tagged with the scheme and its kind."""
    tagged = _begun(kind).copy()
    tagged.update(data)
    return tagged.digest()


def hasher(kind: str) -> blake2b:
    """Return a hash object for data in pieces; its digest equals that of ``digest``."""
    return _begun(kind).copy()


@lru_cache(maxsize=256)
def _begun(kind: str) -> blake2b:
    """Return a hash object that has hashed scheme and kind, to be copied for each digest."""
    return blake2b(f"{SCHEME}\0{kind}\0".encode(), digest_size=DIGEST_BYTES)


def digest_value(kind: str, value: Any) -> bytes:
    """Return the tagged digest of a JSON value.

    Raises:
        DefinitionError: the value is not a JSON value.
    """
    tagged = _begun(kind).copy()
    tagged.update(
        orjson.dumps(value) if type(value) is str and value.isascii() else canonical(value)
    )
    return tagged.digest()


def digest_parts(kind: str, parts: Sequence[bytes]) -> bytes:
    """Return the tagged digest of a list of digests, each of the one fixed length."""
    data = b"".join(parts)
    if len(data) != DIGEST_BYTES * len(parts):
        raise ValueError("every part of a key is a digest of 16 bytes")
    tagged = _begun(kind).copy()
    tagged.update(data)
    return tagged.digest()


def text(value: bytes) -> str:
    """Return a digest as text, ``"t1:<hex>"``."""
    return f"{SCHEME}:{value.hex()}"


def encode(value: Any) -> bytes:
    """Return JSON for storage. Integers of any size survive the round trip.

    orjson writes integers up to 64 bits. Values with larger ones are written by the standard
    library, with a leading blank, so that ``decode`` reads them with it as well.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return b" " + json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def decode(data: bytes) -> Any:
    """Read what ``encode`` wrote."""
    return json.loads(data) if data[:1] == b" " else orjson.loads(data)


def _sorted(value: Any) -> Any:
    if type(value) is dict:
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if type(value) is list else value


def _encode_sorted(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=_SORTED)
    except TypeError:
        plain = json.dumps(
            value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return plain.encode()


def _complaint(value: Any, where: str) -> str:
    """Return a message that says what in ``value`` is not JSON, where, and what to do."""
    found = _offender(value, where, 0)
    return found or f"{where} is not a JSON value"


def _offender(value: Any, where: str, depth: int) -> str | None:
    kind = type(value)
    if depth > 200:
        return f"{where} is nested more than 200 levels deep"
    if kind is float and value - value != 0.0:
        return f"{where} is {value!r}; JSON has finite numbers only (use null for 'no number')"
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return (
                f"{where} holds a lone surrogate, which is not text; replace it, as "
                "text.encode('utf-8', 'replace').decode() does"
            )
        return None
    if kind in (int, float, bool) or value is None:
        return None
    if kind is list:
        items = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    elif kind is dict:
        for key in value:
            if type(key) is not str:
                return f"{where} has the key {key!r}, but keys are strings; use str()"
            if (bad := _offender(key, f"a key of {where}", depth + 1)) is not None:
                return bad
        items = [(f"{where}.{key}", item) for key, item in value.items()]
    else:
        return f"{where} is {_kind_name(value)}, not a JSON value{_advice(value)}"
    for place, item in items:
        if (bad := _offender(item, place, depth + 1)) is not None:
            return bad
    return None


def _kind_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _advice(value: object) -> str:
    if isinstance(value, bytes):
        return "; decode it to text first"
    if isinstance(value, (tuple, set, frozenset)):
        return "; make it a list"
    if hasattr(value, "isoformat"):
        return "; use its isoformat()"
    if getattr(value, "ndim", 0):  # NumPy or PyTorch array, pandas column
        return "; use its tolist()"
    if hasattr(value, "item"):
        return "; use its item()"
    if isinstance(value, (float, int, str)):
        return "; convert it to the plain type"
    return ""
