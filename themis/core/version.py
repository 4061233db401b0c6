"""Which Themis is running: its own word, which an installed distribution need not share."""

from __future__ import annotations

import sys


def running_version() -> str:
    """Return the version of the package that is running."""
    # By name: nothing inside imports the root package.
    version: str = getattr(sys.modules.get("themis"), "__version__", "unknown")
    return version
