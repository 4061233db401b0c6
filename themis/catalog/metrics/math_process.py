"""The process in which Math-Verify works: its main thread hears the alarms, its memory is bounded.

``MathProcess`` in ``math`` starts it by ``python -m themis.catalog.metrics.math_process`` and asks
it one question at a time, a line of JSON each way. It ends by itself when its asker does.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

from themis.core.base import JSONObject

_FORMULA = re.compile(r"\$(?:\\.|[^$\\\n])+\$")
STARTING = 30.0
"""Seconds that the process may take to be there."""
_MEMORY = 2 << 30
"""Bytes of address space that it may have."""
UNREAD_GOLD = "Math-Verify reads no expression in the expected output"
_UNREAD = "Math-Verify reads no expression in the answer"
UNDECIDED = "Math-Verify came to no verdict within the time and memory that it may take"


class MathVerdict(NamedTuple):
    """What Math-Verify made of an answer and the right ones."""

    equal: bool
    note: str | None = None
    """What could not be read, or that there is no verdict."""


def compare(answer: str, right: list[str], timeout: int, options: JSONObject) -> MathVerdict:
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
                return MathVerdict(equal=True)
            undecided = undecided or equal is None
    if undecided:
        return MathVerdict(equal=False, note=UNDECIDED)
    if not gold_read:
        return MathVerdict(equal=False, note=UNREAD_GOLD)
    return MathVerdict(equal=False, note=None if given else _UNREAD)


def _read(package: Any, text: str, timeout: int) -> list[Any] | None:
    """Return what Math-Verify reads in a text; None where that took too long or too much."""
    too_long: Any = import_module("math_verify.errors").TimeoutException
    # What is one formula is read whole: a number in it that could be read is not the answer.
    only = [package.LatexExtractionConfig()] if _FORMULA.fullmatch(text) else None
    chosen = {} if only is None else {"extraction_config": only}
    try:
        found: list[Any] = package.parse(
            text, parsing_timeout=timeout, raise_on_error=True, **chosen
        )
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


def main() -> None:
    """Answer the questions that come in, until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever is printed in there is no answer
    with suppress(ImportError, OSError, ValueError):  # no POSIX, or less is allowed as it is
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # What is loaded for the first question of all is not to take of that question's time.
    compare("1", ["1"], int(STARTING), {})
    for line in sys.stdin:
        answers.write(json.dumps(compare(*json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
