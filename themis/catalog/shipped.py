"""What the parts of the catalog have in common: they behave as their version and params say.

That is what lets an answer of one be reused in another run. A part whose behaviour depends on
anything else has no place in the catalog.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from themis.core.errors import DefinitionError, MissingExtraError, nearest
from themis.core.hashing import digest_value, text


def params_fingerprint(**params: Any) -> str:
    """Return a digest text over a component's parameters, as canonical JSON."""
    return text(digest_value("params", params))


def needs_extra(module: str, *, extra: str, needed_for: str) -> None:
    """Check that an optional package is there, without importing it.

    Raises:
        MissingExtraError: it is not; the message names the extra.
    """
    if find_spec(module) is None:
        raise MissingExtraError(extra=extra, needed_for=needed_for)


class ShippedComponent:
    """Base of the catalog's components: a name, a version, and a fingerprint of the params."""

    component_id: str
    version = "1"

    def __init__(self, params: Mapping[str, Any] = {}, /) -> None:
        self.params = dict(params)
        """What the component was made with, defaults included."""
        self.fingerprinted = self.params
        self._fingerprint = params_fingerprint(**self.params)

    def fingerprint(self) -> str:
        """Return the digest of the parameters; with the version, they say all there is."""
        return self._fingerprint

    def text_param(self, name: str, value: object, wanted: str) -> str:
        """Return a parameter that must be a text with something in it."""
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(name, value, wanted)
        return value

    def count_param(self, name: str, value: object, *, least: int = 1) -> int:
        """Return a parameter that must be an integer of at least ``least``."""
        if type(value) is not int or value < least:
            raise self.refuse(name, value, f"an integer of at least {least}")
        return value

    def number_param(
        self, name: str, value: object, *, greatest: float = math.inf, wanted: str
    ) -> float:
        """Return a parameter that must be a number from 0 to ``greatest``."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.refuse(name, value, wanted)
        if not (math.isfinite(value) and 0 <= value <= greatest):
            raise self.refuse(name, value, wanted)
        return float(value)

    def flag_param(self, name: str, value: object) -> bool:
        """Return a parameter that must be true or false."""
        if not isinstance(value, bool):
            raise self.refuse(name, value, "true or false")
        return value

    def one_of(self, name: str, value: object, known: Sequence[str]) -> str:
        """Return a parameter that must be one of some words."""
        if not isinstance(value, str) or value not in known:
            wanted = " or ".join(f'"{word}"' for word in known)
            guess = nearest(value, known) if isinstance(value, str) else None
            raise self.refuse(name, value, wanted + (f"; did you mean '{guess}'?" if guess else ""))
        return value

    def pattern_param(self, name: str, value: object) -> re.Pattern[str]:
        """Return a parameter that must be a regular expression, compiled."""
        text_of_it = self.text_param(name, value, "a regular expression")
        try:
            return re.compile(text_of_it)
        except re.error as error:
            raise self.refuse(name, value, f"a regular expression ({error})") from None

    def refuse(self, name: str, value: object, wanted: str) -> DefinitionError:
        """Return the error that says what a parameter must be."""
        return DefinitionError(
            f"{self.component_id}: {name} = {value!r}: must be {wanted}", field=name, value=value
        )
