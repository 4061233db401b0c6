"""What a test needs and this machine does not have: what to do about it, then why.

A reason's first words, up to a colon, say what to install or to allow. ``tests/conftest.py`` counts
by them what was skipped, and ends a run with it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest


def lacking(remedy: str, why: str, *, must_not_in_ci: bool = False) -> NoReturn:
    """Skip the test that asks; in continuous integration fail it, if it must run there."""
    refuse = pytest.fail if must_not_in_ci and os.environ.get("CI") else pytest.skip
    refuse(f"{remedy}: {why}")


def told(reasons: Iterable[str]) -> list[str]:
    """Return a line for each thing to do, and how many tests would run by it."""
    counted = Counter(one.removeprefix("Skipped: ").partition(": ")[0] for one in reasons)
    return [
        f"{number} skipped for want of this: {remedy}" for remedy, number in counted.most_common()
    ]
