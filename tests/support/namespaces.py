"""Commands that give a program namespaces of its own, as in a container or on another host."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from tests.support.lacking import lacking


def unshare(*kinds: str) -> list[str]:
    """Return what stands before a command for it to have namespaces of its own; root in them.

    Who is not root outside gets a user namespace as well. A test is skipped where none can be made.
    """
    if shutil.which("unshare") is None:
        lacking("install util-linux", "there is no unshare on the PATH")
    if why := _refusal(*kinds):
        lacking("let this user make namespaces", why)
    return _command(*kinds)


def _command(*kinds: str) -> list[str]:
    as_root = ["--user", "--map-root-user"] if os.geteuid() else []
    return ["unshare", *as_root, *kinds]


@cache
def _refusal(*kinds: str) -> str:
    """Return why such namespaces cannot be made here; empty where they can."""
    command = [*_command(*kinds), "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return (tried.stderr.strip() or f"{command} failed") if tried.returncode else ""
