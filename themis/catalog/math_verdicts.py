"""What Math-Verify makes of an answer, in a process's main thread, where its alarms work."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, NamedTuple

from themis.core.base import JSONObject

UNREAD_GOLD = "Math-Verify reads no expression in the expected output"
_UNREAD = "Math-Verify reads no expression in the answer"
TOO_LONG = "it took too long"


class Verdict(NamedTuple):
    """What Math-Verify made of an answer and the right ones."""

    equal: bool
    note: str | None = None
    """What could not be read, or took too long."""


def compare(answer: str, right: list[str], timeout: int, options: JSONObject) -> Verdict:
    """Return Math-Verify's verdict; to be called in a process's main thread.

    Args:
        answer: what was answered.
        right: answers of which any is right.
        timeout: whole seconds for each reading and each comparison.
        options: of Math-Verify's ``verify``.
    """
    package: Any = import_module("math_verify")
    given, too_long = _read(package, answer, timeout)
    gold_read = False
    for one in right:
        wanted, late = _read(package, one, timeout)
        too_long = too_long or late
        gold_read = gold_read or bool(wanted)
        began = time.monotonic()
        if package.verify(wanted, given, timeout_seconds=timeout, **options):
            return Verdict(equal=True)
        too_long = too_long or time.monotonic() - began >= timeout
    if too_long:
        return Verdict(equal=False, note=TOO_LONG)
    if not gold_read:
        return Verdict(equal=False, note=UNREAD_GOLD)
    return Verdict(equal=False, note=None if given else _UNREAD)


def _read(package: Any, text: str, timeout: int) -> tuple[Any, bool]:
    """Return what Math-Verify reads in a text, and whether that took too long."""
    too_long: Any = import_module("math_verify.errors").TimeoutException
    try:
        return package.parse(text, parsing_timeout=timeout, raise_on_error=True), False
    except too_long:  # no Exception, but a BaseException of Math-Verify's own
        return [], True
    except Exception:  # noqa: BLE001 - whatever goes wrong in there, nothing was read
        return [], False
