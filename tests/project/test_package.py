"""What the distribution says of itself.

Covers: pyproject.toml, themis.core.errors
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from themis.core.errors import MissingExtraError

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def test_the_extra_all_brings_every_other_that_users_may_want() -> None:
    (all_of_them,) = EXTRAS["all"]
    named = re.fullmatch(r"themis-eval\[(.*)\]", all_of_them)
    assert named is not None
    assert set(named[1].split(",")) == set(EXTRAS) - {"all", "demo", "dev"}


def test_who_lacks_an_extra_is_told_what_to_install_with_and_without_a_checkout() -> None:
    for extra in EXTRAS:
        said = str(MissingExtraError(extra=extra, needed_for="this"))
        assert f"pip install 'themis-eval[{extra}]'" in said
        assert f"pip install '.[{extra}]'" in said


def test_the_authors_are_the_developers() -> None:
    assert PROJECT["authors"] == [{"name": "The Themis developers"}]
