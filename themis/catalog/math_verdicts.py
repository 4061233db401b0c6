"""What Math-Verify makes of an answer, in a process's main thread, where its alarms work."""

from __future__ import annotations

from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

from themis.core.base import JSONObject

UNREAD_GOLD = "Math-Verify reads no expression in the expected output"
_UNREAD = "Math-Verify reads no expression in the answer"
UNDECIDED = "Math-Verify came to no verdict within the time and memory that it may take"


class Verdict(NamedTuple):
    """What Math-Verify made of an answer and the right ones."""

    equal: bool
    note: str | None = None
    """What could not be read, or that there is no verdict."""


def compare(answer: str, right: list[str], timeout: int, options: JSONObject) -> Verdict:
    """Return Math-Verify's verdict; to be called in a process's main thread.

    Args:
        answer: what was answered.
        right: answers of which any is right.
        timeout: whole seconds for each reading and each comparison.
        options: of Math-Verify's ``verify``.
    """
    package: Any = import_module("math_verify")
    given = _read(package, answer, timeout)
    undecided, gold_read = given is None, False
    for one in right:
        wanted = _read(package, one, timeout)
        undecided = undecided or wanted is None
        gold_read = gold_read or bool(wanted)
        # Pair by pair, as verify() goes through them, so that it is heard how each ended.
        for pair in product(wanted or [], given or []):
            equal = _is_equal(package, *pair, timeout, options)
            if equal:
                return Verdict(equal=True)
            undecided = undecided or equal is None
    if undecided:
        return Verdict(equal=False, note=UNDECIDED)
    if not gold_read:
        return Verdict(equal=False, note=UNREAD_GOLD)
    return Verdict(equal=False, note=None if given else _UNREAD)


def _read(package: Any, text: str, timeout: int) -> list[Any] | None:
    """Return what Math-Verify reads in a text; None where that took too long or too much."""
    too_long: Any = import_module("math_verify.errors").TimeoutException
    try:
        found: list[Any] = package.parse(text, parsing_timeout=timeout, raise_on_error=True)
    except (too_long, MemoryError):  # the first is a BaseException of Math-Verify's own
        return None
    except Exception:  # noqa: BLE001 - whatever goes wrong in there, nothing was read
        return []
    return found


def _is_equal(
    package: Any, wanted: Any, given: Any, timeout: int, options: JSONObject
) -> bool | None:
    """Return whether two expressions are equal; None where that took too long or too much."""
    too_long: Any = import_module("math_verify.errors").TimeoutException
    try:
        return bool(
            package.verify(wanted, given, timeout_seconds=timeout, raise_on_error=True, **options)
        )
    except (too_long, MemoryError):
        return None
    except Exception:  # noqa: BLE001 - to Math-Verify, what fails is not equal
        return False
