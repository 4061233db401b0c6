"""Types of fields whose values are checked further than by their type, each with its check.

A check is written once, beside the type, and is refused in one line. In that line "value" stands
for the field: the model that refuses puts its own name and the field's in place of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from themis.core.errors import DefinitionError, did_you_mean


def at_least_one(number: Any, *, key: str = "") -> int:
    """Return a number, which must be an integer of at least 1.

    Args:
        number: what was given.
        key: its key, where it stands in a mapping.
    """
    if type(number) is not int or number < 1:
        place = f"value.{key}" if key else "value"
        raise DefinitionError(
            f"{place} = {number!r}: must be an integer of at least 1", value=number
        )
    return number


def check_keys(given: Mapping[str, Any], keys: Collection[str], what: str = "key") -> None:
    """Refuse a mapping that has a key which is none of these, naming the nearest."""
    for key in given:
        if key not in keys:
            raise DefinitionError(
                f"value has no {what} '{key}'{did_you_mean(str(key), keys)}", value=key
            )


def known_keys(keys: Collection[str], what: str = "key") -> AfterValidator:
    """Return what tells pydantic that a mapping has no keys but these.

    Args:
        keys: those that it may have.
        what: what a key is, for the message.
    """

    def check(given: dict[str, Any]) -> dict[str, Any]:
        check_keys(given, keys, what)
        return given

    return AfterValidator(check)


def _not_negative(number: float) -> float:
    if number < 0:
        raise DefinitionError(f"value = {number!r}: must not be negative", value=number)
    return number


def _above_zero(seconds: float) -> float:
    if seconds <= 0:
        raise DefinitionError(
            f"value = {seconds!r}: must be above 0 seconds, or None", value=seconds
        )
    return seconds


Count = Annotated[int, AfterValidator(at_least_one)]
"""An integer of at least 1."""
NotNegative = Annotated[float, AfterValidator(_not_negative)]
"""A number of at least 0."""
Timeout = Annotated[float, AfterValidator(_above_zero)]
"""Seconds above 0; a field that may be without a limit takes None too."""
